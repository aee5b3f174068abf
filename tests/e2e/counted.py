"""What a server over a bucket asks of its engine, as it counts it itself, and a table of it."""

import re

from sealslot import expect

COUNTED = re.compile(r'^sealslot_store_requests_total\{kind="(\w+)"\} (\d+)$', re.M)


class Asked:
    """Requests of a server to its engine."""

    def __init__(self, server):
        self.server, self.total = server, {}
        self.since()

    def since(self):
        """Those since this was asked the last time, by kind."""
        status, _, answer = self.server.request("GET", "/metrics", admin=True)
        expect(status == 200, f"the metrics were answered {status}")
        now = {kind: int(count) for kind, count in COUNTED.findall(answer.decode())}
        expect(now, "the metrics do not count what the engine is asked for")
        since = {kind: count - self.total.get(kind, 0) for kind, count in now.items()}
        self.total = now
        return {kind: count for kind, count in since.items() if count}


class Table:
    """What was measured."""

    def __init__(self):
        self.rows = [("", "seconds", "CPU s", "requests", "of these")]

    def add(self, what, seconds, requests, cpu=None):
        kinds = ", ".join(f"{count:,.1f} {kind}".replace(".0 ", " ") for kind, count in sorted(requests.items()) if count)
        total = f"{sum(requests.values()):,.1f}".removesuffix(".0")
        self.rows.append((what, f"{seconds:.4f}", "" if cpu is None else f"{cpu:.4f}", total, kinds))

    def print(self):
        widths = [max(len(row[column]) for row in self.rows) for column in range(len(self.rows[0]))]
        for row in self.rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip(), flush=True)
