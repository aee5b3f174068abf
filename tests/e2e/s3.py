"""A small S3 client: signed requests (SigV4) on kept connections, path style. Python's standard library alone."""

import contextlib
import datetime
import hashlib
import hmac
import http.client
import ssl
import threading
import time
import urllib.parse
import xml.etree.ElementTree
from typing import NamedTuple

from sealslot import Failed

EMPTY = hashlib.sha256(b"").hexdigest()
# In seconds.
MOST_IDLE = 5


class Keys(NamedTuple):
    """Who asks."""

    access: str
    secret: str
    region: str = "us-east-1"


class Listed(NamedTuple):
    key: str
    size: int


class Bucket:
    """One bucket of an engine at `endpoint`. Threads may share it: each has a connection of its own."""

    def __init__(self, endpoint, name, keys, cacert=None, timeout=30):
        self.endpoint, self.name, self.keys, self.timeout = endpoint, name, keys, timeout
        found = urllib.parse.urlsplit(endpoint)
        self.host, self.port, self.secure = found.hostname, found.port, found.scheme == "https"
        self.context = ssl.create_default_context(cafile=cacert) if self.secure else None
        self.own = threading.local()

    def create(self):
        """Makes the bucket; one that is there is fine."""
        status, _, answer = self.request("PUT", "")
        if status not in (200, 409):
            raise Failed(f"making the bucket {self.name} was answered {status}: {answer[:300]!r}")

    def put(self, key, body, headers=None):
        self.expect(self.request("PUT", key, body, headers=headers), (200,), f"PUT {key}")

    def get(self, key):
        return self.expect(self.request("GET", key), (200,), f"GET {key}")

    def delete(self, key):
        self.expect(self.request("DELETE", key), (200, 204, 404), f"DELETE {key}")

    def page(self, prefix="", after="", most=1000):
        """One page of keys in order, and whether more follow."""
        query = {"list-type": "2", "prefix": prefix, "max-keys": str(most)} | ({"start-after": after} if after else {})
        answer = self.expect(self.request("GET", "", query=query), (200,), f"a list of {prefix!r}")
        root = xml.etree.ElementTree.fromstring(answer)
        for one in root.iter():
            one.tag = one.tag.rpartition("}")[2]
        found = [Listed(one.findtext("Key"), int(one.findtext("Size"))) for one in root.iter("Contents")]
        return found, root.findtext("IsTruncated") == "true"

    def list(self, prefix=""):
        """Everything below a prefix."""
        found, more = [], True
        while more:
            page, more = self.page(prefix, found[-1].key if found else "")
            found += page
            if more and not page:
                raise Failed(f"a list of {prefix!r} goes on, and has nothing")
        return found

    @staticmethod
    def expect(answer, wanted, what):
        status, _, body = answer
        if status not in wanted:
            raise Failed(f"{what} was answered {status}: {body[:300]!r}")
        return body

    def request(self, method, key, body=b"", query=None, headers=None):
        """One request. Gives the status, the headers and the body. What breaks is raised; the next one connects again."""
        path = "/" + urllib.parse.quote(f"{self.name}/{key}" if key else self.name)
        text = "&".join(f"{quoted(name)}={quoted(value)}" for name, value in sorted((query or {}).items()))
        signed = self.signed(method, path, text, body, dict(headers or {}))
        kept = getattr(self.own, "client", None) is not None
        client = self.client()
        try:
            client.request(method, f"{path}?{text}" if text else path, body or None, signed)
            response = client.getresponse()
            return response.status, response.headers, response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # A connection that the engine has ended meanwhile, as any may that nothing goes over.
            if kept and method in ("GET", "HEAD") and isinstance(error, (http.client.RemoteDisconnected, BrokenPipeError)):
                return self.request(method, key, body, query, headers)
            raise

    def client(self):
        now = time.monotonic()
        # Engines close what was idle for long, and that shows in the next request only.
        if now - getattr(self.own, "used", now) > MOST_IDLE:
            self.close()
        self.own.used = now
        if getattr(self.own, "client", None) is None:
            kind = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
            options = {"context": self.context} if self.secure else {}
            self.own.client = kind(self.host, self.port, timeout=self.timeout, **options)
        return self.own.client

    def close(self):
        """Closes this thread's connection."""
        if getattr(self.own, "client", None) is not None:
            with contextlib.suppress(OSError):
                self.own.client.close()
        self.own.client = None

    def signed(self, method, path, query, body, headers):
        """The headers with a signature (AWS Signature Version 4)."""
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        digest = hashlib.sha256(body).hexdigest() if body else EMPTY
        headers |= {"Host": f"{self.host}:{self.port}", "X-Amz-Date": stamp, "X-Amz-Content-Sha256": digest}
        lines = sorted((name.lower(), value.strip()) for name, value in headers.items())
        names = ";".join(name for name, _ in lines)
        canonical = "\n".join([method, path, query, *(f"{name}:{value}" for name, value in lines), "", names, digest])
        scope = f"{day}/{self.keys.region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = b"AWS4" + self.keys.secret.encode()
        for word in (day, self.keys.region, "s3", "aws4_request"):
            key = hmac.digest(key, word.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        credential = f"{self.keys.access}/{scope}"
        headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
        return headers


def quoted(text):
    return urllib.parse.quote(text, safe="-_.~")
