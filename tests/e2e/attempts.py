"""How to hand in through an upload link, by forms, bodies, tus and the IETF draft, and how not to come to an end with it: to
vanish in the midst of a body, to stand still, to cancel, and never to come back.
"""

import base64
import contextlib
import json
import re
import time
from urllib.parse import quote

from account import Brought
from link import Broken
from resumable import UPLOAD_URL
from sealslot import Failed, expect, multipart
from way import Expired, Left, Refused

# What one upload with all its requests may take, on a machine that has much else to do.
UPLOAD = 90
TUS = {"Tus-Resumable": "1.0.0"}


class Attempt:
    """One upload, or one form of several. `fate` is what its client means to do: "finish", "vanish", "stall", "cancel" or
    "abandon"; an upload in one request knows no other ends than the first three."""

    def __init__(self, storm, way, dice, fate, files, fields=()):
        self.storm = storm
        self.way = way
        self.dice = dice
        self.fate = fate
        self.files = files
        self.fields = fields

    def brought(self):
        return [Brought.of(content) for content in self.files] + [Brought.of(content, True) for content in self.fields]

    def refuse(self, answer):
        self.storm.refuse(answer, [len(content) for content in self.files])

    def accepted(self, what):
        # First the promise: what is taken and should not have been is counted all the same.
        self.storm.account.acknowledge(self.brought())
        self.storm.expect_in_time(self.way.began, what)


class Form(Attempt):
    """`multipart/form-data`, as browsers send it."""

    def run(self):
        headers = {"Accept": self.dice.choice(["application/json", "application/json", "text/html,application/xhtml+xml"])}
        files = [("file", f"scan {number}.pdf", content) for number, content in enumerate(self.files)]
        fields = [(one["name"], None, one["value"].encode()) for content in self.fields for one in json.loads(content)["fields"]]
        headers["Content-Type"], body = multipart(*self.dice.choice([files + fields, fields + files]))
        path = self.storm.link.path + self.dice.choice(["", "/"])
        answer = self.send("POST", path, headers, body)
        if answer.status != 201:
            self.refuse(answer)
        if "json" in answer.headers["Content-Type"]:
            said = json.loads(answer.body)
            receipts = said.get("uploads", [said])
            told = sorted((one["size"], one["sha256"]) for one in receipts)
            wanted = sorted((one.size, one.digest) for one in self.brought())
            expect(told == wanted, f"the receipts say {told}, and sent was {wanted}")
        self.accepted("a form")

    def send(self, method, path, headers, body, chunked=False):
        leave = None
        if self.fate != "finish":
            leave = "stall" if self.fate == "stall" else self.dice.choice(["reset", "close"])
        version = self.dice.choices([None, "2", "1.1"], [16, 4, 1])[0]
        if version and (leave is None or chunked) and (chunked or body):
            return self.way.by_curl(version, method, path, headers, body, chunked, leave)
        return self.way.request(method, path, headers, body, chunked, leave)


class Body(Form):
    """One file, or what the page makes of text fields, as the body of one request; now and then as an upload of the draft
    or of tus that is finished with its creation."""

    def run(self):
        (content,) = (*self.files, *self.fields)
        chunked = self.dice.random() < 0.5
        headers = {}
        if self.fields:
            headers |= {"Sealslot-Kind": "fields", "Content-Type": "application/json"}
            chunked = False
        path = self.storm.link.path
        method = "POST" if self.fields else self.dice.choice(["POST", "PUT"])
        if method == "PUT":
            path += "/" + quote(f"Bericht {self.dice.randrange(100)}.txt")
        elif not self.fields:
            headers["Content-Disposition"] = 'attachment; filename="a.txt"'
        if not self.fields and self.dice.random() < 0.2:
            headers["Upload-Complete"] = "?1"
        answer = self.send(method, path, headers, content, chunked)
        if answer.status != 201:
            self.refuse(answer)
        receipt, one = json.loads(answer.body), self.brought()[0]
        expect((receipt["size"], receipt["sha256"]) == one[:2], f"the receipt says {receipt}, and sent was {one}")
        self.accepted("a body")


