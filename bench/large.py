"""Large uploads, one and eight at a time: what they cost the server, how fast they are, how much memory they take."""

import contextlib
import os
import time

import clients
from clients import GIB, MIB

AT_ONCE = 8


def upload(server, payload, at_once=1, http2=False):
    """As many uploads at once."""
    name = f"large-{time.monotonic_ns()}"
    if http2:
        return clients.run_http2(server, payload, server.path_of(name), at_once)
    paths = [server.path_of(f"{name}-{number}") for number in range(at_once)]
    scripts = [[clients.transfer(server, ("upload-file", payload), ("url", server.url(path)))] for path in paths]
    return clients.run(server, scripts)


def measure(server, payload, http2=False, at_once=1):
    """Uploads `payload` so many times at once. What came of it is deleted again, outside of what is measured."""
    os.sync()
    server.reset_peak()
    cpu = server.cpu_seconds()
    ran = upload(server, payload, at_once, http2)
    began = time.monotonic()
    os.sync()
    sync = time.monotonic() - began
    time.sleep(0.1)  # closing the connections is part of the cost
    cpu = server.cpu_seconds() - cpu
    peak = server.peak_kib()
    size = payload.stat().st_size * at_once
    # Over HTTP/2 all go to one name, of which a file server keeps one.
    if ran.uploaded != size or server.stored_bytes() < payload.stat().st_size * (1 if http2 else at_once):
        raise server.failure("answered 2xx, but holds fewer bytes than were sent")
    server.clear()
    return {
        "cpu_s_per_gib": cpu * GIB / size,
        "mb_per_s": size / 1e6 / ran.seconds,
        "durable_mb_per_s": size / 1e6 / (ran.seconds + sync),
        "sync_after_s": sync,
        "peak_mib": peak / 1024,
        "client_busy": ran.client_busy,
    }


def scenario_of(http2, at_once):
    return f"large uploads, HTTP/{'2' if http2 else '1.1'}, {'one' if at_once == 1 else at_once} at a time"


def run(bench, kinds):
    """Over each version of HTTP that a server speaks, one of the whole size and eight of an eighth."""
    size = int(bench.options.size * GIB)
    payloads = {1: bench.payload("large", size), AT_ONCE: bench.payload("eighth", size // AT_ONCE)}
    warm_up = bench.payload("warm-up", 16 * MIB)
    contestants = {}
    with contextlib.ExitStack() as stack:
        running = list(bench.start(stack, kinds, bench.disk / "large"))
        for server in running:
            bench.attempt(server.name, lambda server=server: measure(server, warm_up))
        for at_once, payload in payloads.items():
            for http2 in (False, True):
                for server in running:
                    if server.http2 or not http2:
                        contestants[scenario_of(http2, at_once), server.name] = (
                            lambda server=server, payload=payload, http2=http2, at_once=at_once:
                            measure(server, payload, http2, at_once)
                        )
        return bench.interleave(contestants)
