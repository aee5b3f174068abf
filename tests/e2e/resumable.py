"""Resumable uploads by tus 1.0.0 and by the IETF draft, for a network that breaks: a client of the tests' own.

Every upload goes step by step: creation, then pieces of random sizes; after each trouble it asks for the offset and goes
on from there. On the way it holds the server to its word: what was acknowledged never goes back, and nothing counts that
was not sent, or whose checksum was wrong.
"""

import base64
import contextlib
import hashlib
import json
import re
import time
from typing import NamedTuple
from urllib.parse import quote

from link import Broken
from sealslot import KIB, Failed, expect

ALPHABET = "0123456789abcdefghijklmnopqrstuv"
UPLOAD_URL = r"/uploads/[0-9a-v]{32}\.[0-9a-v]{32}"
# Larger pieces with a checksum hardly ever arrive whole through a rough network.
MOST_CHECKED = 512 * KIB
# The versions of the draft that are in the field; None sends none.
VERSIONS = (None, 8, 7, 6, 5, 4, 3)


class Source(NamedTuple):
    """What is uploaded."""

    content: bytes
    name: str
    media_type: str


def secret_of(url):
    """The secret in an upload URL: 20 bytes, in base32hex."""
    number = 0
    for letter in url.rpartition(".")[2]:
        number = number << 5 | ALPHABET.index(letter)
    return number.to_bytes(20, "big")


class Upload:
    """What the protocols share. `dice` decides on everything; `told` is called with every upload URL that is given out."""

    def __init__(self, link, dice, source, told=lambda url: None):
        self.told = told
        self.link = link
        self.dice = dice
        self.source = source
        self.size = len(source.content)
        self.path = None  # of the upload URL
        self.offset = None  # from where to go on; None where the server has to be asked
        self.acknowledged = 0
        self.sent = 0  # to where bytes were ever sent that may count
        self.either = None  # what the offset can only be after a piece that counts whole or not at all
        self.finished = False
        self.broken = 0

    def run(self, go_on):
        """Everything, until it is finished. Gives the receipt. `go_on` is asked before each step, and fails to end it."""
        try:
            while (receipt := self.step()) is None:
                go_on()
        except Failed as failure:
            raise Failed(f"{failure} // {' // '.join(self.link.history)}") from failure
        finally:
            self.link.close()
        return receipt

    def step(self):
        """One request. Gives the receipt when everything has arrived."""
        try:
            if self.finished:
                return self.receipt()
            if self.path is None:
                self.create()
            elif self.offset is None:
                self.ask()
            else:
                self.append()
                if self.dice.random() < 0.1:
                    self.offset = None  # a client that forgot
        except Broken:
            self.broken += 1
            self.offset = None
            time.sleep(self.dice.uniform(0.01, 0.1))
        if self.dice.random() < 0.1:
            self.link.close()
        return None

    def receipt(self):
        answer = self.link.request("GET", self.path, self.common())
        expect(answer.status == 200, f"GET of a finished upload: {answer}")
        return json.loads(answer.body)

    def created(self, answer):
        """Takes the URL from the answer to a creation."""
        location = answer.headers["Location"] or ""
        expect(answer.status == 201 and re.fullmatch(UPLOAD_URL, location), f"creation: {answer}")
        self.path = location
        self.acknowledged, self.either = 0, None
        self.told(location)

    def acknowledge(self, offset, exactly=None):
        """Takes an offset that the server answered with."""
        expect(offset >= self.acknowledged, f"{self}: an acknowledged offset went back, {self.acknowledged} to {offset}")
        expect(offset <= self.sent, f"{self}: the offset is {offset}, and only {self.sent} bytes were sent")
        expect(self.either is None or offset in self.either, f"{self}: the offset is {offset}, not one of {self.either}")
        expect(exactly in (None, offset), f"{self}: the offset is {offset}, not {exactly}")
        self.acknowledged = self.offset = offset
        self.either = None

    def piece(self):
        """The next bytes: all that are left, or a random part, a small one as likely as a large one."""
        left = self.size - self.offset
        length = left if self.dice.random() < 0.3 else int(max(left, 1) ** self.dice.random())
        return self.source.content[self.offset : self.offset + min(left, length)]

    def will_send(self, piece, checked=False, wrong=False):
        """Notes what the offset may be after this piece, also where no answer comes."""
        end = self.offset + (0 if wrong else len(piece))
        # Not known where earlier pieces may still be on their way.
        self.either = {self.offset, end} if checked and self.sent <= self.offset else None
        self.sent = max(self.sent, end)

    def moved(self, answer):
        """An earlier request went on, or came in, after the offset was asked for; or took over from this one."""
        if answer.problem().get("code") != "upload-taken-over":
            expect(answer.offset() != self.offset, f"a mismatch that is none: {answer}")
            self.acknowledge(answer.offset())
        self.offset = self.either = None

    def __str__(self):
        return f"{type(self).__name__} of {self.size} bytes at {self.path or 'no URL yet'}"