class InPieces(Attempt):
    """What tus and the draft share: creation, pieces, and asking after each trouble."""

    headers = {}
    protocol = None

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.content = self.files[0]
        self.size = len(self.content)
        self.path = None
        self.offset = None
        self.finished = False
        self.created = None  # when that was asked for: its time is not longer than the server thinks
        self.until = None
        # Where it does what it means to do.
        self.turn = self.dice.randrange(self.size + 1) if self.fate != "finish" else None

    def run(self):
        self.until = time.monotonic() + UPLOAD
        try:
            while not self.finished:
                self.step()
        except (Refused, Failed):
            if self.path and not self.finished:
                self.storm.leave((self.path, self.headers))
            raise
        self.promised()
        if self.dice.random() < 0.3:
            self.expect_receipt()

    def promised(self):
        # Whether it came in time was seen when it was taken; what says so may be the answer to a question much later.
        self.storm.account.acknowledge(self.brought())

    def step(self):
        if self.storm.account.over.is_set():
            self.leave_for_good("over")
        expect(time.monotonic() < self.until, f"an upload by {self.protocol} does not come to its end: {self.offset} of {self.size}")
        try:
            if self.path is None:
                self.create()
            elif self.offset is None:
                self.ask()
            elif self.turn is not None and self.offset >= self.turn:
                self.turn_away()
            else:
                self.append()
        except Broken:
            if self.path is None and self.way.asked:
                self.storm.orphan(self.brought()[0].digest)
            self.offset = None
            time.sleep(self.dice.uniform(0.05, 0.3))
        else:
            time.sleep(self.dice.random() * self.way.pause)

    def turn_away(self):
        fate, self.turn = self.fate, None
        if fate == "abandon":
            self.leave_for_good("abandoned")
        if fate in ("vanish", "stall") or self.dice.random() < 0.5:
            # In the midst of a body; whoever cancels does so while it is under way.
            with contextlib.suppress(Left):
                self.append("stall" if fate != "vanish" else self.dice.choice(["reset", "close"]))
            self.offset = None
        if fate == "cancel":
            self.cancel()
        if self.dice.random() < 0.4:
            self.leave_for_good("did not come back")

    def leave_for_good(self, why):
        self.storm.leave((self.path, self.headers))
        self.storm.account.count(why)
        raise Left

    def cancel(self):
        try:
            answer = self.way.request("DELETE", self.path, self.headers)
        except Broken:
            self.leave_for_good("cancelled without an answer")
        self.expect_there(answer)
        # It may have been whole already.
        expect(answer.status in (204, 403, 409), f"DELETE of an upload: {answer}")
        if answer.status != 204:
            self.leave_for_good(f"cancelled in vain, {answer.status}")
        self.storm.account.count("cancelled")
        raise Left

    def expect_there(self, answer):
        """An upload whose URL was given out is there until its time is over."""
        if answer.status == 404 and time.monotonic() > self.created + self.storm.lifetime - 1:
            raise Expired
        expect(answer.status != 404, f"an upload by {self.protocol} is gone before its time: {answer}")

    def take_creation(self, answer):
        if answer.status != 201:
            self.refuse(answer)
        location = answer.headers["Location"] or ""
        found = re.search(UPLOAD_URL + "$", location)
        expect(found, f"a creation without an upload URL: {answer}")
        self.path = found[0]
        self.created = self.way.began[0]
        self.storm.expect_in_time(self.way.began, f"a creation by {self.protocol}")

    def piece(self):
        left = self.size - self.offset
        length = left if self.dice.random() < 0.4 else int(max(left, 1) ** self.dice.random())
        if self.turn is not None:
            length = min(length, max(1, self.turn - self.offset))
        return self.content[self.offset : self.offset + length]

    def took(self, answer, piece):
        """Whether the answer to a piece says that it arrived; otherwise the offset has to be asked for."""
        self.expect_there(answer)
        over = answer.status == 400 and answer.problem().get("type", "").endswith("#completed-upload")
        if answer.status == 409 or over:
            self.offset = None
            return False
        if answer.status not in (200, 201, 204):
            self.refuse(answer)
        self.storm.expect_in_time(self.way.began, f"a piece by {self.protocol}", creation=False)
        self.offset += len(piece)
        return True

    def expect_receipt(self):
        with contextlib.suppress(Broken):
            answer = self.way.request("GET", self.path, self.headers)
            if time.monotonic() < self.created + self.storm.lifetime - 1:
                expect(answer.status == 200, f"GET of a finished upload: {answer}")


