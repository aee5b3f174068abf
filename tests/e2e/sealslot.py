"""What the end-to-end checks share: the binary, its server, clients and keys. Python 3.11's standard library alone.

A check prints one line, `ok NAME` or `FAIL NAME: why`; `main` makes the exit code of them. Everything happens in a
temporary folder, and only processes that a check started itself are ended.
"""

import contextlib
import http.client
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("SEALSLOT", REPOSITORY / "target/release/sealslot")).absolute()

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

# No setting of whoever runs the checks may change what is checked.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("SEALSLOT", "AWS_"))}

_failures = []
# What keeps this check's ports from other checks.
_taken = []


class Failed(Exception):
    """What a check found, in a line."""


def expect(condition, message):
    """Fails the check unless `condition` holds."""
    if not condition:
        raise Failed(message)


@contextlib.contextmanager
def check(name):
    """One check: its block, and its line. `note(text)`, which it yields, adds a figure to the line."""
    notes = []
    try:
        yield notes.append
    except Exception as error:  # whatever went wrong is the finding
        _failures.append(name)
        kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
        print(f"FAIL {name}: {kind}{error}".replace("\n", " / "), flush=True)
    else:
        print(f"ok   {name}" + (f" ({', '.join(notes)})" if notes else ""), flush=True)


def main(checks):
    """Runs `checks(folder)` in a temporary folder, and exits with 1 where one failed."""
    # Turned into an exception, so that servers are stopped and folders removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if not os.access(BINARY, os.X_OK):
        sys.exit(f"FAIL no program at {BINARY}: build it, or name it in SEALSLOT")
    raise_file_limit()
    with tempfile.TemporaryDirectory(prefix="sealslot-e2e-") as folder, check(f"{Path(sys.argv[0]).name}: to its end"):
        checks(Path(folder))
    sys.exit(1 if _failures else 0)


def raise_file_limit():
    """Lets this process and its children open as many files as the system permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def usual_file_limit():
    """Leaves a server what a shell or systemd would give it: to ask for more is its own affair."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))


