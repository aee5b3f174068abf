"""ChaCha20-Poly1305 (RFC 8439) in plain Python: whether a key opens something, and what. Slow, and only to try keys with."""

import hmac
import struct

# The quarter rounds of two rounds: first the columns, then the diagonals.
QUARTERS = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
PRIME = (1 << 130) - 5
MASK = 0xFFFFFFFF
TAG = 16


def block(key, nonce, counter):
    """A block of the key stream (RFC 8439, section 2.3)."""
    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *struct.unpack("<8I", key), counter, *struct.unpack("<3I", nonce)]
    x = start.copy()
    for _ in range(10):
        for a, b, c, d in QUARTERS:
            for one, other, third, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                x[one] = (x[one] + x[other]) & MASK
                turned = x[third] ^ x[one]
                x[third] = (turned << bits | turned >> (32 - bits)) & MASK
    return struct.pack("<16I", *((one + other) & MASK for one, other in zip(x, start)))


def poly1305(key, message):
    """The authenticator (section 2.5)."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    sum_ = 0
    for at in range(0, len(message), 16):
        sum_ = (sum_ + int.from_bytes(message[at : at + 16] + b"\1", "little")) * r % PRIME
    return ((sum_ + int.from_bytes(key[16:], "little")) & ((1 << 128) - 1)).to_bytes(16, "little")


def opens(key, nonce, sealed):
    """Whether this is the key: the tag fits. There is no associated data (section 2.8)."""
    text, tag = sealed[:-TAG], sealed[-TAG:]
    padded = text + bytes(-len(text) % 16) + struct.pack("<QQ", 0, len(text))
    return hmac.compare_digest(poly1305(block(key, nonce, 0)[:32], padded), tag)


def plaintext(key, nonce, sealed):
    """What `opens`, opened."""
    text = sealed[:-TAG]
    stream = b"".join(block(key, nonce, counter) for counter in range(1, 2 + len(text) // 64))
    return bytes(one ^ other for one, other in zip(text, stream))
