"""Many whole uploads, put into a bucket without a server: as FORMAT.md and docs/scale.md say that they lie there, each in a
`meta.age` of its own that opens with `age`. They have one segment in common, byte for byte, with its file key, and a file key for
their manifests: what a real store must never have is as good here, and a million are sealed in minutes.

Needs PyCA `cryptography`.
"""

import base64
import datetime
import hashlib
import hmac
import json
import multiprocessing
import os
import select
import socket
import time
import urllib.parse
from typing import NamedTuple

try:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
except ImportError:
    raise SystemExit("FAIL this Python has no cryptography: use the one that .ci/run makes, and names in $PYTHON") from None

from sealslot import Failed, expect

ALPHABET = "0123456789abcdefghijklmnopqrstuv"
TO_BASE32HEX = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", ALPHABET)
CONTENT = b"One of very many.\n"
NAME = "one of many.txt"
SEGMENT_NOTE, CRC_NOTE = "x-amz-meta-sealslot-segments", "x-amz-meta-sealslot-crc64nvme"
DAY = 24 * 60 * 60
# What each process has open to the engine, and how long it waits for an answer.
CONNECTIONS, PATIENCE = 24, 120


# --- age ---


def hkdf(key, salt, info):
    """HKDF-SHA-256, 32 bytes (RFC 5869)."""
    return hmac.digest(hmac.digest(salt or bytes(32), key, "sha256"), info + b"\x01", "sha256")


def bech32_payload(text):
    """The bytes in an age recipient (BIP 173); its checksum is age's business."""
    values = ["qpzry9x8gf2tvdw0s3jn54khce6mua7l".index(letter) for letter in text.rpartition("1")[2][:-6]]
    bits = "".join(f"{value:05b}" for value in values)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8))


def base64_bare(data):
    return base64.b64encode(data).rstrip(b"=")


def stanza(arguments, body):
    """A stanza of a header: lines of 64 columns, and then a shorter one, which may be empty."""
    text = base64_bare(body)
    lines = [text[at : at + 64] for at in range(0, len(text) + 1, 64)]
    return b"-> " + arguments + b"\n" + b"\n".join(lines) + b"\n"


class AgeFile:
    """Seals plaintexts of less than 64 KiB under one file key, each with a nonce of its own, to one X25519 recipient."""

    def __init__(self, recipient):
        self.file_key = os.urandom(16)
        ephemeral = X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        theirs = bech32_payload(recipient)
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(theirs))
        wrap = hkdf(shared, share + theirs, b"age-encryption.org/v1/X25519")
        body = ChaCha20Poly1305(wrap).encrypt(bytes(12), self.file_key, None)
        self.beginning = b"age-encryption.org/v1\n" + stanza(b"X25519 " + base64_bare(share), body)
        self.mac_key = hkdf(self.file_key, b"", b"header")

    def seal(self, plaintext, extra=b""):
        header = self.beginning + extra + b"---"
        mac, nonce = hmac.digest(self.mac_key, header, "sha256"), os.urandom(16)
        last = bytes(11) + b"\x01"
        payload = ChaCha20Poly1305(hkdf(self.file_key, nonce, b"payload")).encrypt(last, plaintext, None)
        return header + b" " + base64_bare(mac) + b"\n" + nonce + payload


def crc64_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x9A6C9329AC4BC9B5 if value & 1 else 0)
        table.append(value)
    return table


CRC64_TABLE = crc64_table()


def crc64nvme(data):
    """CRC-64/NVME, as FORMAT.md has it."""
    crc, table = 0xFFFFFFFFFFFFFFFF, CRC64_TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return f"{crc ^ 0xFFFFFFFFFFFFFFFF:016x}"


# --- Uploads ---


class Planted(NamedTuple):
    """An upload to be made: when it began, in milliseconds, and when it is to be deleted, in seconds, or None."""

    id: str
    millis: int
    expires: int | None


def base32hex(data):
    return base64.b32encode(data).decode().rstrip("=").translate(TO_BASE32HEX)


