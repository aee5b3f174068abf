"""Resident memory: with a large upload alone, with idle connections alone, and with everything at once."""

import asyncio
import contextlib
import os
import ssl

import large
from servers import ENVIRONMENT, BenchError

SLOW_BURST = 256 << 10  # fills whatever buffers a server keeps for an upload
SLOW_STEP = 4 << 10  # and then 4 KiB a second
SETTLE_SECONDS = 2


class Crowd:
    """Connections that are held open, and opened again where the server ends them."""

    def __init__(self, server):
        self.server = server
        self.context = ssl.create_default_context(cafile=server.bench.certificates / "ca.pem")
        self.handshakes = asyncio.Semaphore(32)
        self.tasks = []
        self.open = {"idle": 0, "slow": 0}
        self.reopened = {"idle": 0, "slow": 0}

    def add(self, kind, count):
        behaviour = {"idle": self._idle, "slow": self._slow}[kind]
        self.tasks += [asyncio.create_task(self._keep(kind, behaviour, number)) for number in range(count)]

    async def wait_for(self, kind, count, seconds=120):
        for _ in range(seconds * 10):
            if self.open[kind] >= count:
                await asyncio.sleep(SETTLE_SECONDS)
                return
            await asyncio.sleep(0.1)
        raise self.server.failure(f"held {self.open[kind]} of {count} {kind} connections")

    async def leave(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _keep(self, kind, behaviour, number):
        while True:
            writer = None
            try:
                async with self.handshakes:
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", self.server.port, ssl=self.context, ssl_handshake_timeout=60
                    )
                await behaviour(reader, writer, number)
            except (OSError, EOFError, asyncio.TimeoutError):
                pass
            finally:
                if writer is not None:
                    writer.transport.abort()
            self.reopened[kind] += 1
            await asyncio.sleep(0.5)

    async def _idle(self, reader, writer, _number):
        # Idle as a browser or a pool leaves it: kept alive after an answered request.
        writer.write(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        with self._counted("idle"):
            await reader.read(1)

    async def _slow(self, reader, writer, number):
        method = self.server.method
        path = "/uploads" if method == "POST" else self.server.path_of(f"slow-{number}")
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {1 << 30}\r\n\r\n".encode()
        )
        writer.write(bytes(SLOW_BURST))
        await writer.drain()
        with self._counted("slow"):
            while True:
                try:
                    # An answer, or the end, before the body has ended is a refusal.
                    await asyncio.wait_for(reader.read(1024), 1)
                    return
                except asyncio.TimeoutError:
                    writer.write(bytes(SLOW_STEP))
                    await writer.drain()

    @contextlib.contextmanager
    def _counted(self, kind):
        self.open[kind] += 1
        try:
            yield
        finally:
            self.open[kind] -= 1


async def upload(server, payload):
    """The large upload, beside the crowd."""
    curl = await asyncio.create_subprocess_exec(
        *large.curl(server, payload), env=ENVIRONMENT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )
    try:
        stdout, stderr = await curl.communicate()
    except asyncio.CancelledError:
        curl.kill()
        await curl.wait()
        raise
    large.check(server, payload, False, curl.returncode, stdout.decode(), stderr.decode())


async def crowded(server, payload, idle, slow):
    """Idle connections first, then slow uploads, then the large one beside both."""
    empty = server.resident_kib()
    crowd = Crowd(server)
    try:
        crowd.add("idle", idle)
        await crowd.wait_for("idle", idle)
        with_idle = server.resident_kib()
        crowd.add("slow", slow)
        await crowd.wait_for("slow", slow)
        with_slow = server.resident_kib()
        await upload(server, payload)
        held = dict(crowd.open)
    finally:
        await crowd.leave()
    return {
        "start_mib": empty / 1024,
        "idle_kib_each": (with_idle - empty) / max(idle, 1),
        "slow_kib_each": (with_slow - with_idle) / max(slow, 1),
        "peak_all_mib": server.peak_kib() / 1024,
        "held_idle": held["idle"],
        "held_slow": held["slow"],
        "reopened": sum(crowd.reopened.values()),
    }


def measure(bench, kind, payload, warm_up):
    """Two fresh processes, so that what an allocator keeps from one part is not counted in the other."""
    results = {}
    for part in ("alone", "crowded"):
        with contextlib.ExitStack() as stack:
            started = list(bench.start(stack, [kind], bench.disk / f"memory-{part}"))
            if not started:
                raise BenchError(f"{kind.name} did not start")
            server = started[0]
            if part == "alone":
                results["peak_alone_mib"] = large.measure(server, payload)["peak_mib"]
                continue
            large.measure(server, warm_up)
            results |= asyncio.run(crowded(server, payload, bench.options.idle, bench.options.slow))
            server.clear()
    os.sync()
    return results


def run(bench, servers):
    payload = bench.payload("large", int(bench.options.size * large.GIB))
    warm_up = bench.payload("warm-up-small", 4096)
    results = {}
    for kind in servers:
        values = bench.attempt(kind.name, lambda kind=kind: measure(bench, kind, payload, warm_up))
        if values is not None:
            results[kind.name] = {metric: [value] for metric, value in values.items()}
    return results