class Tus(InPieces):
    """tus 1.0.0, with its length known from the start or at the end; with `partial` it is a part of another upload."""

    headers = TUS
    protocol = "tus"

    def __init__(self, *arguments, partial=False, **options):
        super().__init__(*arguments, **options)
        self.partial = partial
        self.deferred = self.dice.random() < 0.4
        self.length_known = not self.deferred

    def create(self):
        headers = TUS | {"Upload-Metadata": "filename " + base64.b64encode(b"minutes.odt").decode()}
        headers |= {"Upload-Defer-Length": "1"} if self.deferred else {"Upload-Length": str(self.size)}
        headers |= {"Upload-Concat": "partial"} if self.partial else {}
        self.offset, piece = 0, b""
        if self.dice.random() < 0.4:
            piece = self.piece()
            headers["Content-Type"] = "application/offset+octet-stream"
        answer = self.way.request("POST", self.storm.link.path, headers, piece, bool(piece) and self.dice.random() < 0.3)
        self.take_creation(answer)
        self.offset = len(piece)
        self.finished = self.length_known and self.offset == self.size

    def ask(self):
        answer = self.way.request("HEAD", self.path, TUS)
        self.expect_there(answer)
        if answer.status != 200:
            self.refuse(answer)
        self.offset = int(answer.headers["Upload-Offset"])
        self.length_known = answer.headers["Upload-Length"] is not None
        self.finished = self.length_known and self.offset == self.size

    def append(self, leave=None):
        piece = self.piece()
        headers = TUS | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(self.offset)}
        says = not self.length_known and self.offset + len(piece) == self.size
        if says:
            headers["Upload-Length"] = str(self.size)
        answer = self.way.request("PATCH", self.path, headers, piece, self.dice.random() < 0.3, leave)
        if self.took(answer, piece):
            self.length_known = self.length_known or says
            self.finished = self.length_known and self.offset == self.size

    def promised(self):
        # A part is nothing that anybody receives.
        if not self.partial:
            super().promised()

    def expect_receipt(self):
        if not self.partial:
            super().expect_receipt()


class Concatenated(Attempt):
    """tus 1.0.0: partial uploads, and the final upload made of them."""

    def run(self):
        content = self.files[0]
        cuts = sorted(self.dice.randrange(len(content) + 1) for _ in range(self.dice.choice([1, 1, 2])))
        parts = []
        # Whoever means to go, does so in one of the parts or before the final upload.
        last = self.dice.randrange(len(cuts) + 2) if self.fate != "finish" else None
        try:
            for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(content)])):
                fate = self.fate if number == last else "finish"
                part = Tus(self.storm, self.way, self.dice, fate, [content[start:end]], partial=True)
                parts.append(part)
                part.run()
            if last == len(parts):
                self.storm.account.count("parts left alone")
                raise Left
            self.finish(parts)
        except (Left, Expired, Refused, Failed):
            self.storm.leave(*((part.path, TUS) for part in parts if part.path))
            raise

    def finish(self, parts):
        urls = " ".join(part.path for part in parts)
        metadata = "filename " + base64.b64encode(b"whole.odt").decode()
        headers = TUS | {"Upload-Concat": f"final;{urls}", "Upload-Metadata": metadata}
        until = time.monotonic() + UPLOAD
        again = False
        while True:
            expect(time.monotonic() < until, "a concatenation does not come to its end")
            try:
                answer = self.way.request("POST", self.storm.link.path, headers)
                break
            except Broken:
                if self.way.asked:
                    again = True
                    self.storm.orphan(self.brought()[0].digest)
                time.sleep(self.dice.uniform(0.05, 0.3))
        if answer.status == 201:
            # Asked for again, it may be the answer to what was done before the link was revoked.
            if again:
                self.storm.account.acknowledge(self.brought())
            else:
                self.accepted("a final upload")
            return
        late = min(part.created for part in parts) + self.storm.lifetime - 1
        # Parts that are gone: their time is over, or an earlier attempt has used them and its own URL's time is over too.
        if answer.status in (400, 404, 409) and time.monotonic() > late:
            raise Expired
        self.refuse(answer)


class Draft(InPieces):
    """The IETF draft: created with `Upload-Complete: ?0`."""

    protocol = "the draft"

    def create(self):
        path, method = self.storm.link.path, "POST"
        headers = {"Upload-Complete": "?0", "Content-Type": "text/plain"}
        if self.dice.random() < 0.3:
            path, method = f"{path}/notes.txt", "PUT"
        else:
            headers["Content-Disposition"] = 'attachment; filename="notes.txt"'
        if self.dice.random() < 0.5:
            headers["Upload-Length"] = str(self.size)
        self.offset = 0
        piece = self.piece() if self.dice.random() < 0.4 else b""
        answer = self.way.request(method, path, headers, piece, bool(piece) and self.dice.random() < 0.3)
        self.take_creation(answer)
        self.offset = len(piece)

    def ask(self):
        answer = self.way.request("HEAD", self.path, {})
        self.expect_there(answer)
        if answer.status != 204:
            self.refuse(answer)
        self.offset = int(answer.headers["Upload-Offset"])
        self.finished = answer.headers["Upload-Complete"] == "?1"

    def append(self, leave=None):
        piece = self.piece()
        complete = self.offset + len(piece) == self.size and (leave is not None or self.turn is None)
        headers = {"Upload-Offset": str(self.offset), "Upload-Complete": f"?{complete:d}", "Content-Type": "application/partial-upload"}
        answer = self.way.request("PATCH", self.path, headers, piece, self.dice.random() < 0.3, leave)
        if self.took(answer, piece):
            self.finished = complete