def rfc3339(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def plan(dice, count, days, now):
    """`count` uploads over the `days` days before today, as many a day. Those of the oldest day have expired since midnight, those
    of the day after will tomorrow; the others stay."""
    midnight = now // DAY * DAY
    uploads = []
    for number in range(count):
        day = number * days // count  # 0 is the oldest
        first = midnight - (days - day) * DAY
        millis = (first + dice.randrange(DAY)) * 1000 + dice.randrange(1000)
        expires = None
        if day == 0:
            expires = now - dice.randrange(1, max(600, now - midnight))
        elif day == 1:
            expires = now + dice.randrange(DAY // 2, DAY)
        uploads.append(Planted(base32hex(millis.to_bytes(6, "big") + dice.randbytes(14)), millis, expires))
    return uploads


class Sealer:
    """Makes the objects of uploads."""

    def __init__(self, recipient):
        self.manifests, self.segments = AgeFile(recipient), AgeFile(recipient)
        self.segment = self.segments.seal(CONTENT)
        self.segment_crc, self.sha256 = crc64nvme(self.segment), hashlib.sha256(CONTENT).hexdigest()
        self.segment_key = base64.b64encode(self.segments.file_key).decode()

    def objects(self, upload):
        """Keys, bodies and notes, in the order in which a server puts them: the last one is the commit."""
        when = rfc3339(upload.millis // 1000)
        folder = f"uploads/{when[:10]}/{upload.id}"
        name = "0000-" + base32hex(os.urandom(10))
        expires = upload.expires and rfc3339(upload.expires)
        file = {"name": "0000.age", "size": len(self.segment), "crc64nvme": self.segment_crc}
        record = {"v": 1, "id": upload.id, "time": when, "link": None, "expires": expires, "files": [file]}
        manifest = {
            "v": 1, "id": upload.id, "submission": upload.id, "kind": "file", "name": NAME, "type": "text/plain",
            "size": len(CONTENT), "sha256": self.sha256, "time": when,
            "segments": [{"size": len(CONTENT), "key": self.segment_key}],
        }
        record, manifest = (json.dumps(value, separators=(",", ":")).encode() for value in (record, manifest))
        meta = self.manifests.seal(manifest, stanza(b"sealslot/record", record))
        notes = {CRC_NOTE: crc64nvme(meta), SEGMENT_NOTE: name}
        return [(f"{folder}/{name}.age", self.segment, {}), (f"{folder}/meta.age", meta, notes)]


def expiry_objects(upload):
    """What makes servers look at an upload when its time is over."""
    return [(f"expiry/{rfc3339(upload.expires)[:10]}/{upload.expires:012}-{upload.id}", b"", {})]


# --- Putting them ---


class Signer:
    """Signs PUTs (AWS Signature Version 4) whose bodies it leaves unsigned."""

    def __init__(self, bucket, prefix):
        self.keys, self.path = bucket.keys, f"/{bucket.name}/{prefix}/"
        self.host = f"{bucket.host}:{bucket.port}"
        self.day, self.key = None, None

    def request(self, key, body, notes):
        now = time.gmtime()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", now)
        if stamp[:8] != self.day:
            self.day, self.key = stamp[:8], b"AWS4" + self.keys.secret.encode()
            for word in (self.day, self.keys.region, "s3", "aws4_request"):
                self.key = hmac.digest(self.key, word.encode(), "sha256")
        path = urllib.parse.quote(self.path + key)
        lines = [("host", self.host), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), ("x-amz-date", stamp), *notes.items()]
        lines.sort()
        names = ";".join(name for name, _ in lines)
        headers = "".join([f"{name}:{value}\n" for name, value in lines])
        canonical = f"PUT\n{path}\n\n{headers}\n{names}\nUNSIGNED-PAYLOAD"
        scope = f"{self.day}/{self.keys.region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self.key, text.encode(), "sha256").hex()
        sent = headers.replace("\n", "\r\n")
        authorization = f"AWS4-HMAC-SHA256 Credential={self.keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"
        head = f"PUT {path} HTTP/1.1\r\n{sent}authorization: {authorization}\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body


class Lane:
    """One connection, on which uploads go one after another, and of each its objects."""

    def __init__(self, bucket, signer, objects):
        self.signer, self.objects = signer, objects
        self.stream = socket.create_connection((bucket.host, bucket.port), PATIENCE)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.waiting, self.answer, self.what = [], b"", None

    def begin(self, upload):
        self.waiting = self.objects(upload)[::-1]
        self.send()

    def send(self):
        key, body, notes = self.waiting.pop()
        self.what = key
        self.stream.sendall(self.signer.request(key, body, notes))

    def receive(self):
        """Takes what has come. Whether the upload is whole."""
        received = self.stream.recv(16384)
        expect(received, f"the engine closed the connection after a PUT of {self.what}")
        self.answer += received
        head, end, rest = self.answer.partition(b"\r\n\r\n")
        if not end:
            return False
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), None)
        expect(head.startswith(b"HTTP/1.1 200 ") and length is not None, f"a PUT of {self.what} was answered {self.answer[:300]!r}")
        if len(rest) < length:
            return False
        self.answer = b""
        if self.waiting:
            self.send()
            return False
        return True


def put_share(bucket, prefix, objects, uploads, outcome):
    """What one process does."""
    try:
        signer, left = Signer(bucket, prefix), iter(uploads)
        poll, lanes = select.epoll(), {}
        for _, upload in zip(range(CONNECTIONS), left):
            lane = Lane(bucket, signer, objects)
            lanes[lane.stream.fileno()] = lane
            poll.register(lane.stream.fileno(), select.EPOLLIN)
            lane.begin(upload)
        busy = len(lanes)
        while busy:
            events = poll.poll(PATIENCE)
            expect(events, f"the engine answered nothing for {PATIENCE} s")
            for number, _ in events:
                if lanes[number].receive():
                    upload = next(left, None)
                    if upload is None:
                        busy -= 1
                    else:
                        lanes[number].begin(upload)
        outcome.put(None)
    except Exception as error:  # whatever it was, the check is to say it
        outcome.put(f"{type(error).__name__}: {error}")


def plant(bucket, prefix, objects, uploads, processes=2):
    """Puts what `objects` gives for each upload, in its order, many uploads at a time. Gives the seconds that it took."""
    began = time.monotonic()
    context = multiprocessing.get_context("fork")
    outcomes = context.SimpleQueue()
    workers = [
        context.Process(target=put_share, args=(bucket, prefix, objects, uploads[first::processes], outcomes))
        for first in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise Failed(f"putting the uploads: a process ended with {worker.exitcode}")
    failures = [failure for failure in (outcomes.get() for _ in workers) if failure]
    expect(not failures, f"putting the uploads: {failures[:1]}")
    return time.monotonic() - began


