"""Clients of all kinds that send to a site of several nodes, each until it has its receipt, and what they were told."""

import collections
import hashlib
import json
import random
import threading
import time

from link import Broken, Link
from resumable import Concatenated, Draft, Source, Tus
from sealslot import BINARY, KIB, MIB, Failed, expect, multipart, run, tool

KINDS = ("tus", "tus", "tus", "draft", "draft", "concatenated", "put", "form", "curl", "cli")
RESUMABLE = {"tus": Tus, "draft": Draft, "concatenated": Concatenated}
# What one upload may take, however often it is broken and however long the engine stands still.
PATIENCE = 240


class Cut(ConnectionError):
    """A connection that its client cuts on purpose."""


class Way(Link):
    """The way to the site: every new connection may lead to another node."""

    def __init__(self, crowd, dice, resumable):
        super().__init__(crowd.front.port, crowd.front.context(), patience=8.0)
        self.crowd, self.dice, self.resumable = crowd, dice, resumable
        self.port_here = None  # of the connection
        self.resuming = False  # a request of an upload that exists goes on
        self.asking = False  # and its body waits for a while before it is sent
        self.over = []  # of each request: from which port, and whether it was answered, other than by "not now"

    def connect(self):
        super().connect()
        self.port_here = self.client.sock.getsockname()[1]

    def send(self, body, chunked):
        if self.resumable and len(body) > 32 * KIB and self.dice.random() < 0.15:
            super().send(body[: self.dice.randrange(len(body))], chunked)
            self.crowd.count["cut by the client"] += 1
            raise Cut
        if self.dice.random() < 0.5:
            # It is while something is sent that things break. What has no body is answered by now, and that is read also after a crash.
            self.asking = self.resuming and bool(body)
            time.sleep(self.dice.uniform(0.05, 0.4))
            self.asking = False
        super().send(body, chunked)

    def request(self, method, path, *arguments, **named):
        self.resuming = self.resumable and path != "/uploads"
        answered = False
        try:
            answer = super().request(method, path, *arguments, **named)
            answered = answer.status != 503
        finally:
            self.asking = False  # also where something broke
            self.over.append((self.port_here, answered))
        if not answered:
            after = answer.headers["Retry-After"]
            expect(after is not None and after.isdigit(), f"a 503 without Retry-After: {answer}")
            self.crowd.count["503"] += 1
            self.close()
            time.sleep(min(int(after), 2) * self.dice.uniform(0.3, 1))
            raise Broken
        return answer


