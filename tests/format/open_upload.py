#!/usr/bin/env python3
"""Opens upload folders offline, as an independent reading of FORMAT.md and the age v1 specification.

    open_upload.py [--manifest] KEY FOLDER [-o FILE]    open FOLDER with an RSA private key
    open_upload.py --record FOLDER                      read the record without a key, check the files

KEY is an RSA private key without passphrase: PEM (PKCS#1 or PKCS#8) or OpenSSH. The payload goes to stdout or FILE,
and nothing of it before all is verified: until then it is in a temporary file beside FILE, or, on its way to stdout, in
memory, and from 64 MiB on in a nameless file in TMPDIR. An upload that was sealed by its sender stays sealed: what is
written is the age file. `--manifest` prints the manifest on stderr as JSON, without the segments' keys. `--record`
prints the record on stdout.

Exit code: 0, 64 for a bad command line, 65 for what does not open, 1 for all other trouble.

Needs Python 3.8 or later, and PyCA `cryptography`.
"""

import argparse
import base64
import datetime
import hashlib
import hmac
import json
import os
import re
import shutil
import stat
import sys
import tempfile

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

CHUNK = 64 * 1024  # plaintext bytes of a chunk of the payload
TAG = 16  # bytes that Poly1305 adds to each
IN_MEMORY = 64 * 1024 * 1024  # payload bytes held in memory on their way to stdout
# Our own limits, so that garbage does not fill the memory. A record of 10,000 segments takes about 1 MiB.
MAX_LINE = 64 * 1024
MAX_HEADER = 16 * 1024 * 1024
MAX_MANIFEST = 16 * 1024 * 1024
MAX_SEGMENTS = 10_000


class Refused(Exception):
    """The upload does not open."""


def require(condition, message):
    if not condition:
        raise Refused(message)


# --- Base64 ---


def unbase64(text, padded):
    """Decodes base64 as age has it (without padding) or as the manifest has it (with), canonical only."""
    data = text.encode("ascii", "replace") if isinstance(text, str) else text
    require(re.fullmatch(rb"[A-Za-z0-9+/]*(={0,2})", data), "not base64")
    full = data if padded else data + b"=" * (-len(data) % 4)
    try:
        value = base64.b64decode(full, validate=True)
    except ValueError:
        raise Refused("not base64") from None
    again = base64.b64encode(value)
    require(data == (again if padded else again.rstrip(b"=")), "base64 is not canonical")
    return value


# --- The age header ---


class Header:
    """A parsed header: stanzas as (arguments, body), the MAC, and the bytes that the MAC covers."""

    def __init__(self, file):
        self.stanzas, self.covered = [], b""
        self.left = MAX_HEADER
        covered = [b"age-encryption.org/v1\n"]
        require(file.read(len(covered[0])) == covered[0], "not an age v1 file in binary form")
        line = self.line(file)
        while line.startswith(b"-> "):
            covered.append(line)
            arguments = line[3:-1].split(b" ")
            # 1*VCHAR: no empty arguments, no control characters, nothing beyond ASCII
            require(all(re.fullmatch(rb"[\x21-\x7e]+", a) for a in arguments), "malformed stanza")
            body = []
            while True:  # lines of 64 columns, then a shorter one, which may be empty
                line = self.line(file)
                covered.append(line)
                require(re.fullmatch(rb"[A-Za-z0-9+/]{0,64}\n", line), "malformed stanza body")
                body.append(line[:-1])
                if len(line) <= 64:
                    break
            self.stanzas.append(([a.decode() for a in arguments], unbase64(b"".join(body), padded=False)))
            line = self.line(file)
        require(re.fullmatch(rb"--- [A-Za-z0-9+/]{43}\n", line), "malformed end of header")
        require(self.stanzas, "header without stanzas")
        # The age specification: a scrypt stanza MUST be the only one.
        scrypt = any(arguments[0] == "scrypt" for arguments, _ in self.stanzas)
        require(not scrypt or len(self.stanzas) == 1, "scrypt stanza among others")
        self.mac = unbase64(line[4:-1], padded=False)
        self.covered = b"".join(covered) + b"---"

    def line(self, file):
        """Reads a line with its LF."""
        line = file.readline(MAX_LINE)
        self.left -= len(line)
        require(line.endswith(b"\n") and self.left >= 0, "header cut short or too long")
        return line

    def verify(self, file_key):
        expected = hmac.digest(hkdf(file_key, b"", b"header"), self.covered, "sha256")
        require(hmac.compare_digest(expected, self.mac), "wrong header MAC")


