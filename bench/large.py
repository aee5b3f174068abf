"""One large upload by `curl -T`: what it costs the server, how fast it is, how much memory it takes."""

import contextlib
import os
import subprocess
import time

from servers import ENVIRONMENT, BenchError

MIB = 1 << 20
GIB = 1 << 30


def curl(server, payload, http2=False):
    """The command that uploads `payload`, and prints status, protocol, seconds and bytes."""
    name = f"large-{time.monotonic_ns()}"
    return [
        "curl", "-q", "--silent", "--show-error", "--tlsv1.3", "--http2" if http2 else "--http1.1",
        "--cacert", str(server.bench.certificates / "ca.pem"), "--output", os.devnull,
        "--write-out", "%{http_code} %{http_version} %{time_total} %{size_upload}",
        "--upload-file", str(payload), server.url(server.path_of(name)),
    ]


def check(server, payload, http2, returncode, stdout, stderr):
    """Seconds that the upload took; an error unless it went through whole and as asked."""
    words = stdout.split()
    if returncode != 0 or len(words) != 4 or not words[0].startswith("2"):
        raise server.failure(f"refused the large upload ({stdout.strip()} {stderr.strip()})")
    if words[1] != ("2" if http2 else "1.1"):
        raise BenchError(f"{server.name} answered in HTTP/{words[1]}")
    size = payload.stat().st_size
    if int(words[3]) != size or server.stored_bytes() < size:
        raise server.failure(f"answered {words[0]}, but holds fewer bytes than were sent")
    return float(words[2])


def measure(server, payload, http2=False):
    """One upload. The upload is deleted again, outside of what is measured."""
    os.sync()
    server.reset_peak()
    cpu = server.cpu_seconds()
    done = subprocess.run(curl(server, payload, http2), env=ENVIRONMENT, capture_output=True, text=True)
    time.sleep(0.1)  # closing the connection is part of the cost
    cpu = server.cpu_seconds() - cpu
    peak = server.peak_kib()
    seconds = check(server, payload, http2, done.returncode, done.stdout, done.stderr)
    began = time.monotonic()
    os.sync()
    sync = time.monotonic() - began
    server.clear()
    size = payload.stat().st_size
    return {
        "cpu_s_per_gib": cpu * GIB / size,
        "mb_per_s": size / 1e6 / seconds,
        "peak_mib": peak / 1024,
        "sync_after_s": sync,
    }


def run(bench, servers):
    """Rounds over all servers, and over both protocols where `--http2` asks for it."""
    payload = bench.payload("large", int(bench.options.size * GIB))
    warm_up = bench.payload("warm-up", 16 * MIB)
    with contextlib.ExitStack() as stack:
        contestants = {}
        for server in bench.start(stack, servers, bench.disk / "large"):
            contestants[server.name] = lambda server=server: measure(server, payload)
            if bench.options.http2 and server.http2:
                contestants[f"{server.name} h2"] = lambda server=server: measure(server, payload, True)
            bench.attempt(server.name, lambda server=server: measure(server, warm_up))
        return bench.interleave(contestants)
