"""Many small uploads over keep-alive connections, sent by wrk."""

import contextlib
import functools
import os
import pathlib
import signal
import subprocess
import threading
import time

import bare_disk
from servers import BenchError, client_environment, cpu_of, find

FILE_SIZE = 4096
UPLOADS_PER_CONNECTION = 200
# At the least and at the most so many: one connection that waits for a disk has no more than a hundred a second.
UPLOADS = {"tmpfs": (2000, 8000), "disk": (200, 3000)}
SCRIPT = pathlib.Path(__file__).resolve().parent / "small.lua"
PATIENCE_SECONDS = 300


def measure(server, payload, count, connections, synced=False):
    """`count` uploads, kept apart by name; `synced` counts the `sync` after them too. They are deleted again, outside of what is
    measured."""
    prefix = "/uploads" if server.method == "POST" else server.path_of(f"small-{time.monotonic_ns()}-")
    wrk = find("wrk")
    if wrk is None:
        raise BenchError("wrk is not installed; run `bench/run --install`")
    command = [
        # The script stops at its count; wrk's own clock is only the emergency brake.
        wrk, "--threads", "1", "--connections", str(connections), "--duration", f"{PATIENCE_SECONDS}s",
        "--timeout", "60s", "--script", str(SCRIPT), server.url("/"),
        "--", server.method, prefix, str(count), str(payload),
    ]
    os.sync()
    cpu = server.cpu_seconds()
    client = subprocess.Popen(command, env=client_environment(server.bench), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        ended = last_line(client)
        cpu = server.cpu_seconds() - cpu
        client_cpu = cpu_of(client.pid)
        began = time.monotonic()
        os.sync()
        sync = time.monotonic() - began
    finally:
        # wrk would sit out its duration; on SIGINT it stops at once.
        client.send_signal(signal.SIGINT)
        try:
            client.wait(5)
        except subprocess.TimeoutExpired:
            client.kill()
            client.wait()
        client.stdout.close()
    if ended is None:
        raise server.failure(f"did not answer {count} small uploads")
    seconds, refused, status = float(ended[1]), int(ended[2]), ended[3]
    if refused:
        raise server.failure(f"refused {refused} of {count} small uploads, the last with {status}")
    if len(server.uploads()) < count:
        raise server.failure(f"answered {count} small uploads, but holds {len(server.uploads())}")
    server.clear()
    return {
        "uploads_per_s": count / seconds,
        **({"durable_uploads_per_s": count / (seconds + sync)} if synced else {}),
        "cpu_ms_per_upload": cpu * 1000 / count,
        "client_busy": client_cpu / seconds,
    }


def last_line(client):
    """The words of the script's closing line, or None where it never came."""
    brake = threading.Timer(PATIENCE_SECONDS, client.kill)
    brake.start()
    try:
        for line in client.stdout:
            if line.startswith("END "):
                return line.split()
        return None
    finally:
        brake.cancel()


def count_of(connections, place, quick):
    """How many uploads are sent over so many connections."""
    fewest, most = UPLOADS[place]
    count = min(max(UPLOADS_PER_CONNECTION * connections, fewest), most)
    return max(count // 16, 2 * connections) if quick else count


def run(bench, kinds, folder, place):
    """With the data of all servers in `folder`; on a disk, what the disk does by itself is measured beside them."""
    payload = bench.payload("small", FILE_SIZE)
    contestants = {}
    with contextlib.ExitStack() as stack:
        running = list(bench.start(stack, kinds, folder))
        for server in running:
            bench.attempt(server.name, functools.partial(measure, server, payload, 256, 32))
        for connections in bench.options.connections:
            scenario = f"small uploads on {place}, {connections} connection{'s' if connections > 1 else ''}"
            count = count_of(connections, place, bench.options.quick)
            for server in running:
                contestants[scenario, server.name] = functools.partial(measure, server, payload, count, connections, place == "disk")
            if place != "disk":
                continue
            contestants[scenario, "bare disk"] = functools.partial(bare_disk.uploads, folder / "bare", payload, count, connections)
            contestants[scenario, "fio"] = functools.partial(bare_disk.fio, folder / "fio", connections, bench.options.quick)
        return bench.interleave(contestants)
