"""Uploads to a real server, opens what it stored with open_upload.py, and damages it in every way we know.

Called by `check`. Whatever is damaged must be refused, with exit code 65 and nothing on stdout, by open_upload.py and
by `sealslot open` as well. The server makes uploads of one segment here, so a small sealer, written from FORMAT.md too,
makes those of several, and those that no honest server makes. Everything happens in a temporary folder.
"""

import base64
import concurrent.futures
import contextlib
import functools
import hashlib
import hmac
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import open_upload as opener
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1024 * 1024
failures = 0

# Where FORMAT.md leaves it to the reader: `sealslot open` takes these, the reader here does not.
LENIENT = {
    'manifest, time "2026-11-23T14:27:53+00:00"',
    'manifest, name_bytes "QQ"',
    'manifest, name_bytes "not base64"',
    'manifest, name_bytes ""',
    "manifest without name",
    "manifest without type",
}


def check(what, good, detail=""):
    global failures
    failures += not good
    print(f"{'ok  ' if good else 'FAIL'}  {what}" + (f": {detail}" if detail and not good else ""), flush=True)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def run(*command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **options)


def reader(*arguments):
    """Runs open_upload.py."""
    return run(sys.executable, os.path.join(HERE, "open_upload.py"), *arguments)


def reader_here(*arguments):
    """The same in this process, which is far faster."""
    out, err = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = opener.main(arguments)
    out.flush(), err.flush()
    return subprocess.CompletedProcess(arguments, code, out.buffer.getvalue(), err.buffer.getvalue())


opener.load_key = functools.lru_cache(opener.load_key)  # OpenSSL takes its time to check a key


# --- A sealer, for what the server does not make ---


def base64_raw(data):
    return base64.b64encode(data).rstrip(b"=")


def stanza(arguments, body):
    text = base64_raw(body)
    lines = [text[at : at + 64] for at in range(0, len(text) + 1, 64)]
    return b"-> " + arguments + b"\n" + b"".join(line + b"\n" for line in lines)


