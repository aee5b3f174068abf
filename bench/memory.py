"""Resident memory: of a large upload alone, of idle connections, of slow uploads, and of everything at once."""

import asyncio
import contextlib
import functools
import os
import shutil
import ssl
import time

import large

# Both kinds of slow uploads send 1 KiB each `SLOW_PAUSE` seconds, a little more than Sealslot asks for (`min-speed`): one after it
# has sent 256 KiB as fast as it could, which fill whatever a server keeps for an upload, the other from its first byte on.
BURST = 256 << 10
SLOW_STEP = 1 << 10
SLOW_PAUSE = 0.9
SETTLE_SECONDS = 4  # a few steps
QUICK_SETTLE_SECONDS = 1


class Crowd:
    """Connections that are held open, and opened again where the server ends them."""

    def __init__(self, server):
        self.server = server
        self.context = ssl.create_default_context(cafile=server.bench.certificates / "ca.pem")
        self.handshakes = asyncio.Semaphore(32)
        self.tasks = []
        self.settle = QUICK_SETTLE_SECONDS if server.bench.options.quick else SETTLE_SECONDS
        self.behaviours = {
            "idle": self._idle,
            "burst": functools.partial(self._slow, BURST),
            "trickle": functools.partial(self._slow, 0),
        }
        self.open = dict.fromkeys(self.behaviours, 0)
        self.reopened = 0

    async def add(self, kind, count):
        """So many more, once all of them are open and have been so for a while."""
        self.tasks += [asyncio.create_task(self._keep(self.behaviours[kind], number)) for number in range(count)]
        await self._wait_for(kind, count)

    async def _wait_for(self, kind, count, seconds=120):
        for _ in range(seconds * 10):
            if self.open[kind] >= count:
                await asyncio.sleep(self.settle)
                return
            await asyncio.sleep(0.1)
        raise self.server.failure(f"held {self.open[kind]} of {count} {kind} connections")

    async def leave(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _keep(self, behaviour, number):
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
            self.reopened += 1
            await asyncio.sleep(0.5)

    async def _idle(self, reader, writer, _number):
        # Idle as a browser or a pool leaves it: kept alive after an answered request.
        writer.write(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        with self._counted("idle"):
            await reader.read(1)

    async def _slow(self, burst, reader, writer, number):
        method = self.server.method
        path = "/uploads" if method == "POST" else self.server.path_of(f"slow-{burst}-{number}")
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {1 << 30}\r\n\r\n".encode()
        )
        writer.write(bytes(burst))
        await writer.drain()
        with self._counted("burst" if burst else "trickle"):
            while True:
                try:
                    # An answer, or the end, before the body has ended is a refusal.
                    await asyncio.wait_for(reader.read(1024), SLOW_PAUSE)
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


async def of_slow(server, kind, count):
    """What slow uploads of one kind take, by themselves."""
    crowd, empty = Crowd(server), server.resident_kib()
    try:
        await crowd.add(kind, count)
        return {f"{kind}_kib_each": (server.resident_kib() - empty) / max(count, 1)}
    finally:
        await crowd.leave()


async def of_all(server, payload, idle, slow):
    """Idle connections first, then slow uploads after a burst, then the large one beside both."""
    crowd, empty = Crowd(server), server.resident_kib()
    try:
        await crowd.add("idle", idle)
        with_idle = server.resident_kib()
        await crowd.add("burst", slow)
        await asyncio.to_thread(large.upload, server, payload)
        held = dict(crowd.open)
    finally:
        await crowd.leave()
    return {
        "start_mib": empty / 1024,
        "idle_kib_each": (with_idle - empty) / max(idle, 1),
        "peak_all_mib": server.peak_kib() / 1024,
        "held_idle": held["idle"],
        "held_slow": held["burst"],
        "reopened": crowd.reopened,
    }


def measure(bench, kind, payload, warm_up):
    """A fresh process for each part, so that what an allocator keeps from one is not counted in another."""
    idle, slow = bench.options.idle, bench.options.slow
    parts = {
        "alone": lambda server: {"peak_alone_mib": large.measure(server, payload)["peak_mib"]},
        "trickle": lambda server: asyncio.run(of_slow(server, "trickle", slow)),
        "burst": lambda server: asyncio.run(of_slow(server, "burst", slow)),
        "all": lambda server: asyncio.run(of_all(server, payload, idle, slow)),
    }
    results = {}
    for part, action in parts.items():
        folder = bench.disk / f"memory-{part}-{time.monotonic_ns()}"
        with kind(bench, folder / kind.name) as server:
            bench.negotiated[kind.name] = server.negotiated()
            large.measure(server, warm_up)
            results |= action(server)
        shutil.rmtree(folder)
        os.sync()
    return results


def run(bench, kinds):
    payload = bench.payload("large", int(bench.options.size * large.GIB))
    warm_up = bench.payload("small", 4096)
    contestants = {("memory", kind.name): functools.partial(measure, bench, kind, payload, warm_up) for kind in kinds}
    return bench.interleave(contestants, 1 if bench.options.quick else None)