def free_ports(*offsets):
    """The first of some ports for servers that come back on them: it and those so far above it are free, and stay this check's,
    also beside other checks, until it ends. They are below those that the system gives to clients: one of these could take
    them while the server is down, or be connected to itself."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    dice = random.SystemRandom()
    for _ in range(1000):
        first = dice.randrange(10_000, lowest - max(offsets))
        with contextlib.suppress(OSError), contextlib.ExitStack() as marks:
            for port in (first + offset for offset in offsets):
                # A name that goes with this process, and lies in no folder.
                mark = marks.enter_context(socket.socket(socket.AF_UNIX))
                mark.bind(f"\0sealslot-e2e-port-{port}")
                with socket.socket() as listener:
                    listener.bind(("127.0.0.1", port))
            _taken.append(marks.pop_all())
            return first
    raise Failed("no free ports")


def free_port():
    """One of them."""
    return free_ports(0)


def tool(name):
    """The path of a tool; one that is not installed is a failure."""
    path = shutil.which(name)
    expect(path, f"{name} is not installed")
    return path


def run(*argv, stdin=b"", cwd=None, env=None, timeout=120, ok=True):
    """Runs a command to its end. With `ok` its failure is the check's."""
    argv = [word if isinstance(word, bytes) else str(word) for word in argv]
    done = subprocess.run(
        argv, input=stdin, cwd=cwd, env=ENVIRONMENT | (env or {}), capture_output=True, timeout=timeout, check=False
    )
    if ok and done.returncode != 0:
        raise Failed(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    return done


def sealslot(*argv, **options):
    """Runs a command of the program under test."""
    return run(BINARY, *argv, **options)


class Server:
    """`sealslot serve` on a free port of loopback, with its data in `folder`/data or in `data`, and its certificates in
    `folder`/certs or in `certs`. A context manager, which ends the server whatever happens. With a `port` every start has that one;
    `environment` is added to its environment, `binary` is another build of it, and `first` is called in its process before it
    begins. With `address` "0.0.0.0" it runs as in production: it makes nothing that is missing."""

    def __init__(
        self, folder, *arguments, data=None, certs=None, port=0, environment=None, binary=BINARY, address="127.0.0.1",
        first=usual_file_limit,
    ):
        self.folder = Path(folder)
        self.data = Path(data or self.folder / "data")
        self.token = self.data / "admin.token"
        where = [*(["--data", self.data] if data else []), *(["--certs", certs] if certs else [])]
        self.address, self.first = address, first
        listen = ["--listen", f"{address}:{port}"]
        self.command = [str(word) for word in (binary, "serve", *listen, *where, *arguments)]
        self.environment = ENVIRONMENT | (environment or {})
        self.ca = Path(certs or self.folder / "certs") / "ca.pem"
        self.log = self.folder / "serve.log"
        self.process = None
        self.port = None

    def __enter__(self):
        return self.start()

    def __exit__(self, failure, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        if failure is None:
            self.expect_no_defect()

    def start(self, timeout=60):
        """Starts it, also again; returns when it listens."""
        self.folder.mkdir(exist_ok=True)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                preexec_fn=self.first,
            )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            text = self.messages()
            # The announcement is written in one piece; its last line names the CA or does not come.
            found = re.search(rf"listening on https://{re.escape(self.address)}:(\d+)\n", text)
            if found:
                self.port = int(found[1])
                return self
            expect(self.process.poll() is None, f"serve ended: {text.strip()}")
            time.sleep(0.02)
        raise Failed("serve does not listen")

    def messages(self):
        """What it wrote to stderr so far."""
        return self.log.read_text(errors="replace")

    def expect_no_defect(self):
        """A panic ends one request, not the server: it stands in the log alone."""
        found = re.search(r".*(panicked|a defect in Sealslot).*", self.messages())
        expect(not found, f"a panic in the server: {found and found[0]}")

    def wait_for(self, pattern, timeout=60):
        """Waits for a message."""
        deadline = time.monotonic() + timeout
        while not re.search(pattern, self.messages()):
            expect(time.monotonic() < deadline, f"no message {pattern!r} within {timeout} s")
            time.sleep(0.05)

    def kill(self):
        """Ends it as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self.expect_no_defect()  # before the next start begins a new log

    def stop(self, timeout=60):
        """Ends it in order; it must exit with 0. What is under way has 30 s, and what is to be removed then 10 s."""
        self.process.terminate()
        code = self.process.wait(timeout)
        expect(code == 0, f"serve exited with {code} after SIGTERM")

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    @property
    def identity(self):
        """The private key that development made."""
        return self.data / "keys/identity.pem"

    def memory(self, field):
        """A line of /proc/PID/status, in KiB: VmRSS or VmHWM."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB$", status, re.M)[1])

    def cpu(self):
        """The CPU time that it took so far, in seconds: utime and stime, finer than in ticks (clock_getcpuclockid)."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def unread(self):
        """Bytes on loopback that were sent to it and that it has not taken: those not acknowledged, and those not read."""
        waiting = 0
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, queues, *_ = line.split()
            sending, receiving = (int(queue, 16) for queue in queues.split(":"))
            if int(remote.rpartition(":")[2], 16) == self.port:
                waiting += sending
            # A listening socket counts connections here.
            elif int(local.rpartition(":")[2], 16) == self.port and not remote.endswith(":0000"):
                waiting += receiving
        return waiting

    def wait_read(self, timeout=60):
        """Waits until it has taken all that was sent to it."""
        deadline = time.monotonic() + timeout
        while waiting := self.unread():
            expect(time.monotonic() < deadline, f"{waiting} bytes were sent and are not read after {timeout} s")
            time.sleep(0.02)

    def tls(self, timeout=60):
        """A TLS connection, verified against the server's CA."""
        stream = socket.create_connection(("127.0.0.1", self.port), timeout)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context().wrap_socket(stream, server_hostname="127.0.0.1")

    def context(self):
        return ssl.create_default_context(cafile=self.ca)

    def connect(self, timeout=120):
        """An HTTP/1.1 client on a connection of its own."""
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.context())

    def request(self, method, path, body=None, headers=None, admin=False, client=None):
        """One request, on a connection of its own where no client is given. Gives the status, the headers and the body."""
        headers = dict(headers or {})
        if admin:
            headers["Authorization"] = "Bearer " + self.token.read_text().strip()
        with contextlib.nullcontext(client) if client else contextlib.closing(self.connect()) as client:
            client.request(method, path, body, headers)
            response = client.getresponse()
            return response.status, response.headers, response.read()

    def upload(self, body, name="file"):
        """Uploads bytes with PUT, and gives the receipt."""
        status, _, answer = self.request("PUT", f"/uploads/{name}", body)
        expect(status == 201, f"PUT answered {status}: {answer.decode(errors='replace').strip()}")
        return json.loads(answer)

    def link(self, **document):
        """Makes an upload link, and gives what the server says of it, with its page as `url`."""
        headers = {"Content-Type": "application/json"}
        status, _, answer = self.request("POST", "/links", json.dumps(document).encode(), headers, admin=True)
        expect(status == 201, f"POST /links answered {status}: {answer.decode(errors='replace').strip()}")
        link = json.loads(answer)
        return link | {"url": self.url + link["link"]}

    def revoke(self, link):
        status, _, _ = self.request("DELETE", f"/links/{link['id']}", admin=True)
        expect(status == 204, f"DELETE of a link answered {status}")

    def used(self, link):
        """What the list says of a link: what was handed in, and what is on its way."""
        status, _, answer = self.request("GET", f"/links/{link['id']}", admin=True)
        expect(status == 200, f"GET of a link answered {status}")
        said = json.loads(answer)
        return said["used"], said["reserved"]

    def listed(self):
        """Everything that `GET /uploads` lists, by id."""
        uploads, after = {}, ""
        while True:
            status, _, answer = self.request("GET", f"/uploads?limit=1000{after}", admin=True)
            expect(status == 200, f"GET /uploads answered {status}")
            page = json.loads(answer)
            uploads |= {upload["id"]: upload for upload in page["uploads"]}
            if "next" not in page:
                return uploads
            after = f"&after={page['next']}"

    def delete(self, upload_id):
        status, _, _ = self.request("DELETE", f"/uploads/{upload_id}", admin=True)
        expect(status == 204, f"DELETE answered {status}")

    def folders(self):
        """The folder of every published upload, by id."""
        return {path.name: path for path in self.data.glob("uploads/*/*")}

    def expect_nothing_staged(self):
        """What a failed upload had staged goes right after its answer."""
        deadline = time.monotonic() + 30
        while staged := self.staged():
            expect(time.monotonic() < deadline, f"left in staging: {staged[:3]}")
            time.sleep(0.02)

    def staged(self):
        return sorted(path.name for path in self.data.glob("staging/*"))


def multipart(*parts, boundary="e2e-1f6b2c"):
    """A form of `(field, file name or None, bytes)`. Gives its media type and its body."""
    body = bytearray()
    for field, name, content in parts:
        file = "" if name is None else f'; filename="{name}"'
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"{file}\r\n\r\n'.encode()
        body += content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return f"multipart/form-data; boundary={boundary}", bytes(body)
