"""An age plugin (C2SP age-plugin, `identity-v1`) that opens X25519 stanzas with a key in the identity's own text. Checks
run it under stock age, rage and Sealslot; with a name that ends in `-pin` it asks for a PIN first.

    age_plugin.py AGE-SECRET-KEY-1... NAME    prints the identity for the plugin NAME
"""

import base64
import sys
from pathlib import Path

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
PIN = b"2468"


def polymod(values):
    sum_ = 1
    for value in values:
        top = sum_ >> 25
        sum_ = (sum_ & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            sum_ ^= generator if top >> bit & 1 else 0
    return sum_


def expanded(prefix):
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def bech32_data(text):
    """The prefix and the groups of five bits, without the checksum."""
    prefix, _, data = text.lower().rpartition("1")
    values = [CHARSET.index(c) for c in data]
    assert polymod(expanded(prefix) + values) == 1
    return prefix, values[:-6]


def bech32(prefix, values):
    sum_ = polymod(expanded(prefix) + values + [0] * 6) ^ 1
    check = [sum_ >> 5 * (5 - i) & 31 for i in range(6)]
    return prefix + "1" + "".join(CHARSET[value] for value in values + check)


def secret_of(identity):
    bits = "".join(f"{value:05b}" for value in bech32_data(identity)[1])
    return int(bits[:256], 2).to_bytes(32, "big")


def decoded(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


def encoded(data):
    return base64.b64encode(data).decode().rstrip("=")


def say(*args, body=b""):
    text = encoded(body)
    lines = [text[i : i + 64] for i in range(0, len(text) + 1, 64)]
    sys.stdout.write("\n".join(["-> " + " ".join(args), *lines]) + "\n")
    sys.stdout.flush()


def hear():
    """One stanza: its arguments and its body."""
    line = sys.stdin.readline()
    assert line.startswith("-> "), line
    body = ""
    while True:
        part = sys.stdin.readline().rstrip("\n")
        body += part
        if len(part) < 64:
            return line[3:].split(), decoded(body)


def unwrap(identity, share, body):
    """The X25519 recipient type of the age specification."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    secret = X25519PrivateKey.from_private_bytes(secret_of(identity))
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    salt = share + secret.public_key().public_bytes(*raw)
    shared = secret.exchange(X25519PublicKey.from_public_bytes(share))
    key = HKDF(hashes.SHA256(), 32, salt, b"age-encryption.org/v1/X25519").derive(shared)
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), body, b"")
    except InvalidTag:
        return None


def identity_v1(asks):
    identities, stanzas = [], []
    while True:
        args, body = hear()
        if args[0] == "add-identity":
            identities.append(args[1])
        elif args[0] == "recipient-stanza":
            stanzas.append((args[1:], body))
        elif args[0] == "done":
            break
    say("grease-5e", "x", body=b"whatever")
    assert hear()[0] == ["unsupported"]
    say("msg", body=b"looking for your key")
    assert hear()[0][0] in ("ok", "fail")
    if asks:
        say("request-secret", body=b"PIN")
        args, pin = hear()
        if args != ["ok"] or pin != PIN:
            say("error", "identity", "0", body=b"wrong PIN \x1b[31m")
            hear()
            say("done")
            return
    for (index, kind, *rest), body in stanzas:
        keys = [unwrap(identity, decoded(rest[0]), body) for identity in identities if kind == "X25519"]
        for key in filter(None, keys):
            say("file-key", index, body=key)
            assert hear()[0] == ["ok"]
            say("done")
            return
    say("done")


if __name__ == "__main__":
    if sys.argv[1] == "--age-plugin=identity-v1":
        identity_v1(Path(sys.argv[0]).name.endswith("-pin"))
    elif sys.argv[1].startswith("AGE-SECRET-KEY-1"):
        print(bech32(f"age-plugin-{sys.argv[2]}-", bech32_data(sys.argv[1])[1]).upper())
    else:
        sys.exit(f"{sys.argv[1]} is not known here")