class Tus(Upload):
    """tus 1.0.0. With `partial` it is a part of another upload."""

    def __init__(self, link, dice, source, told=lambda url: None, partial=False):
        super().__init__(link, dice, source, told)
        self.concat = "partial" if partial else None
        self.deferred = dice.random() < 0.3
        self.length_known = False

    def common(self):
        return {"Tus-Resumable": "1.0.0"}

    def metadata(self):
        pairs = {"filename": self.source.name, "filetype": self.source.media_type, "note": self.source.name * 3}
        return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())

    def create(self):
        self.offset = self.sent = 0
        headers = self.common() | {"Upload-Metadata": self.metadata()}
        headers |= {"Upload-Defer-Length": "1"} if self.deferred else {"Upload-Length": str(self.size)}
        if self.concat:
            headers["Upload-Concat"] = self.concat
        piece = b""
        if self.dice.random() < 0.4:
            piece = self.piece()
            headers["Content-Type"] = "application/offset+octet-stream"
        self.will_send(piece)
        answer = self.link.request("POST", "/uploads", headers, piece, chunked=bool(piece) and self.dice.random() < 0.2)
        self.created(answer)
        self.length_known = not self.deferred
        self.acknowledge(answer.offset(), len(piece))
        self.finished = self.length_known and self.offset == self.size

    def ask(self):
        answer = self.link.request("HEAD", self.path, self.common())
        expect(answer.status == 200, f"HEAD: {answer}")
        if (length := answer.headers["Upload-Length"]) is None:
            deferred = answer.headers["Upload-Defer-Length"] == "1"
            expect(deferred and not self.length_known, f"HEAD without a length: {answer}")
        else:
            expect(length == str(self.size), f"HEAD of an upload of {self.size} bytes: {answer}")
            self.length_known = True
        expect(answer.headers["Upload-Metadata"] == self.metadata(), f"HEAD with other metadata: {answer}")
        expect(answer.headers["Upload-Concat"] == self.concat, f"HEAD with another Upload-Concat: {answer}")
        self.acknowledge(answer.offset())
        self.finished = self.length_known and self.offset == self.size

    def append(self):
        piece, wrong = self.piece(), False
        headers = self.common() | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(self.offset)}
        trailer = None
        checked = self.dice.random() < 0.4
        if checked:
            piece = piece[:MOST_CHECKED]
            wrong = self.dice.random() < 0.1
            name, value = self.checksum(piece, wrong)
            if self.dice.random() < 0.5:
                trailer = {name: value}
            else:
                headers[name] = value
        last = self.offset + len(piece) == self.size
        says_length = (last and not self.length_known) or self.dice.random() < 0.1
        if says_length:
            headers["Upload-Length"] = str(self.size)
        method = "PATCH"
        if self.dice.random() < 0.1:
            method, headers["X-HTTP-Method-Override"] = "POST", "PATCH"
        end = self.offset + len(piece)
        self.will_send(piece, checked, wrong)
        answer = self.link.request(method, self.path, headers, piece, self.dice.random() < 0.2, trailer)
        if answer.status == 409:
            self.moved(answer)
        elif wrong:
            expect(answer.status == 460, f"a wrong checksum: {answer}")
            self.offset = None
        else:
            expect(answer.status == 204, f"PATCH: {answer}")
            self.length_known = self.length_known or says_length
            self.acknowledge(answer.offset(), end)
            self.finished = self.length_known and self.offset == self.size

    def checksum(self, piece, wrong):
        algorithm = self.dice.choice(["sha1", "sha256"])
        digest = hashlib.new(algorithm, piece + b"not this" * wrong).digest()
        return "Upload-Checksum", f"{algorithm} {base64.b64encode(digest).decode()}"


