"""A certificate authority of a test's own, made by openssl: a root, an intermediate, and servers' certificates with the chain
as a public authority hands it out."""

from sealslot import run, tool

P256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
RSA = ["-newkey", "rsa:2048"]
AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
SERVER = (
    "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
    "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    # Where it was revoked would stand here; nothing is there in a test.
    "crlDistributionPoints=URI:http://crl.example.test/1.crl\n"
)


class Authority:
    """Keys and certificates in `folder`; `root` is what clients are to trust."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.root = folder / "root.pem"
        self.intermediate = folder / "intermediate.pem"
        self._make("root", P256, "A test's root", AUTHORITY, days=3650, issuer="root")
        self._make("intermediate", P256, "A test's intermediate", AUTHORITY, days=1000, issuer="root")

    def server(self, certs, name, key=P256):
        """A certificate for a DNS name with its chain, and the key, as `serve` expects them in the folder `certs`."""
        certs.mkdir(parents=True)
        extensions = f"{SERVER}subjectAltName=DNS:{name}\n"
        leaf = self._make(certs.parent.name, key, name, extensions, days=89, issuer="intermediate")
        (certs / "server.pem").write_bytes(leaf.read_bytes() + self.intermediate.read_bytes())
        (certs / "server.key").write_bytes(leaf.with_suffix(".key").read_bytes())
        (certs / "server.key").chmod(0o600)

    def _make(self, stem, key, subject, extensions, days, issuer):
        """A certificate as `stem`.pem; one that is its own issuer signs itself."""
        files = {end: self.folder / f"{stem}.{end}" for end in ("key", "csr", "ext", "pem")}
        signer = self.folder / issuer
        run(tool("openssl"), "req", "-new", *key, "-nodes", "-keyout", files["key"], "-out", files["csr"], "-subj", f"/CN={subject}")
        files["ext"].write_text(extensions)
        signing = ["-signkey", files["key"]]
        if issuer != stem:
            signing = ["-CA", signer.with_suffix(".pem"), "-CAkey", signer.with_suffix(".key"), "-CAcreateserial"]
        run(
            tool("openssl"), "x509", "-req", "-in", files["csr"], *signing, "-days", str(days), "-sha256",
            "-extfile", files["ext"], "-out", files["pem"],
        )
        return files["pem"]
