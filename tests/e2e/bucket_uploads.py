"""Uploads into a bucket, in all ways, by two servers in turn, and that nothing of them is in it in the clear. Part of `bucket`."""

import contextlib
import hashlib
import http.client
import json
import threading
from urllib.parse import quote

from fleet import Node, Site
from marks import Marks, digests
from one_upload import Refused, Resumable
from resumable import secret_of
from sealslot import GIB, KIB, MIB, check, expect, multipart, run, sealslot, tool


class BrokenOff(OSError):
    """A client stops in the middle of its request, on purpose."""


class Scene:
    """Two nodes over one place in the bucket, and what was uploaded there."""

    def __init__(self, engine, folder, dice):
        self.dice = dice
        self.site = Site(folder, engine, "uploads-here")
        self.one, self.two = Node(self.site, "one"), Node(self.site, "two")
        # Also large files are searched for the secrets of single uploads: those of the engine hold all of them.
        self.marks = Marks(dice.random(), small=GIB)
        self.number = 0
        self.wanted = {}  # digest by id

    def source(self, size):
        """The bytes and the name of an upload, which are searched for later."""
        self.number += 1
        content = self.marks.payload(self.number, size)
        if content:  # that of nothing is no secret, and Ceph keeps it of every empty object
            self.marks.keep_secret(self.number, *digests(content))
        return content, self.marks.name(self.number)

    def received(self, receipt, content):
        digest = hashlib.sha256(content).hexdigest()
        expect((receipt["size"], receipt["sha256"]) == (len(content), digest), f"the receipt says {receipt}")
        self.wanted[receipt["id"]] = digest

    def begin(self, size, draft):
        """A resumable upload, begun at the first node."""
        content, name = self.source(size)
        # By the draft the name stands in a header as it is, by tus in base64.
        upload = Resumable(self.one, size, f"{self.marks.mark.decode()}.bin" if draft else name, draft=draft)
        self.marks.keep_secret(self.number, secret_of(upload.path), upload.path.rpartition(".")[2].encode())
        return upload, content

    def finish(self, upload, content, offset):
        """The rest at the node where it is now, and the receipt from the other one."""
        offset = upload.patch(offset, content[offset:])
        expect(offset == len(content), f"the last PATCH gave {offset} of {len(content)}")
        upload.server = self.one if upload.server is self.two else self.two
        self.received(upload.receipt(), content)


def in_one_request(scene):
    """Empty, small, and in several parts of the engine's multipart upload; by curl, a form, and our own client."""
    ca, url = scene.site.ca, scene.one.url
    for size in (0, 1, 300 * KIB, 20 * MIB):
        content, name = scene.source(size)
        path = scene.site.folder / "source"
        path.write_bytes(content)
        argv = [tool("curl"), "-sS", "--fail", "--cacert", ca, "-H", "Accept: application/json"]
        argv += ["-H", f"Content-Type: {scene.marks.media_type()}", "--upload-file", path, f"{url}/uploads/{quote(name)}"]
        scene.received(json.loads(run(*argv).stdout), content)
        path.unlink()
    content, name = scene.source(100 * KIB)
    media_type, body = multipart(("file", name, content))
    headers = {"Content-Type": media_type, "Accept": "application/json"}
    status, _, answer = scene.two.request("POST", "/uploads", body, headers)
    expect(status == 201, f"a form was answered {status}: {answer[:300]!r}")
    found = json.loads(answer)
    scene.received(found["uploads"][0] if "uploads" in found else found, content)
    content, name = scene.source(MIB)
    path = scene.site.folder / name
    path.write_bytes(content)
    state = {"XDG_STATE_HOME": str(scene.site.folder / "state")}
    done = sealslot("upload", "--json", "--cacert", ca, scene.two.url, path, env=state)
    scene.received(json.loads(done.stdout.splitlines()[-1]), content)
    # It is the client's, and no server's.
    path.unlink()


def cut_off(scene, draft):
    """A connection that ends in mid-body: the other node goes on with what arrived."""
    upload, content = scene.begin(4 * MIB, draft)
    at = scene.dice.randrange(MIB, 3 * MIB)

    def broken_off():
        yield content[:at]
        scene.one.wait_read()
        raise BrokenOff

    with contextlib.suppress(BrokenOff):
        upload.patch(0, broken_off(), len(content), True)
    # Where the request was, asking waits until what arrived is kept; another node would take over before.
    kept, _ = upload.head()
    upload.server = scene.two
    offset, _ = upload.head()
    expect(offset == kept > 0, f"the offset is {offset}, and {kept} was kept of a connection that was cut")
    expect(offset <= at, f"the offset is {offset}, and {at} bytes were sent")
    scene.finish(upload, content, offset)
    return offset


def killed(scene, draft):
    """A node that is killed in mid-body: the other one goes on from what was acknowledged, or later."""
    upload, content = scene.begin(6 * MIB, draft)
    acknowledged = upload.patch(0, content[: 2 * MIB], complete=False)

    def until_killed():
        yield content[acknowledged : acknowledged + MIB]
        scene.one.kill()
        yield content[acknowledged + MIB :]

    with contextlib.suppress(OSError, http.client.HTTPException):
        upload.patch(acknowledged, until_killed(), len(content) - acknowledged, True)
    upload.server = scene.two
    offset, finished = upload.head()
    expect(acknowledged <= offset and not finished, f"offset {offset}, {acknowledged} was acknowledged")
    scene.one.start()
    scene.finish(upload, content, offset)