class Concatenated(Upload):
    """tus 1.0.0: up to four partial uploads, a step of one and then of another, and the final upload made of them."""

    def __init__(self, link, dice, source, told=lambda url: None):
        super().__init__(link, dice, source, told)
        ends = sorted(dice.randint(0, self.size) for _ in range(dice.randrange(4))) + [self.size]
        parts = [source.content[start:end] for start, end in zip([0, *ends], ends)]
        self.parts = [Tus(link, dice, source._replace(content=part), told, partial=True) for part in parts]

    def common(self):
        return {"Tus-Resumable": "1.0.0"}

    def step(self):
        if waiting := [part for part in self.parts if not part.finished]:
            part = self.dice.choice(waiting)
            part.step()
            self.broken = sum(part.broken for part in self.parts)
            return None
        return super().step()

    def create(self):
        self.created(self.link.request("POST", "/uploads", self.final()))
        if self.dice.random() < 0.5:
            with contextlib.suppress(Broken):
                again = self.link.request("POST", "/uploads", self.final())
                expect(again.headers["Location"] == self.path, f"the same concatenation again: {again}")
        self.finished = True

    def final(self):
        """The URLs of the parts as a client may write them: a proxy's name is not the server's."""
        host = self.dice.choice(["", f"https://127.0.0.1:{self.link.port}", "https://drop.example"])
        urls = " ".join(host + part.path for part in self.parts)
        return self.common() | {"Upload-Concat": f"final;{urls}", "Upload-Metadata": self.parts[0].metadata()}

    def ask(self):
        raise Failed("a final upload is finished when it is created")

    append = ask


