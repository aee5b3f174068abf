"""Takes requests on a UNIX socket, throws their bodies away and answers 201: what a proxy that is measured passes them on to."""

import asyncio
import sys


class Sink(asyncio.BufferedProtocol):
    def connection_made(self, transport):
        self.transport = transport
        self.buffer = bytearray(1 << 20)
        self.head = b""
        self.left = None

    def get_buffer(self, _):
        return self.buffer

    def buffer_updated(self, size):
        if self.left is None:
            self.head += self.buffer[:size]
            head, end, rest = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            lines = head.lower().split(b"\r\n")
            self.left = sum(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")) - len(rest)
        else:
            self.left -= size
        if self.left == 0:
            self.transport.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
            self.left, self.head = None, b""


async def main():
    server = await asyncio.get_running_loop().create_unix_server(Sink, sys.argv[1])
    await server.serve_forever()


asyncio.run(main())
