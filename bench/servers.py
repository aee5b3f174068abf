"""The servers under test: how each is started, what it costs, and how it ends."""

import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
# `--install` puts what Debian does not have (or has too old) here; `target/` is ignored by git.
PEERS_VENV = REPOSITORY / "target" / "bench-peers"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

# A server must not pick up settings of whoever runs the benchmark.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("SEALSLOT_", "RCLONE_", "DUFS_", "OPENSSL_")) and "proxy" not in name.lower()
}
# The one suite that clients offer: what OpenSSL offers first. Left to themselves, not all servers would choose the same.
CIPHER = "TLS_AES_256_GCM_SHA384"


class BenchError(Exception):
    """What went wrong, in words for whoever runs the benchmark."""


def find(name):
    """The program's path, or None where it is not installed."""
    here = PEERS_VENV / "bin" / name
    if here.exists():
        return str(here)
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def make_certificates(folder):
    """A CA and a P-256 server certificate for 127.0.0.1, which all servers share, and what OpenSSL is to offer as a client."""
    folder.mkdir(mode=0o700)
    (folder / "client.cnf").write_text(
        "openssl_conf = main\n[main]\nssl_conf = tls\n[tls]\nsystem_default = all\n"
        f"[all]\nMinProtocol = TLSv1.3\nCiphersuites = {CIPHER}\n"
    )
    extensions = folder / "server.ext"
    extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for command in (
        ["req", "-x509", *new_key, "-days", "2", "-subj", "/CN=Sealslot bench CA",
         "-keyout", "ca.key", "-out", "ca.pem"],
        ["req", *new_key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"],
        ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
         "-set_serial", "1", "-extfile", extensions.name, "-out", "server.pem"],
    ):
        run_quietly(["openssl", *command], cwd=folder)
    for key in folder.glob("*.key"):
        key.chmod(0o600)


def client_environment(bench):
    """For whatever program sends or fetches by OpenSSL: TLS 1.3 and `CIPHER`."""
    return ENVIRONMENT | {"OPENSSL_CONF": str(bench.certificates / "client.cnf")}


def run_quietly(command, env=ENVIRONMENT, **options):
    """Runs a short command; its output is shown only where it fails."""
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, **options)
    except FileNotFoundError as missing:
        raise BenchError(f"{command[0]} is not installed; run `bench/run --install`") from missing
    if done.returncode != 0:
        raise BenchError(f"{' '.join(map(str, command))} failed:\n{done.stderr.strip()}")
    return done.stdout.strip()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One running server with a data folder of its own.

    A subclass says how it is started (`command`), where an upload of a name goes (`path_of`), with which `method` small
    uploads are sent, which entries of the data folder are uploads (`uploads`), and whether it speaks `http2` and takes `forms`.
    """

    name = "?"
    method = "PUT"
    http2 = True
    forms = False
    environment = {}

    def __init__(self, bench, folder):
        self.bench = bench
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.process = None

    @staticmethod
    def version(bench):
        """The version line, or None where the program is absent."""
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def path_of(self, name):
        return f"/{name}"

    def uploads(self):
        """One path for every finished upload."""
        return list(self.data.iterdir())

    def url(self, path):
        return f"https://127.0.0.1:{self.port}{path}"

    def __enter__(self):
        self.data.mkdir(parents=True, mode=0o700)
        command = [str(word) for word in self.command()]
        with open(self.folder / "log", "wb") as log:
            # A session of its own: a Ctrl-C reaches the benchmark alone, which then ends its servers in order.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT | self.environment,
                cwd=self.folder, start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        # Workers that outlived their master share its session, and so its process group.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def _wait_until_ready(self, seconds=20):
        context = ssl.create_default_context(cafile=self.bench.certificates / "ca.pem")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise self.failure("ended at once")
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as raw:
                    context.wrap_socket(raw, server_hostname="127.0.0.1").close()
                return
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise self.failure(f"did not listen within {seconds} s")

    def negotiated(self):
        """The version of TLS and the suite that a client gets here."""
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-brief",
                   "-CAfile", self.bench.certificates / "ca.pem"]
        done = subprocess.run(
            command, env=client_environment(self.bench), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20
        )
        found = re.findall(r"^(?:Protocol version|Ciphersuite): (\S+)$", done.stdout + done.stderr, re.M)
        if found != ["TLSv1.3", CIPHER]:
            raise self.failure(f"negotiated {found} and not TLS 1.3 with {CIPHER}")
        return " ".join(found)

    def failure(self, what):
        """An error with the end of the server's log in it."""
        log = (self.folder / "log").read_text(errors="replace")
        return BenchError(f"{self.name} {what}; the end of its log:\n{log[-2000:].strip()}")

    def clear(self):
        """Deletes what was uploaded, straight from the data folder."""
        for upload in self.uploads():
            if upload.is_dir():
                shutil.rmtree(upload)
            else:
                upload.unlink()

    def stored_bytes(self):
        """Bytes in finished uploads."""
        total = 0
        for upload in self.uploads():
            files = upload.rglob("*") if upload.is_dir() else [upload]
            total += sum(file.stat().st_size for file in files if file.is_file())
        return total

    def pids(self):
        """The server's process and all its descendants."""
        children = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                children.setdefault(int(stat_fields(entry)[1]), []).append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
        family = [self.process.pid]
        for pid in family:
            family.extend(children.get(pid, []))
        return family

    def cpu_seconds(self):
        """User and system time of the server, with its children, living and ended."""
        if self.process.poll() is not None:
            raise self.failure("has died")
        return sum(cpu_of(pid) for pid in self.pids())

    def resident_kib(self):
        return sum(status_kib(pid, "VmRSS") for pid in self.pids())

    def peak_kib(self):
        """The sum of the peaks of its processes; pages they share count in each."""
        return sum(status_kib(pid, "VmHWM") for pid in self.pids())

    def reset_peak(self):
        """Sets the peak back to what is resident now (proc_pid_clear_refs(5))."""
        for pid in self.pids():
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def stat_fields(entry):
    """/proc/PID/stat from the state on; the name before it may hold spaces and parentheses."""
    return (entry / "stat").read_text().rpartition(")")[2].split()


def cpu_of(pid):
    """utime, stime, cutime and cstime in seconds."""
    fields = stat_fields(pathlib.Path(f"/proc/{pid}"))
    return sum(map(int, fields[11:15])) / TICKS_PER_SECOND


def status_kib(pid, key):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise BenchError(f"/proc/{pid}/status has no {key}")
