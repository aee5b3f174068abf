"""One run: its folders and payloads, its interleaved rounds, and what failed in it."""

import os
import shlex
import shutil
import subprocess
import sys

from servers import BenchError

PIECE = 1 << 20


class Bench:
    """What every scenario is given."""

    def __init__(self, options, disk, tmpfs):
        self.options = options
        self.disk = disk
        self.tmpfs = tmpfs
        self.sealslot = options.sealslot.resolve()
        self.sealslot_arguments = shlex.split(options.sealslot_args)
        self.certificates = disk / "certificates"
        self.negotiated = {}
        self.failures = []

    def payload(self, name, size):
        """A file of random bytes, made once and then in the page cache."""
        path = self.disk / f"payload-{name}"
        if not path.exists():
            room = shutil.disk_usage(self.disk).free
            if room < 3 * size:
                raise BenchError(f"{self.disk} has {room >> 30} GiB free; choose a larger disk with --work")
            with open(path, "wb") as file:
                for offset in range(0, size, PIECE):
                    file.write(os.urandom(min(PIECE, size - offset)))
        return path

    def start(self, stack, kinds, folder):
        """Starts each server in a folder of its own; one that does not start, or does not speak as
        the others do, is a failure of the run, not its end."""
        for kind in kinds:
            server = self.attempt(kind.name, lambda: stack.enter_context(kind(self, folder / kind.name)))
            agreed = server and self.attempt(kind.name, server.negotiated)
            if agreed:
                self.negotiated[kind.name] = agreed
                yield server

    def attempt(self, contestant, action):
        """The action's result, or None with the failure written down."""
        try:
            return action()
        except (BenchError, OSError, subprocess.SubprocessError) as error:
            self.failures.append(f"{contestant}: {error}")
            note(f"  {contestant}: {error}")
            return None

    def interleave(self, contestants, rounds=None):
        """Every contestant once a round, each round beginning with another; one that fails sits out the rest.

        `contestants` has an action for each pair of a scenario and a server; so have the results, with a list of values for each
        metric, one value a round.
        """
        results = {}
        running = list(contestants)
        for number in range(rounds or self.options.rounds):
            note(f"  round {number + 1} of {rounds or self.options.rounds}")
            first = number % max(len(running), 1)
            for key in running[first:] + running[:first]:
                scenario, name = key
                values = self.attempt(f"{name}, {scenario}", contestants[key])
                if values is None:
                    running.remove(key)
                    results.get(scenario, {}).pop(name, None)
                    continue
                row = results.setdefault(scenario, {}).setdefault(name, {})
                for metric, value in values.items():
                    row.setdefault(metric, []).append(value)
        # In the order that they were given in, not in that of the round in which they came first.
        ordered = {}
        for scenario, name in contestants:
            if name in results.get(scenario, {}):
                ordered.setdefault(scenario, {})[name] = results[scenario][name]
        return ordered


def note(text):
    print(text, file=sys.stderr, flush=True)
