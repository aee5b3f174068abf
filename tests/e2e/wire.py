"""A way to the server that a check slows down, cuts, and takes away while it looks on."""

import asyncio
import contextlib
import math
import socket

from proxy import BLOCK, Cut, Proxy, _on_loop
from sealslot import KIB


# In bytes a second: so slow that an upload is still under way where the check was held up for many seconds.
TRICKLE = 512 * KIB


class Wire(Proxy):
    """A proxy whose connections share `rate`, in bytes a second to the server; None is no bound. `up` and `down` count what
    passed on all of them. Where there is a rate, it is no more than a trickle once `up` is `slower_from`."""

    def __init__(self, target, rate=None):
        super().__init__(target)
        self.rate = rate
        self.up = self.down = 0
        self.slower_from = math.inf
        self.open = set()
        self.next = 0.0  # when the next byte may pass
        self.away = False

    def __enter__(self):
        listener = socket.socket()
        # What waits on the way was sent, for the browser: it has to be little.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.listener = _on_loop(asyncio.start_server(self.accepted, sock=listener, limit=BLOCK))
        return self

    async def connection(self, reader, writer):
        if self.away:
            writer.transport.abort()
            return
        self.open.add(writer)
        try:
            await super().connection(reader, writer)
        finally:
            self.open.discard(writer)

    async def pass_on(self, reader, writer, troubles, passed, direction):
        loop = asyncio.get_running_loop()
        while True:
            rate = self.pace() if direction == 0 else None
            data = await reader.read(max(1, min(BLOCK, int(rate / 50))) if rate else BLOCK)
            if not data:
                with contextlib.suppress(OSError):
                    writer.write_eof()
                return
            if self.away:
                raise Cut("reset")
            writer.write(data)
            await writer.drain()
            passed[direction] += len(data)
            if direction == 0:
                self.up += len(data)
            else:
                self.down += len(data)
            if rate:
                self.next = max(self.next, loop.time()) + len(data) / rate
                await asyncio.sleep(self.next - loop.time())

    def pace(self):
        """The rate of what comes next."""
        rate = self.rate
        return min(rate, TRICKLE) if rate and self.up >= self.slower_from else rate

    def cut(self):
        """Every connection is reset."""

        async def abort():
            for writer in list(self.open):
                writer.transport.abort()

        _on_loop(abort())

    def take_away(self):
        """Cuts, and takes no connection until `give_back`."""
        self.away = True
        self.cut()

    def give_back(self):
        self.away = False