def hkdf(key, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


# --- The age payload ---


def payload(file, file_key):
    """Yields the chunks of the payload that begins at the file's position; each is genuine, and only the end of the
    iteration says that none is missing."""
    nonce = file.read(16)
    require(len(nonce) == 16, "payload cut short")
    aead = ChaCha20Poly1305(hkdf(file_key, nonce, b"payload"))
    counter, chunk = 0, file.read(CHUNK + TAG)
    while True:
        following = file.read(CHUNK + TAG)
        last = not following
        require(len(chunk) >= TAG, "payload cut short")
        try:
            plain = aead.decrypt(counter.to_bytes(11, "big") + bytes([last]), chunk, None)
        except InvalidTag:
            raise Refused("payload damaged or cut short") from None
        require(plain or counter == 0, "empty last chunk")
        yield plain
        if last:
            return
        counter, chunk = counter + 1, following


# --- The key ---


def load_key(path):
    with open(path, "rb") as file:
        pem = file.read()
    openssh = b"-----BEGIN OPENSSH PRIVATE KEY-----" in pem
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    key = load(pem, None)  # ValueError or TypeError where it is no key or has a passphrase
    if not isinstance(key, rsa.RSAPrivateKey) or not 2048 <= key.key_size <= 8192:
        raise ValueError("not an RSA key of 2048 to 8192 bits")
    return key


def unwrap(key, header):
    """Finds the file key in the ssh-rsa stanzas that are addressed to the private key."""
    ssh, raw = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    wire = base64.b64decode(key.public_key().public_bytes(ssh, raw).split()[1])
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"age-encryption.org/v1/ssh-rsa")
    for arguments, body in header.stanzas:
        if arguments[0] != "ssh-rsa":
            continue
        require(len(arguments) == 2, "malformed ssh-rsa stanza")
        tag = unbase64(arguments[1], padded=False)
        require(len(tag) == 4, "malformed ssh-rsa stanza")
        if tag != hashlib.sha256(wire).digest()[:4]:
            continue
        try:
            file_key = key.decrypt(body, oaep)
        except ValueError:
            continue  # 4 bytes are few: another key, even of another size, may have the same tag
        require(len(file_key) == 16, "file key is not 16 bytes")
        return file_key
    raise Refused("not sealed to this key")


# --- JSON ---


def parse_json(data):
    """Parses one JSON object: UTF-8, no key twice, no NaN, nothing that is no Unicode."""

    def members(pairs):
        require(len(dict(pairs)) == len(pairs), "JSON with the same key twice")
        return dict(pairs)

    def constant(_):
        raise Refused("malformed JSON")

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=members, parse_constant=constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate fails here
    except (ValueError, RecursionError):
        raise Refused("malformed JSON") from None
    require(isinstance(value, dict), "JSON that is not an object")
    return value


def is_text(value):
    return isinstance(value, str)


def is_id(value):
    return is_text(value) and re.fullmatch("[0-9a-v]{32}", value) is not None


def is_size(value):
    return type(value) is int and 0 <= value < 2**63  # not True, not 1.0