def for_key(key, file_key):
    """The ssh-rsa stanza."""
    public = key.public_key()
    numbers = public.public_numbers()

    def string(data):
        return len(data).to_bytes(4, "big") + data

    def mpint(number):
        return string(number.to_bytes(number.bit_length() // 8 + 1, "big"))

    wire = string(b"ssh-rsa") + mpint(numbers.e) + mpint(numbers.n)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"age-encryption.org/v1/ssh-rsa")
    return stanza(b"ssh-rsa " + base64_raw(hashlib.sha256(wire).digest()[:4]), public.encrypt(file_key, oaep))


def seal(file_key, stanzas, plain, empty_last=False):
    """An age file; `empty_last` breaks the rule that the last chunk is not empty."""
    covered = b"age-encryption.org/v1\n" + b"".join(stanzas) + b"---"
    mac = hmac.digest(opener.hkdf(file_key, b"", b"header"), covered, "sha256")
    nonce = os.urandom(16)
    aead = ChaCha20Poly1305(opener.hkdf(file_key, nonce, b"payload"))
    chunks = [plain[at : at + opener.CHUNK] for at in range(0, len(plain), opener.CHUNK)] or [b""]
    chunks += [b""] * empty_last
    sealed = [
        aead.encrypt(number.to_bytes(11, "big") + bytes([number == len(chunks) - 1]), chunk, None)
        for number, chunk in enumerate(chunks)
    ]
    return covered + b" " + base64_raw(mac) + b"\n" + nonce + b"".join(sealed)


def new_id():
    data = int(time.time() * 1000).to_bytes(6, "big") + os.urandom(14)
    number = int.from_bytes(data, "big")
    return "".join("0123456789abcdefghijklmnopqrstuv"[number >> at & 31] for at in range(155, -1, -5))


def make_upload(parent, key, segments, change=None, record_change=None, meta=None, sealed=None, stanzas=()):
    """Makes an upload folder of these segments. `change` and `record_change` alter the manifest's and the record's JSON
    objects or, where they return bytes, their encoding; `meta` makes the plaintext of meta.age from the encoded
    manifest; `sealed` seals a segment; `stanzas` follow the recipient's in meta.age."""
    id, now = new_id(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    folder = os.path.join(parent, id)
    os.makedirs(folder)
    keys, files = [], []
    for number, plain in enumerate(segments):
        keys.append(os.urandom(16))
        data = (sealed or seal)(keys[-1], [for_key(key, keys[-1])], plain)
        files.append({"name": f"{number:04}.age", "size": len(data), "crc64nvme": f"{opener.crc64nvme(data):016x}"})
        write(os.path.join(folder, files[-1]["name"]), data)
    whole = b"".join(segments)
    manifest = {
        "v": 1,
        "id": id,
        "submission": id,
        "kind": "file",
        "name": "made by hand",
        "type": None,
        "size": len(whole),
        "sha256": hashlib.sha256(whole).hexdigest(),
        "time": now,
        "segments": [
            {"size": len(plain), "key": base64.b64encode(k).decode()} for plain, k in zip(segments, keys)
        ],
    }
    record = {"v": 1, "id": id, "time": now, "link": None, "expires": None, "files": files}

    def encode(value, change):
        changed = change(value) if change else None
        return changed if isinstance(changed, bytes) else json.dumps(value).encode()

    file_key = os.urandom(16)
    record_stanza = stanza(b"sealslot/record", encode(record, record_change))
    header = [for_key(key, file_key), *stanzas, record_stanza]
    write(os.path.join(folder, "meta.age"), seal(file_key, header, encode(manifest, change)))
    return folder


# --- The checks ---


class Checks:
    def __init__(self, sealslot, work):
        self.sealslot, self.work = sealslot, work
        self.pool = concurrent.futures.ThreadPoolExecutor(max(4, os.cpu_count() or 4))
        self.pending, self.copies = [], 0
        made = run(sealslot, "keygen", "--bits", "2048", "-o", "k.pem", cwd=work)
        check("keygen", made.returncode == 0, made.stderr)
        self.pem = os.path.join(work, "k.pem")
        self.key = opener.load_key(self.pem)

    # The server and what it stores

    def serve(self):
        log = os.path.join(self.work, "log")
        with open(log, "wb") as out:
            command = [self.sealslot, "serve", "--listen", "127.0.0.1:0", "--recipient", "k.pem.pub"]
            self.server = subprocess.Popen(command, cwd=self.work, stdout=out, stderr=out)
        for _ in range(1200):
            url = re.search(rb"listening on (https://127\.0\.0\.1:\d+)", read(log))
            if url:
                self.url = url[1].decode()
                return
            time.sleep(0.05)
        raise SystemExit("the server does not start: " + read(log).decode(errors="replace"))

    def stop(self):
        self.server.terminate()
        try:
            self.server.wait(10)
        except subprocess.TimeoutExpired:
            self.server.kill()

    def curl(self, *arguments):
        done = run("curl", "-sS", "--fail-with-body", "--cacert", "certs/ca.pem", *arguments, cwd=self.work)
        if done.returncode != 0:
            raise SystemExit(f"curl: {done.stdout!r} {done.stderr!r}")
        return json.loads(done.stdout)

    def folder(self, id):
        uploads = os.path.join(self.work, "data/uploads")
        (day,) = [day for day in os.listdir(uploads) if id in os.listdir(os.path.join(uploads, day))]
        return os.path.join(uploads, day, id)

    def put(self, name, data, *arguments):
        write(os.path.join(self.work, name), data)
        return self.folder(self.curl("-T", name, *arguments, self.url + "/uploads/")["id"])

    # What opens

    def opens(self, what, folder, payload, **expected):
        """The reader and `sealslot open` open it, and the reader's record check is content."""
        out = os.path.join(self.work, "out-" + os.path.basename(folder))
        to_stdout = reader("--manifest", self.pem, folder)
        to_file = reader_here(self.pem, folder, "-o", out)
        check(f"{what}: to stdout", to_stdout.stdout == payload and to_stdout.returncode == 0, to_stdout.stderr)
        good = to_file.returncode == 0 and not to_file.stdout and read(out) == payload
        check(f"{what}: to a file", good, to_file.stderr)
        manifest = json.loads(to_stdout.stderr) if to_stdout.returncode == 0 else {}
        expected = {"id": os.path.basename(folder), "size": len(payload), **expected}
        got = {key: manifest.get(key) for key in expected}
        check(f"{what}: manifest", got == expected, f"{got} is not {expected}")
        record = reader_here("--record", folder)
        good = record.returncode == 0 and json.loads(record.stdout)["id"] == os.path.basename(folder)
        check(f"{what}: record", good, record.stderr)
        self.pending.append(self.pool.submit(self.sealslot_opens, what, folder, payload))

    def sealslot_opens(self, what, folder, payload):
        done = self.sealslot_open(folder)
        return f"{what}: opened by sealslot open", done.returncode == 0 and done.payload == payload, done.stderr

    def sealslot_open(self, folder):
        out = tempfile.mkdtemp(dir=self.work)
        done = run(self.sealslot, "open", "--outer", "-i", self.pem, "-o", out, folder)
        found = [os.path.join(folder, name) for folder, _, names in os.walk(out) for name in names]
        done.payload = read(found[0]) if len(found) == 1 else None if not found else b"several files"
        return done

    # What does not

    def refused(self, what, folder, key=None):
        """Neither the reader nor `sealslot open` opens it. With another key, only the reader is tried, in a process of
        its own."""
        done = (reader if key else reader_here)(key or self.pem, folder)
        good = done.returncode == 65 and not done.stdout and done.stderr
        check(f"{what}: refused", good, f"{done.returncode} {done.stderr}")
        if not key and what not in LENIENT:
            self.pending.append(self.pool.submit(self.sealslot_refuses, what, folder))

    def sealslot_refuses(self, what, folder):
        done = self.sealslot_open(folder)
        good = done.returncode == 65 and done.payload is None
        return f"{what}: refused by sealslot open", good, f"{done.returncode} {done.stdout} {done.stderr}"

    def record_finds(self, what, folder):
        done = reader_here("--record", folder)
        good = done.returncode == 65 and not done.stdout and done.stderr
        check(f"{what}: --record finds it", good, f"{done.returncode} {done.stdout} {done.stderr}")

    def wait(self):
        for pending in self.pending:
            check(*pending.result())
        self.pending = []

    def copy(self, folder, name=None):
        """A copy under the same name, or another."""
        self.copies += 1
        to = os.path.join(self.work, f"copies/{self.copies}", name or os.path.basename(folder))
        return shutil.copytree(folder, to)

    def damaged(self, what, folder, damage, record=True):
        """A copy that `damage` (which gets its path) has damaged; `record` says that --record must find it too."""
        copy = self.copy(folder)
        damage(copy)
        self.refused(what, copy)
        if record:
            self.record_finds(what, copy)

    # All of it

    def round_trips(self):
        self.by_size = {}
        for size in (0, 1, 65535, 65536, 65537, 3 * MIB):
            payload = os.urandom(size)
            folder = self.put(f"f{size}", payload)
            self.by_size[size] = folder
            self.opens(f"{size} bytes", folder, payload, name=f"f{size}", kind="file", type=None)

    def forms(self):
        bad = os.fsdecode(b"bad\xff.txt")
        write(os.path.join(self.work, bad), b"named badly")
        write(os.path.join(self.work, "plain"), b"p" * 1000)
        form = ["-F", "a=1", "-F", "b=zwei \u00e4", "-F", "f=@plain;type=text/x-plain", "-F", f"n=@{bad}"]
        form += ["-F", os.fsdecode(b"h=\xff\xfe"), self.url + "/uploads"]
        answer = self.curl(*form)
        uploads = {upload["name"]: self.folder(upload["id"]) for upload in answer["uploads"]}
        of = answer["submission"]
        fields = [{"name": "a", "value": "1"}, {"name": "b", "value": "zwei \u00e4"}, {"name": "h", "base64": "//4="}]
        text = json.dumps({"fields": fields}, ensure_ascii=False, separators=(",", ":")).encode()
        self.opens("form: fields", uploads[None], text, kind="fields", submission=of, type="application/json")
        self.opens("form: file", uploads["plain"], b"p" * 1000, submission=of, type="text/x-plain")
        named_badly = {"submission": of, "name_bytes": base64.b64encode(b"bad\xff.txt").decode()}
        self.opens("form: name not UTF-8", uploads["bad\ufffd.txt"], b"named badly", **named_badly)

    def sealed_by_sender(self):
        write(os.path.join(self.work, "secret"), b"twice sealed")
        inner = run(self.sealslot, "seal", "-r", "k.pem.pub", "secret", "-o", "-", cwd=self.work)
        folder = self.put("inner", inner.stdout, "-H", "content-type: application/age")
        self.opens("sealed by the sender", folder, inner.stdout, type="application/age")
        plain = b"".join(self.open_age(inner.stdout))
        check("sealed by the sender: inner file", plain == b"twice sealed", inner.stderr)

    def in_several_requests(self):
        """Each request that brings something makes a segment, whichever sizes they have."""
        pieces = [os.urandom(size) for size in (1, 65536, 200_000, 65537)]
        whole = b"".join(pieces)
        metadata = "filename bmFtZQ==,filetype YS9i,note gA=="
        url = self.tus("POST", "/uploads", "", f"Upload-Length: {len(whole)}", f"Upload-Metadata: {metadata}")["location"]
        at = 0
        for piece in pieces:
            write(os.path.join(self.work, "piece"), piece)
            answer = self.tus("PATCH", url, "@piece", f"Upload-Offset: {at}", "Content-Type: application/offset+octet-stream")
            at = int(answer["upload-offset"])
        folder = self.folder(answer["content-location"].rsplit("/", 1)[1])
        check("in several requests: segments", len(os.listdir(folder)) == 1 + len(pieces), os.listdir(folder))
        said = [{"key": "filename", "value": "name"}, {"key": "filetype", "value": "a/b"}, {"key": "note", "base64": "gA=="}]
        self.opens("in several requests", folder, whole, name="name", type="a/b", metadata=said)

    def tus(self, method, path, body, *headers):
        """One request of tus, and the headers of its answer."""
        options = [word for header in headers for word in ("-H", header)]
        command = ["curl", "-sS", "--fail", "--http1.1", "--cacert", "certs/ca.pem", "-X", method, "-D", "-"]
        command += ["-H", "Tus-Resumable: 1.0.0", *options, "--data-binary", body, self.url + path]
        done = run(*command, cwd=self.work)
        check(f"tus: {method}", done.returncode == 0, done.stderr)
        lines = done.stdout.decode().split("\r\n")
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    def open_age(self, data):
        file = io.BytesIO(data)
        header = opener.Header(file)
        file_key = opener.unwrap(self.key, header)
        header.verify(file_key)
        return list(opener.payload(file, file_key))

    def keys(self):
        payload, folder = read(os.path.join(self.work, "f65537")), self.by_size[65537]
        pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
        for name in ("TraditionalOpenSSL", "PKCS8", "OpenSSH"):
            path = os.path.join(self.work, name)
            write(path, self.key.private_bytes(pem, getattr(serialization.PrivateFormat, name), none))
            done = reader(path, folder)
            check(f"key as {name}", done.returncode == 0 and done.stdout == payload, done.stderr)
        run(self.sealslot, "keygen", "--bits", "2048", "-o", "other.pem", cwd=self.work)
        self.refused("another key", folder, os.path.join(self.work, "other.pem"))

    def command_line(self):
        folder = self.copy(self.by_size[1])
        os.unlink(os.path.join(folder, "0000.age"))
        out = os.path.join(self.work, "copies/out")
        done = reader(self.pem, folder, "-o", out)
        there = [name for name in os.listdir(os.path.join(self.work, "copies")) if "o" in name]
        check("nothing refused is left in a file", done.returncode == 65 and not there, there)
        for what, code, arguments in (
            ("no arguments", 64, ()),
            ("--record with a key", 64, ("--record", self.pem, folder)),
            ("no key", 1, (folder + ".pem", folder)),
            ("no folder", 65, (self.pem, folder + ".not")),
            ("no folder for --record", 65, ("--record", folder + ".not")),
            ("-o into no folder", 1, (self.pem, self.by_size[1], "-o", folder + ".not/out")),
        ):
            done = reader(*arguments)
            check(f"{what}: exit code {code}", done.returncode == code and done.stderr and not done.stdout, done)

    def sweep(self):
        """Flips a bit in every seventh byte of both files."""
        for name in ("meta.age", "0000.age"):
            folder = self.copy(self.by_size[1])
            path = os.path.join(folder, name)
            data = read(path)
            opened, missed = [], []
            places = range(0, len(data), 7)
            for at in places:
                write(path, data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
                for attempt, bad in (
                    (lambda: opener.open_upload(self.key, folder, io.BytesIO()), opened),
                    (lambda: opener.check_record(folder), missed),
                ):
                    try:
                        attempt()
                        bad.append(at)
                    except opener.Refused:
                        pass
            check(f"bit flips in {name}: {len(places)} refused", not opened, opened)
            if name != "meta.age":  # which the record does not list
                check(f"bit flips in {name}: --record finds all", not missed, missed)

    def damage(self, segmented, other):
        """Damage to an upload of the server and one of three segments; `other` is another of three."""
        for what, folder in (("server's", self.by_size[65537]), ("three segments", segmented)):
            names = sorted(os.listdir(folder))
            for name in names:
                if folder != segmented or name == "0001.age":
                    self.damage_file(f"{what}, {name}", folder, name)
                self.damaged(f"{what}, {name} removed", folder, lambda at: os.unlink(os.path.join(at, name)))
            last = names[-2]
            spare = f"{len(names) - 1:04}.age"
            for extra in (spare, "9999.age", "00000.age", "note.txt", ".hidden"):
                copy = lambda at: shutil.copy(os.path.join(at, last), os.path.join(at, extra))
                self.damaged(f"{what}, {extra} added", folder, copy)
            self.damaged(f"{what}, folder added", folder, lambda at: os.mkdir(os.path.join(at, "folder")))
            self.damaged(f"{what}, segment from elsewhere", folder, self.taker(other, "0000.age"))
            self.damaged(f"{what}, meta.age from elsewhere", folder, self.taker(other, "meta.age"))
            self.damaged(f"{what}, segment is a link", folder, self.link)

        def swap(at):
            a, b, c = (os.path.join(at, name) for name in ("0000.age", "0001.age", "swap"))
            os.rename(a, c), os.rename(b, a), os.rename(c, b)

        self.damaged("segments swapped", segmented, swap)
        self.damaged("segment 0 as segment 1", segmented, self.copier("0000.age", "0001.age"))
        exchanged = self.copy(segmented, os.path.basename(other))
        self.refused("folders exchanged", exchanged)
        self.record_finds("folders exchanged", exchanged)
        renamed = self.copy(segmented, "not-an-id")
        done = reader(self.pem, renamed)
        check("a folder that bears no id opens", done.returncode == 0, done.stderr)
        check("and so does sealslot open", self.sealslot_open(renamed).returncode == 0)

        # The public key alone makes a genuine age file, but not one of this upload.
        def forge(at):
            file_key = os.urandom(16)
            write(os.path.join(at, "0000.age"), seal(file_key, [for_key(self.key, file_key)], b"0" * 100_000))

        self.damaged("segment sealed by somebody else", segmented, forge)

    def damage_file(self, what, folder, name):
        path = lambda at: os.path.join(at, name)
        data = read(path(folder))
        body = data.index(b"\n--- ") + len("\n--- ") + 44
        flips = {"version": 3, "stanza": 60, "MAC": body - 20, "nonce": body + 3, "chunk": body + 16, "end": -1}
        record = name != "meta.age"  # meta.age is not among the files that the record lists
        for where, at in flips.items():
            flipped = bytearray(data)
            flipped[at] ^= 4
            self.damaged(f"{what}, flip in the {where}", folder, lambda to: write(path(to), flipped), record)
        for end in {0, 10, body - 60, body, body + 7, body + 16, body + 20, len(data) - 16, len(data) - 1}:
            self.damaged(f"{what}, cut to {end}", folder, lambda to: write(path(to), data[:end]), record or end < body)
        if len(data) > body + 16 + 65552:
            end = body + 16 + 65552
            self.damaged(f"{what}, cut between chunks", folder, lambda to: write(path(to), data[:end]), record)
        for tail in (b"\n", bytes(16), data[body + 16 :], data):
            self.damaged(f"{what}, {len(tail)} bytes added", folder, lambda to: write(path(to), data + tail), record)

    @staticmethod
    def copier(source, target):
        return lambda at: shutil.copy(os.path.join(at, source), os.path.join(at, target))

    @staticmethod
    def taker(other, name):
        return lambda at: shutil.copy(os.path.join(other, name), os.path.join(at, name))

    @staticmethod
    def link(at):
        os.rename(os.path.join(at, "0000.age"), at + ".moved")
        os.symlink(at + ".moved", os.path.join(at, "0000.age"))

    def made(self, what, **options):
        folder = make_upload(os.path.join(self.work, "made"), self.key, [b"one", b"two"], **options)
        self.refused(what, folder)

    def manifests(self):
        """Manifests, well sealed, that break the table."""

        def put(key, value):
            return lambda manifest: manifest.__setitem__(key, value)

        def put_segment(key, value):
            return lambda manifest: manifest["segments"][0].__setitem__(key, value)

        for key, values in {
            "v": (2, 0, "1", True, None),
            "id": (new_id(), "x", None),
            "submission": ("x", None, 1),
            "kind": ("folder", None),
            "name": (1, []),
            "type": (1, []),
            "size": (7, 5, -6, 6.5, "6", None),
            "sha256": (hashlib.sha256(b"").hexdigest(), hashlib.sha256(b"onetwo").hexdigest().upper(), "", None),
            "time": ("2026-11-23", "2026-13-23T14:27:53Z", "2026-11-23T14:27:53+00:00", 1, None),
            "segments": ([], {}, None, [1, 2]),
            "name_bytes": ("QQ", "not base64", 1, ""),
        }.items():
            for value in values:
                self.made(f"manifest, {key} {json.dumps(value)[:30]}", change=put(key, value))
        for key in ("v", "id", "submission", "kind", "name", "type", "size", "sha256", "time", "segments"):
            self.made(f"manifest without {key}", change=lambda manifest: manifest.__delitem__(key))
        for value in (2, 4, 0, -3, 3.5, "3", None):
            self.made(f"segment's size {value!r}", change=put_segment("size", value))
        for value in ("", "AAAA", "A" * 22, "A" * 22 + "==", "A" * 21 + "B==", None):
            self.made(f"segment's key {value!r}", change=put_segment("key", value))
        self.made("segments in another order", change=lambda manifest: manifest["segments"].reverse())
        for sizes in ((4, 2), (2, 4), (3, 4), (4, 3), (3, 2)):

            def resize(manifest):
                manifest["size"] = sum(sizes)
                for segment, size in zip(manifest["segments"], sizes):
                    segment["size"] = size

            self.made(f"segments of 3 and 3 bytes as {sizes}", change=resize)
        self.made("one segment too few", change=lambda manifest: manifest["segments"].pop())
        self.made("manifest, key twice", change=lambda m: json.dumps(m).replace("{", '{"v":1,', 1).encode())
        self.made("manifest, two objects", change=lambda m: json.dumps(m).encode() * 2)
        self.made("manifest, an array", change=lambda m: json.dumps([m]).encode())
        self.made("manifest, not UTF-8", change=lambda m: json.dumps(m).replace("made", "\xff").encode("latin-1"))
        self.made("manifest, lone surrogate", change=lambda m: json.dumps(m).replace("made", "\\ud800").encode())
        self.made("manifest, empty", change=lambda m: b"")

        def three_chunks(manifest):
            segments = [{**segment, "size": 3 * opener.CHUNK} for segment in manifest["segments"]]
            whole = hashlib.sha256(b"one" * opener.CHUNK + b"two" * opener.CHUNK).hexdigest()
            manifest.update(size=6 * opener.CHUNK, segments=segments, sha256=whole)

        empty = lambda file_key, stanzas, plain: seal(file_key, stanzas, plain * opener.CHUNK, empty_last=True)
        self.made("empty last chunk", sealed=empty, change=three_chunks)
        full = lambda file_key, stanzas, plain: seal(file_key, stanzas, plain * opener.CHUNK)
        folder = make_upload(os.path.join(self.work, "made"), self.key, [b"one", b"two"], three_chunks, sealed=full)
        self.opens("full last chunk", folder, b"one" * opener.CHUNK + b"two" * opener.CHUNK, size=6 * opener.CHUNK)
        self.made("scrypt stanza among others", stanzas=[stanza(b"scrypt " + b"A" * 22 + b" 18", bytes(32))])
        for what, malformed in {
            "stanza without arguments": b"-> \n\n",
            "empty argument": b"-> a  b\n\n",
            "argument beyond ASCII": b"-> \xc3\xa4\n\n",
            "stanza without body": b"-> a\n",
            "body of 64 columns and no more": b"-> a\n" + b"A" * 64 + b"\n",
            "body of 65 columns": b"-> a\n" + b"A" * 65 + b"\n\n",
            "body not canonical": b"-> a\nAB\n",
            "body with padding": b"-> a\nAA==\n",
            "carriage return": b"-> a\r\n\r\n",
        }.items():
            self.made(what, stanzas=[malformed])

    def records(self):
        """Records that break the table."""
        for key, value in {"v": 2, "id": new_id(), "time": "now", "link": 1, "expires": "x", "files": []}.items():
            folder = make_upload(
                os.path.join(self.work, "made"), self.key, [b"one"], record_change=lambda r: r.__setitem__(key, value)
            )
            self.record_finds(f"record, {key} {value!r}", folder)

    def tolerated(self):
        """What is not forbidden."""
        parent, parts = os.path.join(self.work, "made"), [b"one", b"two"]
        more = lambda manifest: manifest.update(future={"a": [1]})
        self.opens("unknown keys", make_upload(parent, self.key, parts, change=more, record_change=more), b"onetwo")
        path = lambda manifest: manifest.update(name="../../C:\\\0" + "n" * 5000)
        self.opens("a terrible name", make_upload(parent, self.key, parts, change=path), b"onetwo")
        other = [stanza(b"X25519 not-a-share", b""), stanza(b"grease whatever", b"x" * 48), stanza(b"a", b"y" * 100)]
        self.opens("other stanzas", make_upload(parent, self.key, parts, stanzas=other), b"onetwo")

    def all(self):
        check("CRC-64/NVME", opener.crc64nvme(b"123456789") == 0xAE8B14860A799888)
        self.serve()
        try:
            self.round_trips()
            self.forms()
            self.sealed_by_sender()
            self.in_several_requests()
        finally:
            self.stop()
        parent = os.path.join(self.work, "made")
        parts = [os.urandom(65537), os.urandom(10_000), b"the last one"]
        segmented = make_upload(parent, self.key, parts)
        self.opens("three segments", segmented, b"".join(parts))
        self.tolerated()
        self.keys()
        self.command_line()
        self.damage(segmented, make_upload(parent, self.key, parts))
        self.manifests()
        self.records()
        self.sweep()
        self.wait()


def main():
    if len(sys.argv) != 2:
        raise SystemExit("usage: check SEALSLOT")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        Checks(os.path.abspath(sys.argv[1]), work).all()
    print(f"{failures} failed, {time.monotonic() - begun:.1f} s")
    sys.exit(failures > 0)


main()
