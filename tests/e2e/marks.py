"""Payloads of distinctive marks, and the search for them, and for anything else that must not be there, on disk."""

import base64
import collections
import contextlib
import errno
import hashlib
import itertools
import os
import random
from pathlib import Path

from sealslot import KIB, Failed, expect

# Digests and URLs' secrets are only looked for in files up to this size, unless more is asked for: each upload has its own, and
# segments are larger than what could hold them by mistake.
SMALL = 256 * KIB


class Marks:
    """A mark that a seed repeats, in every 32 bytes of every payload, name and other metadata."""

    def __init__(self, seed, small=SMALL):
        self.small = small
        letters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
        self.mark = "".join(random.Random(f"{seed}/mark").choices(letters, k=12)).encode()
        self.everywhere = forms(self.mark)
        self.own = collections.defaultdict(list)  # what one upload alone has, in all its forms, by its number
        self.past = set()  # numbers of uploads that are over
        self.searched = {}  # what was read already, and did not change
        self.bytes = 0

    def payload(self, number, size):
        """`size` bytes of which no two stretches are alike: block by block the mark, the upload, the block."""
        blocks = -(-size // 32)
        head = b"%b%07d." % (self.mark, number)
        return b"".join([head + b"%011d\n" % block for block in range(blocks)])[:size]

    def name(self, number):
        """A file name, which also needs more than ASCII."""
        return f"Prüfung {self.mark.decode()} № {number}.bin"

    def media_type(self):
        return f"application/x-{self.mark.decode()}"

    def keep_secret(self, number, *secrets):
        """Adds bytes of an upload that must not be on disk either, in the small files: a digest, the secret of an URL."""
        for secret in secrets:
            self.own[number] += forms(secret)

    def forget_secrets(self, number):
        """An upload is over: what is written after the next search will not hold its secrets."""
        self.past.add(number)

    def expect_nowhere(self, *folders):
        """Searches all files in the folders, and their names. Gives how many files there were."""
        count, past = 0, self.past.copy()
        for folder in folders:
            paths = [folder] if folder.is_file() else below(folder)
            for path in paths:
                expect(not self.found_in(str(path.relative_to(folder)).encode()), f"a mark is in the name {path}")
                if path.is_file():
                    count += 1
                    # An engine at work puts what it keeps into other files.
                    with contextlib.suppress(FileNotFoundError):
                        self.search(path)
        for number in past:
            self.own.pop(number, None)
        self.past -= past
        return count

    def search(self, path):
        status = path.stat()
        state = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self.searched.get(path) == state:
            return  # nor could it hold what was made up after it was written
        content = stored(path)
        self.bytes += len(content)
        self.searched[path] = state
        found = self.found_in(content)
        expect(not found, f"in the clear on disk: {found!r} in {path}")
        if len(content) <= self.small:
            for secret in itertools.chain.from_iterable(list(self.own.values())):
                expect(secret not in content, f"in the clear on disk: {secret!r} in {path}")

    def found_in(self, content):
        return next((form for form in self.everywhere if form in content), None)


def below(folder):
    """Every path below a folder. What is removed meanwhile, also a folder that is just being read, is left out."""
    def fail(error):
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise error

    return sorted(Path(place, name) for place, folders, files in os.walk(folder, onerror=fail) for name in [*folders, *files])


def stored(path):
    """What is in a file but for its holes, of which the disk of an engine may have many GiB."""
    pieces, at = [], 0
    with open(path, "rb", buffering=0) as file:
        while True:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:  # nothing but a hole is left
                    raise
                return b"".join(pieces)
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            while at < end:
                piece = os.pread(file.fileno(), min(end - at, 64 * KIB * KIB), at)
                if not piece:  # it was cut meanwhile
                    return b"".join(pieces)
                pieces.append(piece)
                at += len(piece)


def forms(secret):
    """Bytes as they may stand in a file: raw, in hex, and in base64 wherever in it they may begin."""
    found = [secret, secret.hex().encode(), secret.hex().upper().encode()]
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret)
        # Characters that also depend on what stands beside it do not count.
        first, last = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        found += [encoded[first:last], encoded[first:last].translate(bytes.maketrans(b"+/", b"-_"))]
    return list(dict.fromkeys(found))


def digests(content):
    """What the digest of an upload might stand on disk as."""
    return [hashlib.sha256(content).digest(), hashlib.sha512(content).digest()]


def expect_marks_noticed(folder):
    """The check of the check: every form of a mark or of a secret is found, in the midst of other bytes and in a name."""
    folder.mkdir()
    marks, secret = Marks(0), os.urandom(32)
    marks.keep_secret(1, secret)
    text = marks.payload(1, 100)
    path = folder / "file"
    for encode in (bytes, base64.b64encode, base64.urlsafe_b64encode, lambda text: text.hex().encode()):
        for hidden in (text, secret):
            for before in range(3):
                path.write_bytes(os.urandom(200) + encode(b"-" * before + hidden) + os.urandom(100))
                expect_found(marks, folder, f"{encode} of {hidden[:12]!r} after {before} bytes")
    path.write_bytes(b"nothing")
    expect(marks.expect_nowhere(folder) == 1, "a mark where there is none")
    path.rename(folder / marks.name(1))
    expect_found(marks, folder, "a name")


def expect_found(marks, folder, what):
    try:
        marks.expect_nowhere(folder)
    except Failed:
        return
    raise Failed(f"not noticed: {what}")