def is_time(value):
    if not is_text(value) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", value):
        return False
    try:
        return bool(datetime.datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return False


def is_hex(digits):
    return lambda value: is_text(value) and re.fullmatch("[0-9a-f]{%d}" % digits, value) is not None


def or_null(check):
    return lambda value: value is None or check(value)


def check_table(what, table, value):
    require(isinstance(value, dict), f"{what} is not an object")
    version = value.get("v", 1)
    require("v" not in table or (type(version) is int and version == 1), f"{what} of another version")
    for key, check in table.items():
        require(key in value, f"{what} without {key}")
        require(check(value[key]), f"{what} with a wrong {key}")


def is_list(value):
    return isinstance(value, list) and len(value) <= MAX_SEGMENTS


MANIFEST = {
    "v": is_size,
    "id": is_id,
    "submission": is_id,
    "kind": lambda value: value in ("file", "fields"),
    "name": or_null(is_text),
    "type": or_null(is_text),
    "size": is_size,
    "sha256": is_hex(64),
    "time": is_time,
    "segments": is_list,
}
SEGMENT = {"size": lambda value: is_size(value) and value > 0, "key": is_text}

RECORD = {
    "v": is_size,
    "id": is_id,
    "time": is_time,
    "link": or_null(is_text),
    "expires": or_null(is_time),
    "files": is_list,
}
FILE = {"name": is_text, "size": is_size, "crc64nvme": is_hex(16)}


def parse_manifest(data):
    manifest = parse_json(data)
    check_table("manifest", MANIFEST, manifest)
    for segment in manifest["segments"]:
        check_table("segment of the manifest", SEGMENT, segment)
        require(len(unbase64(segment["key"], padded=True)) == 16, "segment's key is not 16 bytes")
    require(manifest["size"] == sum(s["size"] for s in manifest["segments"]), "manifest's sizes do not add up")
    if "name_bytes" in manifest:
        require(is_text(manifest["name_bytes"]) and is_text(manifest["name"]), "manifest with a wrong name_bytes")
        name_bytes = unbase64(manifest["name_bytes"], padded=True)
        replaced = name_bytes.decode("utf-8", "replace")
        require(replaced.encode() != name_bytes, "name_bytes of a name in UTF-8")
        # How many U+FFFD stand for a malformed sequence differs from decoder to decoder.
        one = lambda name: re.sub("\ufffd+", "\ufffd", name)
        require(one(replaced) == one(manifest["name"]), "name and name_bytes differ")
    return manifest


# --- The folder ---


def segment_name(number):
    return f"{number:04}.age"


def open_file(folder, name):
    """Opens a file of the folder: a regular file, neither a link nor a pipe."""
    path = os.path.join(folder, name)
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise Refused(f"no {name} in it") from None
    require(stat.S_ISREG(mode), f"{name} is not a file")
    return open(path, "rb")


def check_folder(folder, id, segments):
    name = os.path.basename(os.path.realpath(folder))
    require(not is_id(name) or name == id, "the folder bears the id of another upload")
    expected = {"meta.age", *(segment_name(number) for number in range(segments))}
    found = set(os.listdir(folder))
    for which, names in (("lacks", expected - found), ("should not hold", found - expected)):
        require(not names, f"the folder {which} " + ", ".join(map(ascii, sorted(names)[:3])))


def open_upload(key, folder, out):
    """Opens an upload, writes its payload to `out` and returns the manifest. What is in `out` counts only if this
    returns."""
    # Steps 1 to 3 of "Opening"
    with open_file(folder, "meta.age") as file:
        header = Header(file)
        file_key = unwrap(key, header)
        header.verify(file_key)
        data = bytearray()
        for chunk in payload(file, file_key):
            data += chunk
            require(len(data) <= MAX_MANIFEST, "manifest too long")
    manifest = parse_manifest(bytes(data))
    check_folder(folder, manifest["id"], len(manifest["segments"]))
    # Steps 4 and 5
    sha256 = hashlib.sha256()
    for number, segment in enumerate(manifest["segments"]):
        try:
            with open_file(folder, segment_name(number)) as file:
                file_key = unbase64(segment["key"], padded=True)
                Header(file).verify(file_key)
                left = segment["size"]
                for chunk in payload(file, file_key):
                    left -= len(chunk)
                    require(left >= 0, "longer than the manifest says")
                    sha256.update(chunk)
                    out.write(chunk)
                require(left == 0, "shorter than the manifest says")
        except Refused as error:
            raise Refused(f"{segment_name(number)}: {error}") from None
    require(sha256.hexdigest() == manifest["sha256"], "wrong SHA-256")
    return manifest


# --- The record ---


def crc64_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x9A6C9329AC4BC9B5 if value & 1 else 0)  # 0xAD93D23594C93659, bits reversed
        table.append(value)
    return table


