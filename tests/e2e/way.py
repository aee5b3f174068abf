"""The way of one client to an upload link, over which requests are sent slowly, in part, and not to their end."""

import contextlib
import http.client
import socket
import struct
import subprocess
import time

from link import Answer, Broken
from sealslot import ENVIRONMENT, KIB, expect, tool

# What one request may take, on a machine that has much else to do.
REQUEST = 40


class Refused(Exception):
    """The server does not take it."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class Left(Exception):
    """The client went away, as it meant to."""


class Expired(Exception):
    """The upload took longer than it may."""


class Way:
    """The way of one sender to the server: a connection, made again when it broke."""

    def __init__(self, storm, dice, pause=0.3):
        self.storm = storm
        self.dice = dice
        self.pause = pause
        self.client = None
        self.began = (0, 0)  # the last request, by both clocks
        self.asked = False  # whether it may have arrived

    def request(self, method, path, headers, body=b"", chunked=False, leave=None):
        """One request. `leave` is how to go away after a part of the body: "reset", "close" or "stall"."""
        self.began, self.asked = (time.monotonic(), time.time()), False
        try:
            return self.exchange(method, path, headers, body, chunked, leave)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Broken(f"{method}: {error!r}") from error

    def exchange(self, method, path, headers, body, chunked, leave):
        if self.client is None:
            self.client = http.client.HTTPSConnection(
                "127.0.0.1", self.storm.server.port, timeout=REQUEST, context=self.storm.context
            )
            self.client.connect()
            self.client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = self.client
        self.asked = True
        client.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            client.putheader(name, value)
        if chunked:
            client.putheader("Transfer-Encoding", "chunked")
        elif method in ("POST", "PUT", "PATCH"):
            client.putheader("Content-Length", str(len(body)))
        client.endheaders()
        whole = True
        try:
            self.send(body, chunked, leave)
        except OSError:
            whole = False  # it may have been answered before its end
        response = client.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        if response.will_close or not whole:
            self.close()
        return answer

    def send(self, body, chunked, leave):
        end = len(body) if leave is None else int(len(body) * self.dice.random())
        cuts = sorted(self.dice.randrange(end + 1) for _ in range(self.dice.choice([0, 0, 1, 2])))
        for start, stop in zip([0, *cuts], [*cuts, end]):
            for at in range(start, stop, 64 * KIB):
                piece = body[at : min(at + 64 * KIB, stop)]
                self.client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if stop != end:
                time.sleep(self.dice.random() * self.pause)
        if leave is not None:
            self.leave(leave)
        if chunked:
            self.client.send(b"0\r\n\r\n")

    def leave(self, how):
        if how == "stall":
            # The connection stays, and another one goes on.
            still = Way(self.storm, self.dice)
            still.client, self.client = self.client, None
            self.storm.hold(still)
        elif how == "reset":
            self.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()
        self.storm.account.count(f"left by {how}")
        raise Left

    def close(self):
        if self.client:
            self.client.close()
        self.client = None

    def by_curl(self, version, method, path, headers, body, chunked, leave):
        """The same by curl, which speaks HTTP/2 and waits for `100 Continue`. What stands still is cut here."""
        url = self.storm.server.url + path
        argv = [tool("curl"), "-sS", f"--http{version}", "--cacert", str(self.storm.server.ca), "-m", str(REQUEST)]
        argv += ["-X", method, *(["-T", "-"] if chunked else ["--data-binary", "@-"])]
        # Where nothing is said, curl says that it is a form.
        headers = {"Content-Type": "application/octet-stream"} | headers | ({"Expect": "100-continue"} if version == "1.1" else {})
        for name, value in headers.items():
            argv += ["-H", f"{name}: {value}"]
        argv += ["-w", "\n%{http_version} %{http_code} %{content_type}", url]
        self.began = (time.monotonic(), time.time())
        child = subprocess.Popen(
            argv, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        with child:
            try:
                if leave is not None and chunked:
                    with contextlib.suppress(OSError):
                        child.stdin.write(body[: int(len(body) * self.dice.random())])
                    time.sleep(self.dice.uniform(0.05, 0.5))
                    self.storm.account.count("left by curl")
                    raise Left
                said, _ = child.communicate(body, REQUEST + 10)
            finally:
                child.kill()
        content, _, last = said.rpartition(b"\n")
        spoken, status, media_type = (*last.decode().split(" ", 2), "")[:3]
        # What was answered before the end of the body counts, and a bare `100 Continue` does not.
        if not status or int(status) < 200:
            raise Broken(f"curl: exit {child.returncode}")
        expect(spoken == version, f"curl spoke HTTP/{spoken}, not {version}")
        self.storm.account.count(f"answers in HTTP/{version} to curl")
        headers = http.client.HTTPMessage()
        headers["Content-Type"] = media_type
        return Answer(int(status), headers, content)
