"""An engine that stands still, is killed, or does not let us in. Part of `bucket`."""

import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import random
import re
import secrets
import threading
import time

import seaweed
from crowd import Crowd
from fleet import Node, Site
from one_upload import Refused, Resumable
from sealslot import BINARY, MIB, check, expect, run, sealslot

# What it may take from a request's head to 503, on a machine that has much else to do: the engine is asked once, for two seconds,
# and once more where this machine stood still.
REFUSED_WITHIN = 20
# An upload gets no further in one request than from one kill to the next: what is under way is gone with its server.
MOST_KILLS = {"server": 8, "engine": 3}


def head_of_answer(stream):
    """The status and the headers of the next answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = stream.recv(4096)
        expect(more, f"the connection ended after {received[:200]!r}")
        received += more
    lines = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), headers


def expect_refused(node, method, path, *headers):
    """A request whose body is announced and does not come is answered 503, and says when to come back. Gives the seconds."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {100 * MIB}", *headers, "", ""]
    began = time.monotonic()
    with contextlib.closing(node.tls(60)) as stream:
        stream.sendall("\r\n".join(lines).encode())
        status, said = head_of_answer(stream)
    took = time.monotonic() - began
    expect(status == 503, f"{method} {path} was answered {status}")
    expect(said.get("retry-after", "").isdigit(), f"{method} {path} was answered 503 without Retry-After: {said}")
    expect(took < REFUSED_WITHIN, f"{method} {path} was answered after {took:.1f} s")
    return took


def until_ready(node, status, patience=30):
    deadline = time.monotonic() + patience
    while (got := node.request("GET", "/readyz")[0]) != status:
        expect(time.monotonic() < deadline, f"/readyz answers {got}, and not {status}, after {patience} s")
        time.sleep(0.1)


def in_the_midst(engine, node):
    """An upload is under way while the engine does nothing for some seconds: it is answered, late or with 503, and goes on."""
    size = 24 * MIB
    content = random.Random(size).randbytes(size)
    upload = Resumable(node, size)
    timer = threading.Timer(3, engine.resume, [engine.door])

    def pieces():
        for at in range(0, size, MIB):
            if at == 10 * MIB:
                engine.pause(engine.door)
                timer.start()
            yield content[at : at + MIB]

    said = "it waited"
    try:
        upload.patch(0, pieces(), size)
    except (OSError, http.client.HTTPException, Refused) as end:
        status = getattr(end, "status", None)
        expect(status in (None, 503), f"it was answered {end}")
        said = f"it was {'cut off' if status is None else 'answered 503'}"
    finally:
        if timer.ident:
            timer.join(10)
    until_ready(node, 200)
    offset, finished = upload.head()
    if not finished:
        offset = upload.patch(offset, content[offset:])
    expect(offset == size, f"the offset is {offset}")
    expect(upload.receipt()["sha256"] == hashlib.sha256(content).hexdigest(), "the receipt names other bytes")
    return said


def away(engine, folder, _dice):
    with Node(Site(folder, engine, "away"), "node") as node:
        upload = Resumable(node, 2 * MIB)
        offset = upload.patch(0, bytes(MIB))
        engine.pause(engine.door)
        try:
            with check("bucket: the engine stands still, and uploads are answered 503 with Retry-After before their body") as note:
                time.sleep(2)  # what was well a moment ago is believed for a moment
                form = "Content-Type: multipart/form-data; boundary=x"
                tus = ("Tus-Resumable: 1.0.0", "Content-Type: application/offset+octet-stream", f"Upload-Offset: {offset}")
                longest = [
                    expect_refused(node, "PUT", "/uploads/a.bin", "Expect: 100-continue"),
                    expect_refused(node, "PUT", "/uploads/a.bin"),
                    expect_refused(node, "POST", "/uploads", form),
                    expect_refused(node, "PATCH", upload.path, *tus),
                ]
                note(f"after {max(longest):.1f} s at most")
            with check("bucket: meanwhile /readyz says so, and /healthz is well"):
                until_ready(node, 503)
                expect(node.request("GET", "/healthz")[0] == 200, "/healthz is not well")
        finally:
            engine.resume(engine.door)
        with check("bucket: the engine is back, and all goes on") as note:
            began = time.monotonic()
            until_ready(node, 200)
            note(f"after {time.monotonic() - began:.1f} s")
            expect(upload.head() == (offset, False), f"the offset is {upload.head()}, and {offset} was acknowledged")
            expect(upload.patch(offset, bytes(MIB)) == 2 * MIB, "the rest is not taken")
            node.upload(b"after")
        with check("bucket: the engine stands still in the midst of an upload, which comes to its end all the same") as note:
            note(in_the_midst(engine, node))


