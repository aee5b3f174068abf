"""Ceph RGW 16.2 on free ports of loopback, from Debian's packages radosgw, ceph-mon and ceph-osd: one monitor, one OSD with a
sparse file for a disk, and one gateway. Pools of one copy, which no real cluster should have. Its parts end by SIGKILL only.

Without `tcp_nodelay` the gateway's small answers wait 40 ms for the client's acknowledgement of their beginning."""

import json
import subprocess
import uuid

from engine import PATIENCE, Engine
from sealslot import ENVIRONMENT, GIB, MIB, expect, free_ports, tool

SCRUBBED = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(("AWS_", "CEPH_"))}
# OSDs take eight ports of a range, where they find them free.
OSD_PORTS = 40


class Ceph(Engine):
    """The parts are "mon", "osd" and "rgw"."""

    door = "rgw"
    # It refuses `If-Match` with quotation marks, which a server finds out and leaves away.
    lacks = frozenset()

    def __init__(self, folder, disk=16 * GIB):
        super().__init__(folder)
        self.programs = {name: tool(name) for name in ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")}
        self.fsid, self.monitor, self.osd_ports = str(uuid.uuid4()), free_ports(0, 1), free_ports(*range(OSD_PORTS))
        self.conf, self.keyring = self.folder / "ceph.conf", self.folder / "keyring"
        self.conf.write_text(self.configuration(disk))
        for name, program, own in (("mon", "ceph-mon", ["-i", "a"]), ("osd", "ceph-osd", ["-i", "0"]), ("rgw", "radosgw", ["-n", "client.rgw"])):
            self.add(name, [self.programs[program], "-c", self.conf, *own, "-f"], SCRUBBED)

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
            f"--secret-key={self.keys.secret}",
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

    def run(self, program, *argv, stdin="", timeout=PATIENCE):
        """Runs one of Ceph's commands to its end, and gives what it printed."""
        argv = [self.programs[program], *(str(word) for word in argv)]
        if program not in ("ceph-authtool", "monmaptool"):
            argv[1:1] = ["-c", str(self.conf)]
        done = subprocess.run(argv, input=stdin, cwd=self.folder, env=SCRUBBED, capture_output=True, text=True, timeout=timeout, check=False)
        expect(done.returncode == 0, f"{program}: exit {done.returncode}: {done.stderr.strip()[-600:]}")
        return done.stdout
