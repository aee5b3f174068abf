"""ClientHellos written by hand (RFC 8446, section 4.1.2), with all that can be wrong in them, and what a server answers."""

import contextlib
import socket
import struct
import time
from typing import NamedTuple

CCS, ALERT, HANDSHAKE, DATA, HEARTBEAT = 20, 21, 22, 23, 24
CLIENT_HELLO, SERVER_HELLO = 1, 2
TLS10, TLS12, TLS13 = 0x0301, 0x0303, 0x0304
GROUPS_OF, POINT_FORMATS, SIGNATURES, ALPN, PADDING, PSK, EARLY_DATA = 10, 11, 13, 16, 21, 41, 42
VERSIONS, PSK_MODES, SHARES = 43, 45, 51
P256, P384, X25519, HYBRID = 0x17, 0x18, 0x1D, 0x11EC
AES_128, AES_256, CHACHA20 = 0x1301, 0x1302, 0x1303
ECDHE_AES_128 = 0xC02B

# Keys that are as good as any, since no handshake here comes to its end: the generator of P-256, and an encapsulation key
# of ML-KEM-768 that is nothing but zeros, with a key of X25519.
P256_KEY = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
X25519_KEY = bytes([9]) + bytes(31)
HYBRID_KEY = bytes(1184) + X25519_KEY
# How a HelloRetryRequest is told from a ServerHello, and what a server that knows 1.3 says to one that does not (4.1.3).
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
DOWNGRADE = b"DOWNGRD\x01"


class Writer:
    """Bytes with length fields, whose places are written down."""

    def __init__(self):
        self.bytes = bytearray()
        self.lengths = []  # (place, width, name)

    @contextlib.contextmanager
    def block(self, width, name):
        """What is written inside comes after its length."""
        place = len(self.bytes)
        self.lengths.append((place, width, name))
        self.bytes += bytes(width)
        yield
        self.bytes[place : place + width] = (len(self.bytes) - place - width).to_bytes(width, "big")

    def u16(self, *values):
        for value in values:
            self.bytes += struct.pack(">H", value)


def listed(values, width=2):
    """A list of 16-bit values after its length."""
    content = b"".join(struct.pack(">H", value) for value in values)
    return len(content).to_bytes(width, "big") + content


def shares(*entries):
    content = b"".join(struct.pack(">HH", group, len(key)) + key for group, key in entries)
    return struct.pack(">H", len(content)) + content


def extensions(groups=(X25519, P256), keys=((X25519, X25519_KEY),), versions=(TLS13,), more=()):
    """The extensions of a client that can do nothing else, as (type, content)."""
    found = [
        (GROUPS_OF, listed(groups)), (SIGNATURES, listed([0x0403, 0x0804, 0x0503, 0x0805, 0x0806, 0x0401])),
        (POINT_FORMATS, b"\x01\x00"), (ALPN, b"\x00\x0c\x02h2\x08http/1.1"),
    ]
    if versions:
        found += [(VERSIONS, listed(versions, 1)), (PSK_MODES, b"\x01\x01"), (SHARES, shares(*keys))]
    return found + list(more)


def write(exts=None, suites=(AES_128, AES_256, CHACHA20), version=TLS12, session=bytes(32), compression=b"\x00", record=TLS10):
    """A ClientHello in one record, and the places of its length fields."""
    out = Writer()
    out.bytes += bytes([HANDSHAKE])
    out.u16(record)
    with out.block(2, "record"):
        out.bytes.append(CLIENT_HELLO)
        with out.block(3, "handshake"):
            out.u16(version)
            out.bytes += bytes(range(32))
            with out.block(1, "session id"):
                out.bytes += session
            with out.block(2, "suites"):
                out.u16(*suites)
            with out.block(1, "compression"):
                out.bytes += compression
            with out.block(2, "extensions"):
                for kind, content in extensions() if exts is None else exts:
                    out.u16(kind)
                    with out.block(2, f"extension {kind}"):
                        out.bytes += content
    return bytes(out.bytes), out.lengths


def hello(*arguments, **options):
    """A ClientHello in one record."""
    return write(*arguments, **options)[0]


def record(kind, content, version=TLS12):
    return struct.pack(">BHH", kind, version, len(content)) + content


def split(message, size):
    """The content of a record, in records of `size` bytes."""
    content = message[5:]
    return b"".join(record(message[0], content[at : at + size], TLS10) for at in range(0, len(content), size))


class Answer(NamedTuple):
    """What a server said until it closed the connection, or until it was waited for long enough."""

    records: list  # (type, content)
    closed: bool
    seconds: float

    @property
    def alert(self):
        """The fatal alert, as its number."""
        return next((content[1] for kind, content in self.records if kind == ALERT and content[:1] == b"\x02"), None)

    @property
    def hello(self):
        """The last ServerHello, from its version on."""
        found = [content[4:] for kind, content in self.records if kind == HANDSHAKE and content[:1] == b"\x02"]
        return found[-1] if found else None

    @property
    def is_retry(self):
        return self.hello is not None and self.hello[2:34] == RETRY

    def extension(self, wanted):
        """An extension of the ServerHello."""
        at = 35 + self.hello[34] + 3 + 2
        while at + 4 <= len(self.hello):
            kind, length = struct.unpack_from(">HH", self.hello, at)
            if kind == wanted:
                return self.hello[at + 4 : at + 4 + length]
            at += 4 + length
        return None


def parse(received):
    """The records in what was received; the rest is left out."""
    records, at = [], 0
    while at + 5 <= len(received):
        kind, _, length = struct.unpack_from(">BHH", received, at)
        if at + 5 + length > len(received):
            break
        records.append((kind, received[at + 5 : at + 5 + length]))
        at += 5 + length
    return records


def talk(port, *pieces, end=False, patience=20.0):
    """Sends pieces one after another on a connection of their own, and reads until it is closed. With `end` the client says that it
    has no more to say. Where a piece is None, something has to come before the next one is sent."""
    began, received, closed = time.monotonic(), bytearray(), False
    with socket.create_connection(("127.0.0.1", port), patience) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.settimeout(patience)
        try:
            for piece in pieces:
                if piece is None:
                    received += stream.recv(65536)
                else:
                    stream.sendall(piece)
            if end:
                stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # What it said before it closed is still there.
        try:
            while chunk := stream.recv(65536):
                received += chunk
            closed = True
        except TimeoutError:
            pass
        except OSError:
            closed = True
    return Answer(parse(bytes(received)), closed, time.monotonic() - began)
