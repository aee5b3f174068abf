"""A client that means well, beside others that do not."""

import contextlib
import threading
import time

from sealslot import MIB, expect

# The longest that it may have to wait, in seconds, on a machine that has much else to do.
PATIENCE = 10
# By how much the server may grow meanwhile, in bytes.
GROWTH = 128 * MIB


class Honest(threading.Thread):
    """Does `ask` again and again, with a pause, for as long as the block takes that it is the context of; and keeps the longest time
    that it took. It ends with the first failure, which is `error` then."""

    def __init__(self, ask, pause):
        super().__init__(daemon=True)
        self.ask, self.pause, self.ended = ask, pause, threading.Event()
        self.worst, self.count, self.error = 0.0, 0, None

    def run(self):
        while not self.ended.is_set():
            began = time.monotonic()
            try:
                self.ask()
            except Exception as error:  # told by `expect_served`
                self.error = error
                return
            self.worst = max(self.worst, time.monotonic() - began)
            self.count += 1
            self.ended.wait(self.pause)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join(60)

    def expect_served(self, least=1):
        """Holds the server to it, once the block is over."""
        expect(self.error is None, f"an honest client got no answer: {self.error!r}")
        expect(self.count >= least and self.worst < PATIENCE, f"{self.count} answers, the longest took {self.worst:.1f} s")


@contextlib.contextmanager
def beside(server, note, ask, pause):
    """Has an honest client ask beside the block. It is held to its time, and the server's memory to its bound."""
    memory = server.memory("VmRSS")
    with Honest(ask, pause) as honest:
        yield
    peak = server.memory("VmHWM")
    note(f"worst answer {honest.worst * 1000:.0f} ms of {honest.count}")
    note(f"memory {memory / 1024:.0f} to {peak / 1024:.0f} MiB")
    honest.expect_served()
    expect((peak - memory) * 1024 < GROWTH, f"grew from {memory} to {peak} KiB")
