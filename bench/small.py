"""Many small uploads over keep-alive connections, sent by wrk."""

import concurrent.futures
import contextlib
import os
import pathlib
import signal
import subprocess
import threading
import time

from servers import ENVIRONMENT, BenchError, cpu_of, find

SCRIPT = pathlib.Path(__file__).resolve().parent / "small.lua"
PATIENCE_SECONDS = 300


def measure(server, payload, count, connections):
    """`count` uploads, kept apart by name. They are deleted again, outside of what is measured."""
    prefix = "/uploads" if server.method == "POST" else server.path_of(f"small-{time.monotonic_ns()}-")
    wrk = find("wrk")
    if wrk is None:
        raise BenchError("wrk is not installed; run `bench/upload --install`")
    command = [
        # The script stops at its count; wrk's own clock is only the emergency brake.
        wrk, "--threads", "1", "--connections", str(connections), "--duration", f"{PATIENCE_SECONDS}s",
        "--timeout", "60s", "--script", str(SCRIPT), server.url("/"),
        "--", server.method, prefix, str(count), str(payload),
    ]
    os.sync()
    cpu = server.cpu_seconds()
    client = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        ended = last_line(client)
        cpu = server.cpu_seconds() - cpu
        client_cpu = cpu_of(client.pid)
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


def bare_disk(folder, payload, count, connections):
    """What the disk alone does with the same files, fsyncs and renames as a durable upload, without any server."""
    staging, uploads = folder / "staging", folder / "uploads"
    for path in (staging, uploads):
        path.mkdir(parents=True, exist_ok=True)
    body = payload.read_bytes()
    os.sync()

    def fsync(path):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def upload(number):
        here = staging / str(number)
        here.mkdir()
        for name, content in (("0000.age", body), ("meta.age", body[:1024])):
            with open(here / name, "wb", buffering=0) as file:
                file.write(content)
                os.fdatasync(file.fileno())
        fsync(here)
        here.rename(uploads / str(number))
        fsync(staging)
        fsync(uploads)

    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(connections) as pool:
        for _ in pool.map(upload, range(count)):
            pass
    seconds = time.monotonic() - began
    for path in uploads.iterdir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    return {"uploads_per_s": count / seconds}


def run(bench, servers, folder, durable):
    """Rounds over all servers with their data in `folder`; `durable` adds the bare disk for comparison."""
    options = bench.options
    payload = bench.payload("small", options.file_size)
    with contextlib.ExitStack() as stack:
        contestants = {}
        for server in bench.start(stack, servers, folder):
            contestants[server.name] = lambda server=server: measure(
                server, payload, options.files, options.connections
            )
            bench.attempt(
                server.name, lambda server=server: measure(server, payload, options.connections * 8, options.connections)
            )
        if durable:
            contestants["bare disk"] = lambda: bare_disk(
                folder / "bare", payload, options.files, options.connections
            )
        return bench.interleave(contestants)