class Killer(threading.Thread):
    """Kills the server or the engine at random moments, so often at most, until the clients are through."""

    def __init__(self, crowd, engine, node, dice):
        super().__init__()
        self.crowd, self.engine, self.node, self.dice = crowd, engine, node, dice
        self.kills = dict.fromkeys(MOST_KILLS, 0)

    def run(self):
        self.crowd.failing(self.kill)

    def kill(self):
        while (left := [what for what, most in MOST_KILLS.items() for _ in range(most - self.kills[what])]):
            if self.crowd.over.wait(self.dice.uniform(0.3, 2)):
                return
            what = self.dice.choice(left)
            self.kills[what] += 1
            if what == "engine":
                self.engine.kill(self.engine.door)
                self.crowd.over.wait(self.dice.uniform(0, 1))
                self.engine.restart(self.engine.door)
                self.engine.wait_ready()
            else:
                self.node.kill()
                # The start wants an engine that answers.
                self.node.start()


def kills(engine, folder, dice):
    site = Site(folder, engine, "kills")
    with check("bucket: the server and the engine are killed at random moments, and every acknowledgement holds") as note:
        with Node(site, "node") as node:
            crowd = Crowd(folder / "crowd", node, dice.randrange(10**6), 36)
            killer = Killer(crowd, engine, node, dice)
            killer.start()
            try:
                with concurrent.futures.ThreadPoolExecutor(6) as pool:
                    list(pool.map(lambda number: crowd.failing(crowd.send, number), range(crowd.uploads)))
            finally:
                crowd.over.set()
                killer.join(120)
            expect(not crowd.failures, " / ".join(crowd.failures[:3]))
            expect(crowd.finished == crowd.uploads, f"{crowd.finished} of {crowd.uploads} came to their end")
            engine.wait_ready()
            # A request that its client has given up may publish still.
            before, opened, after = node.listed(), site.opened(), node.listed()
            more = crowd.expect_explained(opened)
            expect(before.keys() <= opened.keys() <= after.keys(), "listed and published differ")
        note(", ".join(f"{what} killed {times} times" for what, times in killer.kills.items()))
        note(f"{len(opened)} uploads, {more} of them there again because an answer was lost")
        note(", ".join(f"{what} {count}" for what, count in sorted(crowd.count.items())))


def refused(engine, folder, _dice):
    site = Site(folder, engine, "refused")
    secret = engine.keys.secret

    def start(store, environment):
        argv = [BINARY, "serve", "--listen", "127.0.0.1:0", "--store", store, "--store-endpoint", engine.endpoint]
        argv += ["--recipient", f"{site.key}.pub", "--allow-anonymous", "--certs", site.certs, "--admin-token-file", site.token]
        done = run(*argv, env=environment, cwd=site.folder, ok=False, timeout=60)
        said = (done.stdout + done.stderr).decode(errors="replace")
        expect(done.returncode not in (0, 101), f"it exits with {done.returncode}: {said}")
        return said

    wrong = secrets.token_hex(20)
    cases = {
        "a bucket that is not there": ("s3://no-such-bucket-here/x", site.environment, r"no-such-bucket-here"),
        "a wrong secret": (engine.url("x"), site.environment | {"AWS_SECRET_ACCESS_KEY": wrong}, r"(?i)credential|access|refuse|signature"),
        "no credentials": (
            engine.url("x"), {"HOME": str(site.folder)}, r"AWS_ACCESS_KEY_ID",
        ),
    }
    for name, (store, environment, wanted) in cases.items():
        with check(f"bucket: {name} is said at the start, and no secret with it") as note:
            said = start(store, environment)
            expect(re.search(wanted, said), f"it says {said}")
            expect(secret not in said and wrong not in said, "a secret is in what it says")
            note(said.strip().splitlines()[-1][:160])


def over_tls(_engine, folder, dice):
    """An engine of its own, whose certificate only `--store-cacert` makes good."""
    folder.mkdir(parents=True)
    sealslot("certs", "--dir", "engine-certs", "--host", "127.0.0.1", cwd=folder)
    with seaweed.Node(folder / "engine", certs=folder / "engine-certs") as engine:
        site = Site(folder / "site", engine)
        with check("bucket: an engine with a certificate that nobody knows is refused"):
            argv = [BINARY, "serve", "--listen", "127.0.0.1:0", *site.store, "--recipient", f"{site.key}.pub", "--certs", site.certs]
            done = run(*argv, env=site.environment, cwd=folder, ok=False)
            said = done.stderr.decode(errors="replace")
            expect(done.returncode not in (0, 101) and re.search("certificate", said), f"exit {done.returncode}: {said}")
        with check("bucket: over TLS, with the engine's own CA") as note:
            with Node(site, "node", "--store-cacert", folder / "engine-certs/ca.pem") as node:
                contents = [dice.randbytes(size) for size in (0, 1000, 20 * MIB)]
                wanted = {node.upload(content)["id"]: hashlib.sha256(content).hexdigest() for content in contents}
                expect(site.opened() == wanted, "opened is not what was uploaded")
                note(json.loads(node.request("GET", "/readyz", headers={"Accept": "application/json"})[2])["engine"]["checksum"])
