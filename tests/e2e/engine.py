"""What all S3-compatible engines of the checks share: processes on free ports of loopback, that end by SIGKILL only, and a bucket."""

import http.client
import os
import secrets
import signal
import subprocess
import time
from pathlib import Path

from s3 import Bucket, Keys
from sealslot import Failed, expect, free_port

BUCKET = "slots"
# In seconds: what an engine may take to come up on a machine that has much else to do.
PATIENCE = 180


class Part:
    """One process of an engine. It comes back on the same ports, with the same data."""

    def __init__(self, name, folder, argv, environment):
        self.name, self.folder, self.environment = name, folder, environment
        self.argv = [str(word) for word in argv]
        self.log = folder.with_name(f"{folder.name}.out")
        self.process = None

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.argv, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(30)

    def expect_alive(self):
        expect(self.process.poll() is None, f"{self.name} ended: {self.log.read_text(errors='replace')[-600:]}")

    def peak(self):
        """Its peak of resident memory, in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])


class Engine:
    """A context manager: inside, a PUT and a GET work. `certs` is a folder as `sealslot certs` makes it: then the S3 gateway speaks TLS."""

    door = None  # the name of the part that all requests go through
    # What it does without, by the names in a server's log.
    lacks = frozenset()

    def __init__(self, folder, certs=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.certs = certs
        self.keys = Keys("sealslot", secrets.token_hex(20))
        self.s3_port = free_port()
        self.parts = {}
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

    def add(self, name, argv, environment):
        self.parts[name] = Part(name, self.folder / name, argv, environment)
        return self.parts[name]

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # Those that others need were started first.
        for part in reversed(list(self.parts.values())):
            part.kill()
        self.bucket.close()

    def start(self):
        """Starts all of it, and waits until it is ready."""
        raise NotImplementedError

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
        raise Failed(f"the engine is not ready within {patience} s: {last}")

    def kill(self, name):
        """Ends a part as a crash would."""
        self.parts[name].kill()

    def restart(self, name):
        """Starts a part again that was killed."""
        self.parts[name].start()

    def pause(self, name):
        """Stops a part in its tracks: its connections stay, and it answers nothing."""
        os.kill(self.parts[name].process.pid, signal.SIGSTOP)

    def resume(self, name):
        os.kill(self.parts[name].process.pid, signal.SIGCONT)

    def peak(self):
        """The peaks of resident memory of all its parts together, in KiB."""
        return sum(part.peak() for part in self.parts.values())