class Draft(Upload):
    """The IETF draft, in one of its versions."""

    def __init__(self, link, dice, source, told=lambda url: None):
        super().__init__(link, dice, source, told)
        self.version = dice.choice(VERSIONS)
        self.wants_digest = dice.random() < 0.3
        self.answered = None  # the receipt of an upload in one request
        self.over = False  # an answer said that the upload is complete already

    def common(self):
        return {} if self.version is None else {"Upload-Draft-Interop-Version": str(self.version)}

    def complete(self, value):
        """The field that says whether the upload is complete. Version 3 says it the other way round."""
        if self.version == 3:
            return {"Upload-Incomplete": "?0" if value else "?1"}
        return {"Upload-Complete": "?1" if value else "?0"}

    def expect_complete(self, answer, value):
        for name, wanted in self.complete(value).items():
            expect(answer.headers[name] == wanted, f"not {name}: {wanted}: {answer}")

    def create(self):
        self.offset = self.sent = 0
        headers = self.common() | {"Content-Type": self.source.media_type}
        name = quote(self.source.name)
        method, path = "PUT", f"/uploads/{name}"
        if self.dice.random() < 0.5:
            method, path = "POST", "/uploads"
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
        if self.dice.random() < 0.5:
            headers["Upload-Length"] = str(self.size)
        if self.wants_digest:
            headers["Want-Repr-Digest"] = "sha-256=9, sha-512=1"
        piece = self.piece() if self.dice.random() < 0.4 else b""
        # An upload in one request is not kept where it breaks off: a large one would hardly ever arrive.
        complete = len(piece) == self.size < MOST_CHECKED
        headers |= self.complete(complete) | self.digests(piece, self.dice.random() < 0.3, complete)
        self.will_send(piece)
        answer = self.link.request(method, path, headers, piece, self.dice.random() < 0.2)
        if complete:
            expect(answer.status == 201, f"an upload in one request: {answer}")
            self.expect_complete(answer, True)
            self.answered, self.finished = json.loads(answer.body), True
            return
        self.created(answer)
        self.expect_complete(answer, False)
        self.acknowledge(answer.offset(), len(piece))

    def digests(self, piece, content, whole, wrong=False):
        """RFC 9530: of this request's content, and of the whole."""
        headers = {}
        if content:
            headers["Content-Digest"] = digest_field(piece + b"not this" * wrong, self.dice)
        if whole and self.dice.random() < 0.5:
            headers["Repr-Digest"] = digest_field(self.source.content, self.dice)
        return headers

    def ask(self):
        answer = self.link.request("HEAD", self.path, self.common())
        expect(answer.status == 204, f"HEAD: {answer}")
        expect(answer.headers["Upload-Length"] in (None, str(self.size)), f"HEAD of {self.size} bytes: {answer}")
        self.acknowledge(answer.offset())
        complete = next(iter(self.complete(True).items()))
        self.finished = answer.headers[complete[0]] == complete[1]
        expect(not self.finished or self.offset == self.size, f"complete with {self.offset} of {self.size} bytes: {answer}")
        expect(self.finished or not self.over, f"first it was complete: {answer}")
        self.expect_complete(answer, self.finished)

    def append(self):
        piece, wrong = self.piece(), False
        checked = self.dice.random() < 0.3
        if checked:
            piece = piece[:MOST_CHECKED]
            wrong = self.dice.random() < 0.1
        end = self.offset + len(piece)
        complete = end == self.size and self.dice.random() < 0.7
        headers = self.common() | self.complete(complete) | {"Upload-Offset": str(self.offset)}
        headers |= self.digests(piece, checked, complete, wrong)
        if self.version is None or self.version >= 6:
            headers["Content-Type"] = "application/partial-upload"
        if self.dice.random() < 0.1:
            headers["Upload-Length"] = str(self.size)
        self.will_send(piece, checked, wrong)
        answer = self.link.request("PATCH", self.path, headers, piece, self.dice.random() < 0.2)
        if answer.status == 409:
            self.moved(answer)
        elif answer.status == 400 and self.sent == self.size and answer.problem().get("type", "").endswith(
            ("#completed-upload", "#inconsistent-upload-length")
        ):
            # What was sent before has completed it meanwhile. If not, asking will tell.
            self.over, self.offset, self.either = True, None, None
        elif wrong:
            expect(answer.status == 400 and answer.problem().get("code") == "digest-mismatch", f"a wrong digest: {answer}")
            self.offset = None
        else:
            wanted = 201 if complete or self.version in (3, 4, 5) else 204
            expect(answer.status == wanted, f"PATCH, to be answered {wanted}: {answer}")
            self.expect_complete(answer, complete)
            self.acknowledge(answer.offset(), end)
            self.finished = complete

    def receipt(self):
        if self.answered:
            return self.answered
        answer = self.link.request("GET", self.path, self.common())
        expect(answer.status == 200, f"GET of a finished upload: {answer}")
        if self.wants_digest:
            wanted = f"sha-256=:{base64.b64encode(hashlib.sha256(self.source.content).digest()).decode()}:"
            expect(answer.headers["Repr-Digest"] == wanted, f"not the digest that was wanted: {answer}")
        return json.loads(answer.body)


def digest_field(content, dice):
    """The value of a digest field (RFC 9530)."""
    name, algorithm = dice.choice([("sha-256", hashlib.sha256), ("sha-512", hashlib.sha512)])
    return f"{name}=:{base64.b64encode(algorithm(content).digest()).decode()}:"
