"""A certificate authority to check ACME with: Debian's Pebble, its DNS, and a proxy in front of it.

The proxy passes everything on as it is, and adds what Pebble 2.4 has not: ARI (RFC 9773), the field `replaces` in orders, and limits. It
counts what goes by, and can be away. URLs are right because Pebble makes them of the `Host` that it is asked for.
"""

import base64
import contextlib
import http.client
import json
import ssl
import subprocess
import threading
import time
import urllib.request
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sealslot import ENVIRONMENT, expect, free_port, sealslot, tool

DAY = 24 * 60 * 60


class Names:
    """DNS in which every name leads to this machine."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()

    def __enter__(self):
        off = [word for name in ("http01", "https01", "tlsalpn01") for word in (f"-{name}", "")]
        argv = [tool("pebble-challtestsrv"), *off, "-dns01", f"127.0.0.1:{self.port}", "-defaultIPv6", "",
                "-management", f"127.0.0.1:{free_port()}"]
        with open(self.folder / "names.log", "wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=ENVIRONMENT)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(30)


class Authority:
    """Pebble and its proxy. It looks for servers on `tls_port` and `http_port`."""

    def __init__(self, folder, names, tls_port, http_port, lifetime=90 * DAY, refused_nonces=0, external=None):
        self.folder = folder
        folder.mkdir()
        # Longer than any clock is set on.
        sealslot("certs", "--dir", "own", "--host", "127.0.0.1", "--days", "397", cwd=folder)
        self.ca = folder / "own/ca.pem"
        self.port, self.management = free_port(), free_port()
        config = {
            "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(folder / "own/server.pem"), "privateKey": str(folder / "own/server.key"),
            "httpPort": http_port, "tlsPort": tls_port, "certificateValidityPeriod": lifetime,
            "externalAccountBindingRequired": bool(external), "externalAccountMACKeys": external or {},
        }
        (folder / "pebble.json").write_text(json.dumps({"pebble": config}))
        self.argv = [tool("pebble"), "-strict", "-config", folder / "pebble.json", "-dnsserver", f"127.0.0.1:{names.port}"]
        self.environment = {
            "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": str(refused_nonces), "PEBBLE_AUTHZREUSE": "0",
        }
        self.proxy = Proxy(self)

    @property
    def directory(self):
        return f"https://127.0.0.1:{self.proxy.port}/dir"

    @property
    def context(self):
        return ssl.create_default_context(cafile=self.ca)

    def __enter__(self):
        with open(self.folder / "pebble.log", "wb") as log:
            environment = ENVIRONMENT | self.environment
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, env=environment)
        try:
            self.root = self._root()
            self.proxy.up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.proxy.down()
        self.process.kill()
        self.process.wait(30)

    def _root(self):
        """The root that its certificates lead to, from when it listens on."""
        url = f"https://127.0.0.1:{self.management}/roots/0"
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(url, context=self.context, timeout=10) as answer:
                    return answer.read().decode()
            except OSError:
                expect(self.process.poll() is None, f"pebble ended: {(self.folder / 'pebble.log').read_text()[-300:]}")
                expect(time.monotonic() < deadline, "pebble does not listen")
                time.sleep(0.05)

    @property
    def settings(self):
        """What `serve` is told of it."""
        return ["--acme-directory", self.directory, "--acme-cacert", self.ca, "--acme-terms-agreed"]


class Proxy:
    """In front of Pebble."""

    def __init__(self, authority):
        self.authority, self.port = authority, free_port()
        self.server = None
        self.accounts, self.orders = 0, []
        # What ARI says of a certificate: from when until when, in seconds from now. None: there is no ARI.
        self.window = None
        self.asked_windows = []
        # Until when orders are refused, in seconds.
        self.limited = None
        # Set to keep the answer to a request whose path has this word, until it is let go.
        self.held, self.holding, self.released = None, threading.Event(), threading.Event()

    def up(self):
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def log_message(self, *_):
                pass

            def do_GET(self):
                proxy.handle(self)

            do_HEAD = do_POST = do_GET

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own = self.authority.folder / "own"
        context.load_cert_chain(own / "server.pem", own / "server.key")
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # whoever was killed asks no more
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def down(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def handle(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if request.path.startswith("/renewal-info/"):
            return self.renewal_info(request)
        order = payload(body) if request.path == "/order-plz" else None
        if order is not None and self.limited:
            problem = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many orders today"}
            return answer(request, 429, {"Retry-After": str(self.limited)}, json.dumps(problem).encode())
        status, headers, said = self.ask(request, body)
        if self.held and self.held in request.path:
            self.holding.set()
            self.released.wait(30)
        if status == 201 and request.path == "/sign-me-up":
            self.accounts += 1
        if request.path == "/dir" and self.window:
            told = json.loads(said) | {"renewalInfo": f"https://127.0.0.1:{self.port}/renewal-info"}
            said = json.dumps(told).encode()
        if order is not None and status == 201:
            self.orders.append(order)
            if "replaces" in order:
                said = json.dumps(json.loads(said) | {"replaces": order["replaces"]}).encode()
        return answer(request, status, headers, said)

    def ask(self, request, body):
        client = http.client.HTTPSConnection("127.0.0.1", self.authority.port, timeout=30, context=self.authority.context)
        with contextlib.closing(client):
            names = ("Host", "Content-Type", "Accept")
            headers = {name: request.headers[name] for name in names if name in request.headers}
            client.request(request.command, request.path, body or None, headers)
            got = client.getresponse()
            dropped = ("content-length", "transfer-encoding", "connection", "date")
            kept = [(name, value) for name, value in got.getheaders() if name.lower() not in dropped]
            return got.status, kept, got.read()

    def renewal_info(self, request):
        self.asked_windows.append(request.path.rsplit("/", 1)[1])
        start, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + at)) for at in self.window)
        said = json.dumps({"suggestedWindow": {"start": start, "end": end}}).encode()
        answer(request, 200, {"Retry-After": "21600", "Content-Type": "application/json"}, said)


def answer(request, status, headers, body):
    request.send_response_only(status)
    for name, value in headers.items() if isinstance(headers, dict) else headers:
        request.send_header(name, value)
    request.send_header("Date", formatdate(usegmt=True))
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def payload(body):
    """What a signed request says (RFC 8555, section 6.2)."""
    text = json.loads(body)["payload"]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