CRC64_TABLE = crc64_table()


def crc64nvme(data, crc=0):
    """CRC-64/NVME of the data, going on from the checksum of what came before it."""
    crc ^= 0xFFFFFFFFFFFFFFFF
    table = CRC64_TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFFFFFFFFFF


def check_record(folder):
    """Reads the record, checks the files against it and returns it. Finds damage to the segments; of meta.age it only
    sees whether the header can be read."""
    with open_file(folder, "meta.age") as file:
        stanzas = Header(file).stanzas
    found = [number for number, (arguments, _) in enumerate(stanzas) if arguments[0] == "sealslot/record"]
    require(found == [len(stanzas) - 1] and len(stanzas) > 1, "not one record, after the recipients")
    arguments, body = stanzas[-1]
    require(len(arguments) == 1, "record with arguments")
    record = parse_json(body)
    check_table("record", RECORD, record)
    for number, entry in enumerate(record["files"]):
        check_table("file of the record", FILE, entry)
        require(entry["name"] == segment_name(number), "files of the record out of order")
    check_folder(folder, record["id"], len(record["files"]))
    for entry in record["files"]:  # first what costs nothing
        with open_file(folder, entry["name"]) as file:
            require(os.fstat(file.fileno()).st_size == entry["size"], f"{entry['name']}: wrong size")
    for entry in record["files"]:
        crc = 0
        with open_file(folder, entry["name"]) as file:
            for block in iter(lambda: file.read(1024 * 1024), b""):
                crc = crc64nvme(block, crc)
        require(f"{crc:016x}" == entry["crc64nvme"], f"{entry['name']}: wrong checksum")
    return record


# --- The command line ---


def write_payload(key, folder, output):
    if output is None:
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as held:
            manifest = open_upload(key, folder, held)
            held.seek(0)
            shutil.copyfileobj(held, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return manifest
    # mkstemp makes it readable by the owner only
    handle, temporary = tempfile.mkstemp(prefix=".open_upload.", dir=os.path.dirname(os.path.abspath(output)))
    try:
        with os.fdopen(handle, "wb") as held:
            manifest = open_upload(key, folder, held)
        os.replace(temporary, output)
    except BaseException:
        os.unlink(temporary)
        raise
    return manifest


def parse_arguments(argv):
    parser = argparse.ArgumentParser(description="Opens an upload folder offline, or checks its record.")
    parser.add_argument("key", metavar="KEY", nargs="?", help="RSA private key; not with --record")
    parser.add_argument("folder", metavar="FOLDER", help="the upload folder")
    parser.add_argument("-o", "--output", metavar="FILE", help="where the payload goes [default: stdout]")
    parser.add_argument("--manifest", action="store_true", help="print the manifest on stderr")
    parser.add_argument("--record", action="store_true", help="read the record without a key, and check the files")
    parser.error = lambda message: (print(f"open_upload: {message}", file=sys.stderr), sys.exit(64))
    args = parser.parse_args(argv)
    if args.record and (args.key or args.output or args.manifest):
        parser.error("--record takes a folder and nothing else")
    if not args.record and not args.key:
        parser.error("KEY is missing")
    return args


def main(argv=None):
    args = parse_arguments(argv)
    key = None
    try:
        if not args.record:
            key = load_key(args.key)
    except (OSError, ValueError, TypeError) as error:
        print(f"open_upload: {args.key}: {error}", file=sys.stderr)
        return 1
    try:
        if args.record:
            print(json.dumps(check_record(args.folder)))
        else:
            manifest = write_payload(key, args.folder, args.output)
            if args.manifest:
                # Without the keys of the segments: whoever has one of them can open that segment.
                sizes = [{"size": segment["size"]} for segment in manifest["segments"]]
                print(json.dumps({**manifest, "segments": sizes}), file=sys.stderr)
    except Refused as error:
        print(f"open_upload: {args.folder}: {error}", file=sys.stderr)
        return 65
    except OSError as error:
        print(f"open_upload: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
