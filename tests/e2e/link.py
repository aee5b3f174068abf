"""One way to a server, over which requests fail and are made again: HTTP/1.1, with what resumable uploads need of it."""

import collections
import contextlib
import http.client
import json
import re
import socket
from typing import NamedTuple

from sealslot import KIB, expect


class Broken(Exception):
    """The connection broke or is too slow: to be tried again."""


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def offset(self):
        text = self.headers["Upload-Offset"]
        expect(text is not None and re.fullmatch(r"\d+", text), f"no Upload-Offset: {self}")
        return int(text)

    def problem(self):
        """A problem document; another body is an empty one."""
        with contextlib.suppress(ValueError):
            found = json.loads(self.body)
            if isinstance(found, dict):
                return found
        return {}

    def __str__(self):
        shown = ("upload-", "location", "content-location", "repr-digest")
        head = " ".join(f"{name}: {value};" for name, value in self.headers.items() if name.lower().startswith(shown))
        return f"{self.status} {head} {self.body[:300].decode(errors='replace')}"


class Link:
    """The way to the server: one connection at a time, made again when it broke. `patience` is in seconds."""

    def __init__(self, port, context, patience=2.0):
        self.port = port
        self.context = context
        self.first_patience = self.patience = patience
        self.client = None
        self.history = collections.deque(maxlen=12)

    def request(self, method, path, headers, body=b"", chunked=False, trailer=None):
        """One request. With `chunked` its body has no announced length; `trailer` comes behind such a body."""
        said = ", ".join(f"{name}: {value}" for name, value in headers.items() if name != "Upload-Metadata")
        asked = f"{method} {path} [{said}] {len(body)} bytes{' in chunks' if chunked or trailer else ''} {trailer or ''}"
        try:
            answer = self.exchange(method, path, headers, body, chunked, trailer)
        except TimeoutError as error:
            # The server may need longer: whoever waits as long every time would never come to an end.
            self.patience *= 1.5
            self.close()
            self.history.append(f"{asked} -> no answer")
            raise Broken from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            self.history.append(f"{asked} -> {type(error).__name__}: {error}")
            raise Broken from error
        self.patience = self.first_patience
        self.history.append(f"{asked} -> {answer}")
        return answer

    def exchange(self, method, path, headers, body, chunked, trailer):
        if self.client is None:
            self.connect()
        chunked = chunked or bool(trailer)
        headers = dict(headers)
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = str(len(body))
        if trailer:
            headers["Trailer"] = ", ".join(trailer)
        self.client.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            self.client.putheader(name, value)
        self.client.endheaders()
        self.send(body, chunked)
        if chunked:
            lines = "".join(f"{name}: {value}\r\n" for name, value in (trailer or {}).items())
            self.client.send(f"0\r\n{lines}\r\n".encode())
        response = self.client.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        if response.will_close:
            self.close()
        return answer

    def connect(self):
        self.client = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=self.patience, context=self.context)
        self.client.connect()
        self.client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, body, chunked):
        for at in range(0, len(body), 64 * KIB):
            piece = body[at : at + 64 * KIB]
            self.client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)

    def close(self):
        if self.client:
            self.client.close()
        self.client = None
