"""A storm of senders at one upload link: who they are, what they share, and what the link may say to them."""

import json
import threading
import time

from attempts import Body, Concatenated, Draft, Form, Tus
from link import Broken
from sealslot import KIB, MIB, Failed, expect
from way import Expired, Left, Refused, Way

# What a link may say to somebody who hands in, by status. A page says it without the code.
REFUSALS = {
    403: {"link-used-up"}, 410: {"link-expired", "link-revoked"}, 413: {"link-bytes-used-up", "too-large"},
}


class Storm:
    """What the senders of one storm share: the link, its account, and what became of it so far."""

    def __init__(self, server, account, lifetime):
        self.server = server
        self.account = account
        self.link = account.link
        self.lifetime = lifetime
        self.context = server.context()
        self.ending = threading.Event()  # nobody begins anew
        self.revoked = None  # when the answer to it was there; nothing is taken of what begins later
        self.revoking = False
        self.held = []  # connections that stand still
        self.left = []  # upload URLs whose clients will not come back, with the headers of their protocol
        self.orphans = 0  # uploads that may have been created, and whose URL never arrived
        self.lock = threading.Lock()

    def leave(self, *sessions):
        with self.lock:
            self.left += sessions

    def orphan(self, digest):
        """There may be an upload that holds it, and its client begins another one."""
        with self.lock:
            self.orphans += 1
            self.account.begun_again.add(digest)

    def hold(self, way):
        with self.lock:
            self.held.append(way)

    def expect_in_time(self, began, what, creation=True):
        """Something was taken that began then, on the clock of `Way.began`."""
        begun = f"{what} was taken, and it began"
        if self.revoked is not None and began[0] > self.revoked:
            raise Failed(f"{begun} {began[0] - self.revoked:.2f} s after the link was revoked")
        expires = self.link.limits.expires
        if creation and expires is not None and began[1] > expires + 0.1:
            raise Failed(f"{begun} {began[1] - expires:.2f} s after the link had expired")

    def refuse(self, answer, sizes):
        """Raises what a refusal means; an answer that no link gives is a finding. `sizes` are those of the files."""
        if "text/html" in (answer.headers["Content-Type"] or "") or not answer.body:
            expect(answer.status in REFUSALS, f"an answer that nothing explains: {answer}")
            raise Refused(f"{answer.status}, without a code")
        code = answer.problem().get("code")
        expect(code in REFUSALS.get(answer.status, ()), f"an answer that nothing explains: {answer}")
        limits = self.link.limits
        explained = {
            "link-bytes-used-up": limits.bytes is not None,
            "too-large": limits.file is not None and max(sizes, default=0) > limits.file,
            "link-revoked": self.revoking,
            "link-expired": limits.expires is not None and time.time() > limits.expires - 0.1,
        }
        expect(explained.get(code, True), f"{code}, and nothing explains it: {answer}")
        raise Refused(code)


FATES = ("finish", "vanish", "abandon", "cancel", "stall")
KINDS = ("form", "forms", "fields", "body", "tus", "concatenated", "draft")


def attempt(storm, way, dice, kind, fate, size):
    """An upload of that kind. `size()` gives the size of a file; every file is another one."""

    def made(text):
        fields = [{"name": name, "value": f"{text} {dice.getrandbits(64):x} {'x' * dice.randrange(200)}"} for name in ("note", "case")]
        return json.dumps({"fields": fields[: dice.choice([1, 2])]}, separators=(",", ":")).encode()

    files = [dice.randbytes(size()) for _ in range(dice.choice([2, 2, 3, 5]) if kind == "forms" else 1)]
    if kind == "fields":
        # Alone: of a form without a file, or of a page that sends them apart.
        return dice.choice([Form, Body])(storm, way, dice, fate, [], [made("alone")])
    if kind in ("form", "forms"):
        return Form(storm, way, dice, fate, files, [made("for Ms Kim")] if dice.random() < 0.5 else [])
    kinds = {"body": Body, "tus": Tus, "concatenated": Concatenated, "draft": Draft}
    return kinds[kind](storm, way, dice, fate, files)


class Sender:
    """One client, from when it comes to when it has what it wants, or enough."""

    def __init__(self, storm, dice, size):
        self.storm = storm
        self.dice = dice
        self.size = size
        self.comes = dice.choice([0, dice.uniform(0, 0.5), dice.uniform(0, 3)])
        self.patience = dice.choice([0, 1, 2, 4, 8])  # how often it tries again
        self.kinds = [dice.choices(KINDS, [4, 2, 1, 6, 5, 3, 4])[0] for _ in range(self.patience + 1)]

    def run(self):
        account = self.storm.account
        self.storm.ending.wait(self.comes)
        for kind in self.kinds:
            if self.storm.ending.is_set() or account.over.is_set():
                return
            fate = self.dice.choices(FATES, [11, 3, 2, 2, 1])[0]
            way = Way(self.storm, self.dice)
            try:
                attempt(self.storm, way, self.dice, kind, fate, self.size).run()
                return
            except Refused as refused:
                account.count_refusal(refused.code)
                if refused.code in ("link-revoked", "link-expired"):
                    return
            except (Left, Broken, Expired) as end:
                if not isinstance(end, Left):
                    account.count(f"ended: {type(end).__name__}".lower())
                if self.dice.random() < 0.3:
                    return
            finally:
                way.close()
            self.storm.ending.wait(self.dice.uniform(0.05, 0.8))


def sizes(dice, limits):
    """Gives sizes: a small one as likely as a large one, never one that two files could have in common with their bytes."""
    most = 4 * MIB if limits.bytes is None or limits.bytes > 16 * MIB else 256 * KIB
    if limits.file and dice.random() < 0.9:
        most = min(most, limits.file - 16)
    return lambda: 16 + int(most ** dice.random())