class Crowd:
    """All clients of one run: what they began, and what was acknowledged."""

    def __init__(self, folder, front, seed, uploads):
        self.folder, self.front, self.seed, self.uploads = folder, front, seed, uploads
        folder.mkdir(parents=True)
        self.count = collections.Counter()
        self.begun = {}  # kind by digest, of everything that was ever begun
        self.receipts = {}  # digest by id
        self.broken = collections.Counter()  # requests without an answer, by digest
        self.ways = []
        self.finished = 0
        self.over = threading.Event()
        self.failures = []
        self.lock = threading.Lock()

    def failing(self, work, *arguments):
        """Does work in a thread; its failure ends all the others."""
        try:
            return work(*arguments)
        except Exception as error:
            if not self.over.is_set():
                kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
                self.failures.append(f"{work.__name__}{arguments or ''}: {kind}{error}")
            self.over.set()
            return None

    def send(self, number):
        """One upload, from its first byte to its receipt."""
        if self.over.is_set():
            return
        dice = random.Random(f"{self.seed}/{number}")
        kind = dice.choice(KINDS)
        source = self.source(number, dice)
        digest = hashlib.sha256(source.content).hexdigest()
        with self.lock:
            self.begun[digest] = kind
        work = self.by_resuming if kind in RESUMABLE else getattr(self, f"by_{kind}")
        receipt = work(kind, dice, source, digest)
        expect(receipt["sha256"] == digest, f"the receipt of {number}, by {kind}, names other bytes than were sent")
        with self.lock:
            self.receipts[receipt["id"]] = digest
            self.finished += 1
            self.count[kind] += 1

    def source(self, number, dice):
        size = dice.choice([0, dice.randrange(200), 64 * KIB + dice.randint(-1, 1), int((4 * MIB) ** dice.random())])
        if number % 20 == 7:
            size = dice.randrange(8 * MIB, 24 * MIB)
        return Source(f"{self.seed} {number}\n".encode() + dice.randbytes(size), f"{number} Größe.bin", "application/octet-stream")

    def way(self, dice, resumable=True):
        way = Way(self, dice, resumable)
        with self.lock:
            self.ways.append(way)
        return way

    def end_way(self, way):
        way.close()
        with self.lock:
            self.ways.remove(way)

    def going_on(self, what):
        until = time.monotonic() + PATIENCE

        def go_on():
            expect(not self.over.is_set(), "another client failed")
            expect(time.monotonic() < until, f"{what} does not come to its end")

        return go_on

    def again(self, what, digest, attempt):
        """Tries until it is there. An attempt gives a receipt, or None where there was no answer or it was 503."""
        go_on, dice = self.going_on(what), random.Random(what)
        while (receipt := attempt()) is None:
            with self.lock:
                self.broken[digest] += 1
            time.sleep(dice.uniform(0.1, 0.6))
            go_on()
        return receipt

    def by_resuming(self, kind, dice, source, digest):
        way = self.way(dice)
        upload = RESUMABLE[kind](way, dice, source)
        try:
            return upload.run(self.going_on(f"{source.name} by {kind}"))
        finally:
            self.end_way(way)
            with self.lock:
                self.broken[digest] += upload.broken

    def by_one_request(self, dice, source, digest, method, path, media_type, body):
        way = self.way(dice, resumable=False)

        def attempt():
            try:
                answer = way.request(method, path, {"Content-Type": media_type, "Accept": "application/json"}, body)
            except Broken:
                return None
            expect(answer.status == 201, f"{method} {path} was answered {answer}")
            return json.loads(answer.body)

        try:
            return self.again(source.name, digest, attempt)
        finally:
            self.end_way(way)

    def by_put(self, _kind, dice, source, digest):
        return self.by_one_request(dice, source, digest, "PUT", "/uploads/put.bin", source.media_type, source.content)

    def by_form(self, _kind, dice, source, digest):
        media_type, body = multipart(("file", "form.bin", source.content))
        receipt = self.by_one_request(dice, source, digest, "POST", "/uploads", media_type, body)
        return receipt["uploads"][0] if "uploads" in receipt else receipt

    def by_curl(self, _kind, _dice, source, digest):
        path = self.file(source, digest)
        argv = [tool("curl"), "--silent", "--cacert", self.front.ca, "--header", "Accept: application/json", "--max-time", "60"]
        argv += ["--write-out", "\n%{http_code}", "--upload-file", path, f"{self.front.url}/uploads/curl.bin"]

        def attempt():
            done = run(*argv, ok=False)
            said, _, status = done.stdout.rpartition(b"\n")
            expect(status in (b"201", b"503", b"000"), f"curl was answered {status!r}: {said[:300]!r}")
            # A receipt that was cut off is none.
            return json.loads(said) if status == b"201" and done.returncode == 0 else None

        return self.again(source.name, digest, attempt)

    def by_cli(self, _kind, _dice, source, digest):
        path = self.file(source, digest)
        state = {"XDG_STATE_HOME": str(self.folder / "state")}
        argv = [BINARY, "upload", "--json", "--cacert", self.front.ca, "--retry-for", f"{PATIENCE}s", self.front.url, path]
        done = run(*argv, env=state, timeout=PATIENCE + 60)
        # What was asked for again may be there twice.
        with self.lock:
            self.broken[digest] += PATIENCE
        return json.loads(done.stdout.splitlines()[-1])

    def file(self, source, digest):
        path = self.folder / digest
        path.write_bytes(source.content)
        return path

    def asking(self):
        """Every request that is in the midst of it now, and will be for a moment."""
        with self.lock:
            return [Asking(way, way.port_here, len(way.over)) for way in self.ways if way.asking]

    def taken_with(self, asking, name):
        """Those of the requests that a node with this name took with it when it was killed."""
        return [one for one in asking if self.front.owner(one.port) == name and not one.answered()]

    def expect_explained(self, opened):
        """`opened` is the digest of everything that is published, by id: what was acknowledged, each with the bytes that were
        sent, and beside it only what a client asked for again because an answer was lost. Gives how many of the latter."""
        for upload_id, digest in self.receipts.items():
            expect(upload_id in opened, f"{upload_id}, with a receipt, is gone")
            expect(opened[upload_id] == digest, f"{upload_id}, with a receipt, opens as something else")
        more = collections.Counter()
        for upload_id, digest in opened.items():
            expect(digest in self.begun, f"{upload_id} is listed, and is nothing that was sent whole")
            if upload_id not in self.receipts:
                more[digest] += 1
        for digest, times in more.items():
            lost = self.broken[digest]
            expect(times <= lost, f"an upload by {self.begun[digest]} is there {times} times too often, {lost} answers were lost")
        return sum(more.values())


class Asking:
    """A request that was on its way at some moment."""

    def __init__(self, way, port, number):
        self.way, self.port, self.number = way, port, number

    def answered(self):
        """Whether an answer to it came. Waits where it is not over, which it is soon where its connection is."""
        deadline = time.monotonic() + 30
        while len(self.way.over) <= self.number:
            expect(time.monotonic() < deadline, "a request does not end with its connection")
            time.sleep(0.005)
        return self.way.over[self.number][1]

    def next_answer(self):
        """From which port the next request came that was answered; None as long as none was."""
        return next((port for port, answered in self.way.over[self.number + 1 :] if answered), None)
