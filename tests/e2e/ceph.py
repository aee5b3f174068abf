"""Ceph RGW 16.2 on free ports of loopback, from Debian's packages radosgw, ceph-mon and ceph-osd: one monitor, one OSD with a
sparse file for a disk, and one gateway. Pools of one copy, which no real cluster should have. Its parts end by SIGKILL only.

Without `tcp_nodelay` the gateway's small answers wait 40 ms for the client's acknowledgement of their beginning."""

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

from s3 import Bucket, Keys
from sealslot import ENVIRONMENT, GIB, MIB, Failed, expect, free_port, tool

BUCKET = "slots"
# What a part, and then the whole, may take to come up on a machine that has much else to do.
PATIENCE = 90
SCRUBBED = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(("AWS_", "CEPH_"))}
# OSDs take eight ports of a range, where they find them free.
OSD_PORTS = 40


def first_of_free(count):
    """The first of so many ports in a row that are free."""
    for _ in range(200):
        first = free_port()
        with contextlib.suppress(OSError, OverflowError), contextlib.ExitStack() as listeners:
            for port in range(first, first + count):
                listener = listeners.enter_context(socket.socket())
                listener.bind(("127.0.0.1", port))
            return first
    raise Failed("no free ports in a row")


class Ceph:
    """A context manager: inside, a PUT and a GET work. The parts are "mon", "osd" and "rgw"."""

    door = "rgw"  # the name of the part that all requests go through

    def __init__(self, folder, disk=16 * GIB):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.programs = {name: tool(name) for name in ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")}
        self.keys = Keys("sealslot", secrets.token_hex(20))
        self.s3_port = free_port()
        self.processes = {}
        self.bucket = Bucket(self.endpoint, BUCKET, self.keys)
        self.fsid, self.monitor, self.osd_ports = str(uuid.uuid4()), first_of_free(2), first_of_free(OSD_PORTS)
        self.conf, self.keyring = self.folder / "ceph.conf", self.folder / "keyring"
        self.conf.write_text(self.configuration(disk))

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.s3_port}"

    def url(self, prefix):
        """What `--store` takes."""
        return f"s3://{BUCKET}/{prefix}"

    @property
    def environment(self):
        """What a server's environment needs."""
        return {
            "AWS_ACCESS_KEY_ID": self.keys.access, "AWS_SECRET_ACCESS_KEY": self.keys.secret, "AWS_REGION": self.keys.region,
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    @property
    def addresses(self):
        return f"[v2:127.0.0.1:{self.monitor},v1:127.0.0.1:{self.monitor + 1}]"

    def configuration(self, disk):
        return f"""\
[global]
fsid = {self.fsid}
mon host = {self.addresses}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind port min = {self.osd_ports}
ms bind port max = {self.osd_ports + OSD_PORTS - 1}
run dir = {self.folder}
admin socket = {self.folder}/$name.sock
log file = {self.folder}/$name.log
crash dir = {self.folder}/crash
keyring = {self.keyring}
pid file =
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
mon data avail warn = 1
mon data avail crit = 1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = bluestore
bluestore block size = {disk}
osd memory target = {896 * MIB}
rgw frontends = beast endpoint=127.0.0.1:{self.s3_port} tcp_nodelay=1
rgw dns name = 127.0.0.1
rgw data = {self.folder}/rgw
[mon.a]
mon data = {self.folder}/mon
[osd.0]
osd data = {self.folder}/osd
"""

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in reversed(list(self.processes)):
            self.kill(name)
        self.bucket.close()

    def start(self):
        for name in ("mon", "osd", "rgw", "crash"):
            (self.folder / name).mkdir()
        self.make_keys()
        monmap = self.folder / "monmap"
        self.run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", self.addresses, monmap)
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", self.keyring)
        self.restart("mon")
        self.make_osd()
        self.restart("osd")
        # It makes the pools of the gateway as well, and waits for them.
        self.run(
            "radosgw-admin", "user", "create", "--uid=sealslot", "--display-name=sealslot", f"--access-key={self.keys.access}",
            f"--secret-key={self.keys.secret}", timeout=PATIENCE,
        )
        self.restart("rgw")
        self.wait_ready()

    def make_keys(self):
        everything = ["--cap", "mon", "allow *", "--cap", "osd", "allow *"]
        # What the monitor is going to compare those of an OSD with.
        osd = ["--cap", "mon", "allow profile osd", "--cap", "osd", "allow *", "--cap", "mgr", "allow profile osd"]
        self.keyring.touch(mode=0o600)
        for name, abilities in (("mon.", everything[:3]), ("client.admin", everything), ("client.rgw", everything), ("osd.0", osd)):
            self.run("ceph-authtool", self.keyring, "--gen-key", "-n", name, *abilities)

    def make_osd(self):
        own = str(uuid.uuid4())
        key = self.run("ceph-authtool", self.keyring, "-n", "osd.0", "-p").strip()
        self.run("ceph", "osd", "new", own, "-i", "-", stdin=json.dumps({"cephx_secret": key}))
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", own)

    def run(self, program, *argv, stdin="", timeout=60):
        """Runs one of Ceph's commands to its end, and gives what it printed."""
        argv = [self.programs[program], *(str(word) for word in argv)]
        if program not in ("ceph-authtool", "monmaptool"):
            argv[1:1] = ["-c", str(self.conf)]
        done = subprocess.run(argv, input=stdin, cwd=self.folder, env=SCRUBBED, capture_output=True, text=True, timeout=timeout, check=False)
        expect(done.returncode == 0, f"{program}: exit {done.returncode}: {done.stderr.strip()[-600:]}")
        return done.stdout

    def restart(self, name):
        """Starts a part, also again."""
        program, own = {"mon": ("ceph-mon", ["-i", "a"]), "osd": ("ceph-osd", ["-i", "0"]), "rgw": ("radosgw", ["-n", "client.rgw"])}[name]
        with open(self.folder / f"{name}.out", "ab") as log:
            self.processes[name] = subprocess.Popen(
                [self.programs[program], "-c", self.conf, *own, "-f"],
                cwd=self.folder, env=SCRUBBED, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def kill(self, name):
        """Ends a part as a crash would."""
        process = self.processes[name]
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(30)

    def pause(self, name):
        """Stops a part in its tracks: its connections stay, and it answers nothing."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name):
        self.processes[name].send_signal(signal.SIGCONT)

    def wait_ready(self, patience=PATIENCE):
        """Waits until a PUT and a GET work."""
        deadline, last = time.monotonic() + patience, None
        content = secrets.token_bytes(64)
        while time.monotonic() < deadline:
            for name, process in self.processes.items():
                expect(process.poll() is None, f"{name} of Ceph ended: {self.said(name)}")
            try:
                self.bucket.create()
                self.bucket.put("ready", content)
                if self.bucket.get("ready") == content:
                    self.bucket.delete("ready")
                    return
            except (OSError, http.client.HTTPException, Failed) as error:
                last = error
            time.sleep(0.2)
        raise Failed(f"Ceph is not ready within {patience} s: {last}")

    def said(self, name):
        return (self.folder / f"{name}.out").read_text(errors="replace")[-600:]

    def peak(self):
        """The peaks of resident memory of all its parts together, in KiB."""
        total = 0
        for process in self.processes.values():
            status = Path(f"/proc/{process.pid}/status").read_text()
            total += int(status.partition("VmHWM:")[2].split()[0])
        return total
