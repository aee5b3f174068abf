"""100 files at once: as one form by whoever takes forms, as 100 PUTs on one connection by the others."""

import contextlib
import functools
import os
import time

import clients

FILES = 100
SIZES = {4 << 10: "4 KiB", 64 << 10: "64 KiB"}


def one_form(server, path):
    """multipart/form-data, as a browser sends it."""
    return [clients.transfer(server, *[("form", f"files=@{path}")] * FILES, ("url", server.url("/uploads")))]


def many_puts(server, path):
    prefix = f"form-{time.monotonic_ns()}"
    return [
        clients.transfer(server, ("upload-file", path), ("url", server.url(server.path_of(f"{prefix}-{number}"))))
        for number in range(FILES)
    ]


def measure(server, payload, way, times):
    """Sends 100 files so many times over one connection. They are deleted again, outside of what is measured."""
    script = [transfer for _ in range(times) for transfer in way(server, payload)]
    os.sync()
    cpu = server.cpu_seconds()
    ran = clients.run(server, [script])
    began = time.monotonic()
    os.sync()
    sync = time.monotonic() - began
    cpu = server.cpu_seconds() - cpu
    count = FILES * times
    held = len(server.uploads())
    if held < count or server.stored_bytes() < count * payload.stat().st_size:
        raise server.failure(f"took {count} files, but holds {held}")
    server.clear()
    return {
        "files_per_s": count / ran.seconds,
        "durable_files_per_s": count / (ran.seconds + sync),
        "cpu_ms_per_file": cpu * 1000 / count,
        "client_busy": ran.client_busy,
    }


def run(bench, kinds):
    times = 1 if bench.options.quick else 3
    contestants = {}
    with contextlib.ExitStack() as stack:
        running = list(bench.start(stack, kinds, bench.disk / "forms"))
        for size, words in SIZES.items():
            payload = bench.payload(f"form-{size}", size)
            for server in running:
                scenario = f"100 files of {words}"
                if server.forms:
                    contestants[scenario, server.name] = functools.partial(measure, server, payload, one_form, times)
                name = f"{server.name}, 100 PUTs" if server.forms else server.name
                contestants[scenario, name] = functools.partial(measure, server, payload, many_puts, times)
        for server in running:
            payload = bench.payload("small", 4 << 10)
            bench.attempt(server.name, functools.partial(measure, server, payload, one_form if server.forms else many_puts, 1))
        return bench.interleave(contestants)