def in_turn(scene, draft, pieces):
    """Piece by piece, each at the other node: more segments than metadata have room for."""
    upload, content = scene.begin(pieces * KIB, draft)
    offset = 0
    for number in range(pieces - 1):
        upload.server = scene.two if number % 2 else scene.one
        offset = upload.patch(offset, content[offset : offset + KIB], complete=False)
    scene.finish(upload, content, offset)


def at_once(scene, rounds):
    """Both nodes get a PATCH at the same offset, at the same moment: what both acknowledge is one upload."""
    both = 0
    for number in range(rounds):
        upload, content = scene.begin(MIB, draft=False)
        offset = tries = 0
        while offset < len(content):
            tries += 1
            expect(tries < 100, f"round {number} does not come to its end")
            answers = race(scene, upload, content, offset)
            acknowledged = [end for end in answers if isinstance(end, int)]
            both += len(acknowledged) == 2
            now, _ = upload.head()
            expect(now >= max(acknowledged, default=offset), f"offset {now} after {answers}")
            expect(now > offset or not acknowledged, f"round {number}: nothing came of {answers}")
            offset = now
        upload.server = scene.dice.choice([scene.one, scene.two])
        scene.received(upload.receipt(), content)
    return both


def race(scene, upload, content, offset):
    """Two PATCHes of different lengths. Gives the offsets that were acknowledged, or how they were refused."""
    answers = []
    ready = threading.Barrier(2)

    def send(node, length):
        own = object.__new__(Resumable)
        own.__dict__.update(upload.__dict__, server=node)
        ready.wait(10)
        try:
            answers.append(own.patch(offset, content[offset : offset + length]))
        except Refused as refused:
            expect(refused.status == 409, f"in a race: {refused}")
            answers.append(str(refused))

    left = len(content) - offset
    workers = [
        threading.Thread(target=send, args=(node, min(left, scene.dice.randrange(100 * KIB, 500 * KIB)))) for node in (scene.one, scene.two)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    expect(len(answers) == 2, f"a PATCH in a race ended without an answer; the other: {answers}")
    return answers


def left_alone(scene):
    """An upload in the midst of it, whose client does not come back while its marks are looked for."""
    upload, content = scene.begin(3 * MIB, scene.dice.random() < 0.5)
    upload.patch(0, content[: 2 * MIB], complete=False)


def expect_no_marks(scene, note):
    """On the engine's disk, in keys and metadata, and in what the servers wrote."""
    engine, marks = scene.site.engine, scene.marks
    folders = [engine.folder, scene.one.folder, scene.two.folder]
    count = marks.expect_nowhere(*folders)
    objects = engine.bucket.list()
    for one in objects:
        _, headers, _ = engine.bucket.request("HEAD", one.key)
        said = "\n".join([one.key, *(f"{name}: {value}" for name, value in headers.items())]).encode()
        expect(not marks.found_in(said), f"a mark is in the key or metadata of {one.key}")
    expect(sum(one.size for one in objects) > 20 * MIB, f"only {len(objects)} objects are there to search")
    note(f"{count} files of {marks.bytes // MIB} MiB, {len(objects)} objects")


def checks(engine, folder, dice):
    scene = Scene(engine, folder, dice)
    with scene.one, scene.two:
        with check("bucket: uploads in one request, by curl, a form and sealslot upload"):
            in_one_request(scene)
        for draft in (False, True):
            protocol = "the draft" if draft else "tus"
            with check(f"bucket: by {protocol}, the other node goes on after a connection was cut") as note:
                note(f"from {cut_off(scene, draft)}")
            with check(f"bucket: by {protocol}, the other node goes on after a node was killed"):
                killed(scene, draft)
        with check("bucket: 70 pieces, two nodes in turn"):
            in_turn(scene, dice.random() < 0.5, 70)
        with check("bucket: two nodes at one upload at once acknowledge what is there") as note:
            note(f"both {at_once(scene, 5)} times, one after the other")
        left_alone(scene)
        with check("bucket: all is listed by both, and opens with age as it lies there, and nothing is that is under way") as note:
            opened = scene.site.opened()
            expect(opened == scene.wanted, f"published: {len(opened)}, received: {len(scene.wanted)}")
            for node in (scene.one, scene.two):
                expect(node.listed().keys() == scene.wanted.keys(), f"node {node.name} lists something else")
            note(f"{len(opened)} uploads")
        with check("bucket: nothing of it is in the clear, nor in the servers' logs") as note:
            expect_no_marks(scene, note)
        with check("bucket: the servers wrote nothing to their own disk"):
            for node in (scene.one, scene.two):
                found = sorted(path.name for path in node.folder.rglob("*"))
                expect(found == ["serve.log"], f"node {node.name} has {found}")
