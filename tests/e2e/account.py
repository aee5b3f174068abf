"""What one upload link was seen to take, beside what it may: the judge of `accounting`.

Three things are compared at every look: the link's own figures, what the server lists as published through it, and what
its clients were told. None of them may ever say more than the limit, and none may run behind what was acknowledged.
"""

import collections
import contextlib
import hashlib
import http.client
import json
import threading
import time
from typing import NamedTuple

from sealslot import Failed, expect

# What an administrator's request may take that meets a server which is just being killed.
PATIENCE = 30


class Brought(NamedTuple):
    """One upload, as its sender or its receiver sees it."""

    size: int
    digest: str
    fields: bool = False

    @classmethod
    def of(cls, content, fields=False):
        return cls(len(content), hashlib.sha256(content).hexdigest(), fields)


class Limits(NamedTuple):
    """None is no limit."""

    uploads: int
    bytes: int | None = None
    file: int | None = None
    expires: int | None = None  # in seconds since 1970

    def __str__(self):
        said = f"for {self.uploads} uploads"
        said += f" and {self.bytes} bytes" if self.bytes else ""
        return said + (f", {self.file} bytes a file" if self.file else "")


class UploadLink:
    """A link of its own, made by `POST /links`."""

    def __init__(self, server, limits, label):
        self.server = server
        self.limits = limits
        wanted = {"label": label, "max_uploads": limits.uploads, "max_bytes": limits.bytes, "max_file": limits.file}
        if limits.expires:
            wanted["expires"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(limits.expires))
        body = json.dumps({key: value for key, value in wanted.items() if value is not None})
        status, _, answer = server.request("POST", "/links", body, {"Content-Type": "application/json"}, admin=True)
        expect(status == 201, f"POST /links answered {status}: {answer.decode(errors='replace').strip()}")
        made = json.loads(answer)
        self.id, self.path = made["id"], made["link"]
        for name in ("max_uploads", "max_bytes", "max_file"):
            expect(made[name] == wanted[name], f"a link with other limits than were asked for: {made[name]}, not {wanted[name]}")

    def figures(self):
        """What `GET /links/{id}` says."""
        status, _, answer = patiently(lambda: self.server.request("GET", f"/links/{self.id}", admin=True))
        expect(status == 200, f"GET /links/{{id}} answered {status}: {answer.decode(errors='replace').strip()}")
        return json.loads(answer)

    def revoke(self):
        """Gives when the answer was there: what begins later is too late."""
        status, _, answer = patiently(lambda: self.server.request("DELETE", f"/links/{self.id}", admin=True))
        expect(status == 204, f"DELETE /links/{{id}} answered {status}: {answer.decode(errors='replace').strip()}")
        return time.monotonic()


