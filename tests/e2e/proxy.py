"""A TCP proxy on loopback that does to connections what networks do, at byte positions that a seed repeats.

What is done to a connection is a list of `Trouble`s for each direction: `up` to the server, `down` to the client. Each
comes after exactly so many bytes of that direction were passed on.
"""

import asyncio
import collections
import contextlib
import random
import socket
import struct
import threading
from typing import NamedTuple

from sealslot import KIB, MIB

BLOCK = 64 * KIB
# A throttled stretch is this long, in bytes of its direction.
THROTTLED = MIB


class Trouble(NamedTuple):
    """One event. `amount` is in seconds, or in bytes a second where `what` is "slow"."""

    at: int
    what: str
    amount: float = 0


# Both ends get a reset, both get an orderly end, or one gets the one and one the other.
CUTS = ("reset", "end", "reset-client", "reset-server")


class Plan(NamedTuple):
    up: list = ()
    down: list = ()


def clean(_number, _cuts):
    """The plans of a proxy that only passes on."""
    return Plan()


def paced(rate, most=64 * MIB):
    """Plans with so many bytes a second to the server."""
    return lambda _number, _cuts: Plan(up=[Trouble(at, "slow", rate) for at in range(0, most, THROTTLED)])


def cut_after(*cuts, first=0):
    """Plans in which connections, from the one numbered `first`, are cut: `(bytes up, cut)`, each until it has happened."""

    def plan(number, done):
        return Plan(up=[Trouble(*cuts[done])]) if number >= first and done < len(cuts) else Plan()

    return plan


def rough(seed, most_up=8 * MIB, most_down=8 * KIB):
    """Plans by a seed: about half of all connections break or stall, and many of the others are slow."""

    def plan(number, _cuts):
        dice = random.Random(f"{seed}/{number}")
        return Plan(troubles(dice, most_up), troubles(dice, most_down))

    return plan


def troubles(dice, most):
    """What happens in one direction, at positions up to `most`; small ones are as likely as large ones."""

    def position():
        return int(most ** dice.random()) - 1

    found = []
    for _ in range(dice.choice([0, 0, 0, 1, 2])):
        if dice.random() < 0.5:
            found.append(Trouble(position(), "delay", dice.uniform(0.005, 0.2)))
        else:
            found.append(Trouble(position(), "slow", dice.uniform(1, 16) * MIB))
    if dice.random() < 0.3:
        found.append(Trouble(position(), dice.choice(CUTS)))
    elif dice.random() < 0.04:
        found.append(Trouble(position(), "stall", dice.uniform(1, 6)))
    return sorted(found)


class Cut(Exception):
    """Both directions end here, in this way."""


class Proxy:
    """Listens on a free port of loopback and passes on to `target`. A context manager. `plan(number, cuts)` gives the
    `Plan` of the connection with that number, from 0, where so many were cut already. `seen` counts what was done, and
    `passed` has the bytes of each connection, up and down."""

    def __init__(self, target, plan=clean):
        self.target = target
        self.plan = plan
        self.seen = collections.Counter()
        self.passed = []
        self.tasks = set()
        self.defect = None  # of the proxy itself
        self.port = None

    @property
    def cuts(self):
        """How many connections were cut."""
        return sum(self.seen[cut] for cut in CUTS)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def __enter__(self):
        self.listener = _on_loop(asyncio.start_server(self.accepted, "127.0.0.1", 0, limit=BLOCK))
        self.port = self.listener.sockets[0].getsockname()[1]
        return self

    def __exit__(self, failure, *_):
        _on_loop(self.close())
        if failure is None and self.defect:
            raise self.defect

    async def close(self):
        self.listener.close()
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def accepted(self, reader, writer):
        task = asyncio.ensure_future(self.connection(reader, writer))
        self.tasks.add(task)

        def done(_):
            self.tasks.discard(task)
            if not task.cancelled():
                self.defect = self.defect or task.exception()
            writer.transport.abort()  # where it was cancelled before it began

        task.add_done_callback(done)

    async def connection(self, reader, writer):
        self.seen["connections"] += 1
        plan = self.plan(len(self.passed), self.cuts)
        passed = [0, 0]
        self.passed.append(passed)
        how = "reset"
        far_writer = None
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=BLOCK)
            for one in (writer, far_writer):
                one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # What is in flight when a cut comes is little, so that the positions mean something.
                one.transport.set_write_buffer_limits(high=BLOCK)
            await both(
                self.pass_on(reader, far_writer, plan.up, passed, 0),
                self.pass_on(far_reader, writer, plan.down, passed, 1),
            )
            how = "end"
        except Cut as cut:
            how = str(cut)
            self.seen[how] += 1
        except OSError:
            self.seen["broken by an end" if far_writer else "refused"] += 1
        finally:
            # Not awaited before both have their reset.
            ends = [finish(writer, how in ("reset", "reset-client"))]
            if far_writer:
                ends.append(finish(far_writer, how in ("reset", "reset-server")))
            await asyncio.gather(*filter(None, ends))

    async def pass_on(self, reader, writer, troubles, passed, direction):
        """One direction, until it ends or a cut comes."""
        position = 0
        slow = None  # bytes a second, and where that ends
        for trouble in [*troubles, None]:
            while trouble is None or position < trouble.at:
                most = BLOCK if trouble is None else min(BLOCK, trouble.at - position)
                if slow and position >= slow[1]:
                    slow = None
                if slow:
                    most = min(most, max(1, int(slow[0] / 50)))
                data = await reader.read(most)
                if not data:
                    with contextlib.suppress(OSError):
                        writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()
                position += len(data)
                passed[direction] = position
                if slow:
                    await asyncio.sleep(len(data) / slow[0])
            if trouble.what in CUTS:
                raise Cut(trouble.what)
            self.seen[trouble.what] += 1
            if trouble.what == "slow":
                slow = (trouble.amount, position + THROTTLED)
            else:
                await asyncio.sleep(trouble.amount)


async def both(*directions):
    """Waits for both directions, or for the first that fails; then the other one is ended too."""
    tasks = [asyncio.ensure_future(one) for one in directions]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def finish(writer, reset):
    """Ends one side. An orderly end needs a moment: it gives what is to be awaited."""
    if reset:
        # Gone already: then there is nothing to reset.
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return None
    return close_in_order(writer)


async def close_in_order(writer):
    # Closed at once, with bytes that were not read yet, it would be a reset.
    try:
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()
        await asyncio.sleep(0.1)
    finally:
        # Always: what is left for the garbage collector takes a socket away from whoever has its number by then.
        writer.transport.abort()


def _on_loop(work):
    """Does work on the one loop that all proxies share, in a thread of its own."""
    return asyncio.run_coroutine_threadsafe(work, _loop).result(30)


_loop = asyncio.new_event_loop()
threading.Thread(target=_loop.run_forever, daemon=True, name="proxies").start()
