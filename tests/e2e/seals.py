"""Which key and nonce sealed what: the log of a server built with the feature `audit-seals`, and the keys in manifests.

A line of the log is `hex(SHA-256(payload key, nonce)) hex(SHA-256(plaintext))`, written before the chunk it is about.
"""

import base64
import hashlib
import hmac
import json
import os
import re
from pathlib import Path

# Not of the standard library: .ci/run installs it.
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from sealslot import KIB, Failed, expect, run, tool

CHUNK = 64 * KIB
TAG = 16


def audited_server():
    """The build that writes such logs."""
    path = os.environ.get("SEALSLOT_AUDITED")
    expect(path, "SEALSLOT_AUDITED does not name a server built with `--features audit-seals`: .ci/run builds it")
    expect(os.access(path, os.X_OK), f"no program at {path}, which SEALSLOT_AUDITED names")
    return Path(path).absolute()


def opened(key, nonce, sealed):
    """What was sealed by ChaCha20-Poly1305; None where this is not the key."""
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, None)
    except InvalidTag:
        return None


def opens(key, nonce, sealed):
    """Whether this is the key."""
    return opened(key, nonce, sealed) is not None


class Seals:
    """A log, and what is to be found in it."""

    def __init__(self, path):
        self.lines = 0
        self.sealed = {}  # SHA-256 of key and nonce: SHA-256 of the plaintext
        with open(path, encoding="ascii") as log:
            for line in log:
                self.add(line)

    def add(self, line):
        self.lines += 1
        found = re.fullmatch(r"([0-9a-f]{64}) ([0-9a-f]{64})\n", line)
        expect(found, f"line {self.lines} of the log is none: {line!r}")
        seal, plaintext = (bytes.fromhex(column) for column in found.groups())
        other = self.sealed.setdefault(seal, plaintext)
        expect(other == plaintext, f"a key and nonce sealed two plaintexts (line {self.lines} of the log): {line.strip()}")

    def repeated(self):
        """How many chunks were sealed more than once, under the same key and nonce."""
        return self.lines - len(self.sealed)

    def account_for(self, segment, file_key, plaintext):
        """Checks that the log has every chunk of a stored segment. Gives True where recovery sealed the last one.

        Recovery ends a segment at a chunk that was sealed before, but not as the last one: the log has it twice then,
        under two nonces that differ in the last flag, and both times with the same plaintext."""
        key = payload_key(segment, file_key)
        chunks = [plaintext[at : at + CHUNK] for at in range(0, len(plaintext), CHUNK)]
        for number, chunk in enumerate(chunks):
            last = number == len(chunks) - 1
            logged = self.sealed.get(seal_of(key, number, last))
            expect(logged == hashlib.sha256(chunk).digest(), f"chunk {number} is not in the log as it is on disk")
        before = self.sealed.get(seal_of(key, len(chunks) - 1, False))
        if before is None:
            return False
        expect(before == hashlib.sha256(chunks[-1]).digest(), "recovery sealed another plaintext than was there")
        return True


def seal_of(key, number, last):
    """The first column for a chunk (age specification, "Payload")."""
    return hashlib.sha256(key + number.to_bytes(11, "big") + bytes([last])).digest()


def header_and_nonce(segment):
    """An age file's header without its MAC, the MAC, and the nonce after it."""
    found = re.match(rb"(.*?\n---) ([A-Za-z0-9+/]{43})\n(.{16})", segment, re.S)
    expect(found, "not an age file")
    return found[1], base64.b64decode(found[2] + b"="), found[3]


def plain_size(segment):
    """How many bytes of plaintext an age file holds."""
    header, _, nonce = header_and_nonce(segment)
    sealed = len(segment) - len(header) - len(" ") - 43 - len("\n") - len(nonce)
    return sealed - TAG * -(-sealed // (CHUNK + TAG))


def hkdf(secret, salt, info):
    """HKDF-SHA256, 32 bytes of it (RFC 5869)."""
    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\1", "sha256")


def payload_key(segment, file_key):
    header, mac, nonce = header_and_nonce(segment)
    expect(opens_header(header, mac, file_key), "the file key is not that of the segment")
    return hkdf(file_key, nonce, b"payload")


def opens_header(header, mac, file_key):
    """Whether this is the file key of the age file with this header."""
    return hmac.digest(hkdf(file_key, b"", b"header"), header, "sha256") == mac


def manifest(folder, identity):
    """The manifest of a published upload, by stock age."""
    done = run(tool("age"), "-d", "-i", identity, folder / "meta.age")
    return json.loads(done.stdout)


def file_keys(folder, identity):
    """The file key of each of its segments, by the segment's name."""
    segments = manifest(folder, identity)["segments"]
    return {f"{number:04}.age": base64.b64decode(segment["key"]) for number, segment in enumerate(segments)}


def expect_double_use_noticed(folder):
    """The check of the check: a log with a forged double use is refused, one with an honest repetition is not."""
    seal, one, other = (hashlib.sha256(name).hexdigest() for name in (b"seal", b"one", b"other"))
    for name, lines, good in (
        ("honest", [(seal, one), (other, one), (seal, one)], True),
        ("forged", [(seal, one), (other, one), (seal, other)], False),
        ("torn", [(seal, one[:-1])], False),
    ):
        path = folder / f"{name}.log"
        path.write_text("".join(f"{seal} {plaintext}\n" for seal, plaintext in lines))
        try:
            repeated = Seals(path).repeated()
        except Failed:
            expect(not good, f"a {name} log was refused")
        else:
            expect(good and repeated == 1, f"a {name} log was taken")
