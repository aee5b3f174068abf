"""The same bytes fetched by curl: whole, and in parts of 1 MiB over one connection and over eight."""

import contextlib
import functools
import random

import clients
import peers
from clients import GIB, MIB

AT_ONCE = 8
NAME = "download"
ONE, EIGHT = "download, ranges of 1 MiB, one connection", f"download, ranges of 1 MiB, {AT_ONCE} connections"


def prepared(server, payload):
    """Uploads the file, and gives what is fetched: for each name in the table a path and a header to ask with."""
    clients.run(server, [[clients.transfer(server, ("upload-file", payload), ("url", server.url(server.path_of(NAME))))]])
    if server.name != "sealslot":
        return {server.name: (server.path_of(NAME), None)}
    (upload,) = server.uploads()
    authorization = f"Authorization: Bearer {(server.folder / 'admin.token').read_text().strip()}"
    return {
        "sealslot, sealed": (f"/uploads/{upload.name}/0000.age", authorization),
        "sealslot, opened": (f"/uploads/{upload.name}", authorization),
    }


def fetch(server, path, header, part=None):
    """One transfer: all of the file, or the MiB of that number."""
    asked = [("header", header)] if header else []
    if part is not None:
        asked.append(("range", f"{part * MIB}-{(part + 1) * MIB - 1}"))
    return clients.transfer(server, *asked, ("url", server.url(path)))


def measure(server, size, scripts):
    server.reset_peak()
    cpu = server.cpu_seconds()
    ran = clients.run(server, scripts)
    cpu = server.cpu_seconds() - cpu
    if ran.downloaded < size:
        raise server.failure(f"sent {ran.downloaded} bytes and not {size}")
    return {
        "mb_per_s": ran.downloaded / 1e6 / ran.seconds,
        "cpu_s_per_gib": cpu * GIB / ran.downloaded,
        "peak_mib": server.peak_kib() / 1024,
        "client_busy": ran.client_busy,
    }


def scripts_of(server, path, header, size):
    """For each scenario how many bytes are fetched and what by each curl: the whole, or a quarter of its parts in a random order."""
    parts = list(range(size // MIB))
    random.Random(size).shuffle(parts)
    ranges = [fetch(server, path, header, part) for part in parts[: max(len(parts) // 4, AT_ONCE)]]
    return {
        "download, whole": (size, [[fetch(server, path, header)]]),
        ONE: (len(ranges) * MIB, [ranges]),
        EIGHT: (len(ranges) * MIB, [ranges[number::AT_ONCE] for number in range(AT_ONCE)]),
    }


def run(bench, kinds):
    size = int(bench.options.size * GIB) // MIB * MIB
    payload = bench.payload("download", size)
    kinds = [peers.SealslotWithKey if kind is peers.Sealslot else kind for kind in kinds]
    contestants = {}
    with contextlib.ExitStack() as stack:
        for server in bench.start(stack, kinds, bench.disk / "downloads"):
            fetched = bench.attempt(server.name, functools.partial(prepared, server, payload)) or {}
            for name, (path, header) in fetched.items():
                for scenario, (expected, scripts) in scripts_of(server, path, header, size).items():
                    contestants[scenario, name] = functools.partial(measure, server, expected, scripts)
                bench.attempt(name, functools.partial(measure, server, size, [[fetch(server, path, header)]]))
        scenarios = dict.fromkeys(scenario for scenario, _ in contestants)
        return bench.interleave({key: contestants[key] for scenario in scenarios for key in contestants if key[0] == scenario})
