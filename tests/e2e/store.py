"""A store of many uploads for checks of what is stored: of all sizes, some in several segments, and what is in each."""

import contextlib
import hashlib
import json
import os
import threading

from sealslot import KIB, expect, sealslot

# Paths on one command line stay far below what the system takes.
OPENED_AT_ONCE = 500
TUS = {"Tus-Resumable": "1.0.0"}


def sizes(dice, count):
    """Mostly small, some of some MiB, some empty."""
    return [0 if dice.random() < 0.03 else int(100 * (30 * KIB) ** dice.random()) for _ in range(count)]


def upload(server, dice, size, client):
    """Uploads so many bytes, sometimes in several segments. Gives the id and SHA-256."""
    content = os.urandom(size)
    if size < 10 or dice.random() < 0.7:
        status, _, answer = server.request("PUT", "/uploads/stored.bin", content, {"Accept": "application/json"}, client=client)
        expect(status == 201, f"PUT answered {status}: {answer[:200]!r}")
        return json.loads(answer)["id"], hashlib.sha256(content).hexdigest()
    status, headers, answer = server.request("POST", "/uploads", b"", TUS | {"Upload-Length": str(size)}, client=client)
    expect(status == 201, f"creation answered {status}: {answer[:200]!r}")
    url, offset = headers["Location"], 0
    cuts = sorted({*(dice.randrange(1, size) for _ in range(dice.randint(1, 5))), size})
    for cut in cuts:
        about = TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        status, _, answer = server.request("PATCH", url, content[offset:cut], about, client=client)
        expect(status == 204, f"PATCH answered {status}: {answer[:200]!r}")
        offset = cut
    return url.rpartition("/")[2].partition(".")[0], hashlib.sha256(content).hexdigest()


def fill(server, dice, count, threads=8):
    """Uploads so many. Gives SHA-256 of each by id."""
    digests, failures, left = {}, [], sizes(dice, count)

    def work(dice):
        try:
            with contextlib.closing(server.connect()) as client:
                while True:
                    try:
                        size = left.pop()
                    except IndexError:
                        return
                    upload_id, digest = upload(server, dice, size, client)
                    digests[upload_id] = digest
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")

    workers = [threading.Thread(target=work, args=(type(dice)(dice.random()),)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    expect(not failures, f"filling the store: {failures[:2]}")
    return digests


def folders(data):
    """The folder of every upload, by id."""
    return {path.name: path for path in data.glob("uploads/*/*")}


def expect_opens(paths, identities, digests, into):
    """Opens the folders `paths`, by id, with any of these keys, many with one command, and compares what is in them."""
    keys = [word for identity in identities for word in ("-i", identity)]
    some = list(paths.items())
    for first in range(0, len(some), OPENED_AT_ONCE):
        part = some[first : first + OPENED_AT_ONCE]
        done = sealslot("open", "--json", *keys, "-o", into / "opened", *(path for _, path in part), timeout=600)
        opened = {}
        for line in done.stdout.splitlines():
            entry = json.loads(line)
            output = into / entry["output"]
            opened[entry["id"]] = hashlib.sha256(output.read_bytes()).hexdigest()
            output.unlink()
        for upload_id, _ in part:
            expect(opened.get(upload_id) == digests[upload_id], f"{upload_id} does not open as what was uploaded")


def payload(paths):
    """Bytes of all segments, and how many there are."""
    files = [file for path in paths for file in path.iterdir() if file.name != "meta.age"]
    return sum(file.stat().st_size for file in files), len(files)