def patiently(work):
    """Does a request again until the server is there."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return work()
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > until:
                raise Failed(f"the server does not answer: {error!r}") from error
            time.sleep(0.05)


class Account:
    """Counts along with a link. `off` is added to the limit that it believes in: with anything but 0 it must fail."""

    def __init__(self, link, off=0):
        self.link = link
        self.most = link.limits.uploads + off
        self.lock = threading.Lock()
        self.published = {}  # id: Brought; also what was deleted since
        self.deleted = set()
        self.acknowledged = []
        self.begun_again = set()  # digests of what was sent again as another upload, since the first answer was lost
        self.counts = collections.Counter()
        self.refused = collections.Counter()  # by code
        self.wrong = []
        self.over = threading.Event()  # something is wrong
        self.used = (0, 0)
        self.looks = 0

    # What clients say.

    def acknowledge(self, some):
        """These uploads were promised to be there."""
        with self.lock:
            self.acknowledged += some
            self.counts["accepted"] += sum(not one.fields for one in some)
        for one in some:
            most = self.link.limits.file
            if most is not None and one.size > most and not one.fields:
                self.find(f"a file of {one.size} bytes was taken, and {most} is the most")

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def count_refusal(self, code):
        with self.lock:
            self.refused[code] += 1

    def find(self, message):
        self.wrong.append(message)
        self.over.set()

    def expect_nothing_wrong(self):
        expect(not self.wrong, " // ".join(self.wrong[:3]))

    # What the server says.

    def look(self):
        """One comparison of everything. Gives the link's figures."""
        with self.lock:
            promised = totals(self.acknowledged)
        self.see_published()
        with self.lock:
            present = totals(self.published.values())
        figures = self.link.figures()
        used, reserved = (tuple(figures[name][what] for what in ("uploads", "bytes")) for name in ("used", "reserved"))
        said = f"used {used}, reserved {reserved}, published {present}, acknowledged {promised}, as (files, bytes)"
        for place, (what, most) in enumerate((("uploads", self.most), ("bytes", self.link.limits.bytes))):
            if most is not None:
                expect(used[place] + reserved[place] <= most, f"more {what} than {most}: {said}")
                expect(present[place] <= most, f"more {what} published than {most}: {said}")
            expect(present[place] <= used[place] + reserved[place], f"published {what} that nothing counts: {said}")
            expect(promised[place] <= used[place], f"acknowledged {what} that are not counted as used: {said}")
            expect(self.used[place] <= used[place], f"{self.used} were used before, and now: {said}")
            expect(used[place] >= 0 and reserved[place] >= 0, f"less than nothing: {said}")
        fields = sum(one.fields for one in self.published.values())
        expect(fields <= self.link.limits.uploads, f"{fields} uploads of text fields: {said}")
        self.used = used
        self.looks += 1
        return figures

    def see_published(self):
        listed = patiently(self.link.server.listed)
        own = [one for one, entry in listed.items() if entry["link"] == self.link.id]
        for upload in own:
            if upload not in self.published:
                brought = self.download(upload)
                with self.lock:
                    self.published[upload] = brought
        # Those whose deletion was asked for may be gone or not.
        lost = self.published.keys() - set(own) - self.deleted
        expect(not lost, f"published, and gone: {sorted(lost)[:3]}")

    def download(self, upload):
        """What an upload holds. Senders never say of a file that it is JSON, so that is the text fields of a form."""
        status, headers, content = patiently(lambda: self.link.server.request("GET", f"/uploads/{upload}", admin=True))
        expect(status == 200, f"GET /uploads/{{id}} of what is listed answered {status}")
        return Brought.of(content, headers["Content-Type"] == "application/json")

    def delete(self, upload):
        """As an administrator; what was published stays counted."""
        self.deleted.add(upload)
        status, _, _ = patiently(lambda: self.link.server.request("DELETE", f"/uploads/{upload}", admin=True))
        # 404: the answer to the first attempt was lost in a kill.
        expect(status in (204, 404), f"DELETE /uploads/{{id}} answered {status}")
        self.count("deleted")

    def await_nothing_reserved(self, seconds):
        """Waits until nothing is under way any more; looks as it waits."""
        until = time.monotonic() + seconds
        while True:
            figures = self.look()
            if figures["reserved"] == {"uploads": 0, "bytes": 0}:
                return figures
            expect(time.monotonic() < until, f"still reserved after {seconds} s: {figures['reserved']}, used {figures['used']}")
            time.sleep(0.1)

    def expect_exact(self):
        """What is used is what was published, to the byte, and all that was acknowledged is among it."""
        figures = self.look()
        files, size = totals(self.published.values())
        used = figures["used"]
        expect(figures["reserved"] == {"uploads": 0, "bytes": 0}, f"still reserved: {figures['reserved']}")
        expect(used["uploads"] == files, f"{used['uploads']} uploads are used, and {files} were published")
        expect(used["bytes"] == size, f"{used['bytes']} bytes are used, and {size} were published")
        there = collections.Counter(one.digest for one in self.published.values())
        missing = [one for one in self.acknowledged if one.digest not in there]
        expect(not missing, f"{len(missing)} acknowledged and not there: {missing[:3]}")
        # Of fewer bytes others may be the same.
        twice = {one.digest for one in self.published.values() if there[one.digest] > 1 and one.size >= 16} - self.begun_again
        expect(not twice, f"published twice: {sorted(twice)[:3]}")
        return figures


def totals(some):
    """Files, and bytes of files and fields."""
    some = list(some)
    return sum(not one.fields for one in some), sum(one.size for one in some)


@contextlib.contextmanager
def expect_failure(what, note):
    """The block must find something wrong. `note` is told what that was."""
    try:
        yield
    except Failed as failure:
        note(str(failure).split(" // ", maxsplit=1)[0][:90])
        return
    raise Failed(f"{what} was not noticed")
