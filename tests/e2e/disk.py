"""A disk whose power can be cut: ext4 on a loop device over nbdfuse over nbdkit, whose cache plays the disk's own.

    ext4 -> /dev/loopN -> nbdfuse -> nbdkit --filter=cache cache=writeback -> image

What is written stays in nbdkit's cache until the file system asks for a flush, which is what fsync comes to. SIGKILL
to nbdkit loses the cache, as a power cut does; a fresh nbdkit on the same image is the disk after it. Nothing but
fsync may flush meanwhile, so the journal is committed every ten minutes and not every five seconds, and files get no
flush for being renamed over others. Needs root; whatever happens, what was mounted and started here is taken away.
"""

import os
import resource
import signal
import subprocess
import time

from sealslot import Failed, expect, run, tool

MOUNT_OPTIONS = "commit=600,noauto_da_alloc"
# The smallest block that the cache knows: what is torn off is small.
CACHE = ["--filter=cache", "file"], ["cache=writeback", "cache-min-block-size=4096"]


class Disk:
    """Such a disk of `size` bytes, mounted at `path`. Everything about it lies in `folder`. A context manager."""

    def __init__(self, folder, size):
        self.folder = folder
        self.size = size
        self.image = folder / "image"
        self.path = folder / "mounted"
        self.nbdkit = self.nbdfuse = self.device = self.loop = None
        self.mounted = False
        self.plugged = 0

    def __enter__(self):
        self.path.mkdir(parents=True)
        with open(self.image, "wb") as image:
            image.truncate(self.size)
        try:
            self.plug_in()
            # Without lazy initialisation the kernel has nothing to write of its own accord.
            run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", self.loop)
            self.mount()
        except BaseException:
            self.take_away()
            raise
        return self

    def __exit__(self, *_):
        self.take_away()

    def plug_in(self):
        """Starts what the disk is made of, up to the loop device."""
        # Other names each time: what is left of the time before the cut reaches nothing.
        self.plugged += 1
        socket, ready = (self.folder / f"{what}-{self.plugged}" for what in ("socket", "ready"))
        before, after = CACHE
        self.nbdkit = self.spawn(
            "nbdkit", "--foreground", "--exit-with-parent", "--unix", socket, "--pidfile", ready,
            *before, self.image, *after,
        )
        self.wait_until(self.nbdkit, ready.exists)
        self.device = self.folder / f"device-{self.plugged}"
        self.device.touch()
        self.nbdfuse = self.spawn("nbdfuse", self.device, "--unix", socket)
        self.wait_until(self.nbdfuse, lambda: self.device.stat().st_size == self.size)
        self.loop = run("losetup", "--find", "--show", self.device).stdout.decode().strip()

    def spawn(self, program, *arguments):
        # nbdkit keeps its cache in TMPDIR. nbdfuse aborts when its server goes: that needs no core.
        with open(self.folder / "disk.log", "ab") as log:
            return subprocess.Popen(
                [tool(program), *map(str, arguments)],
                env=os.environ | {"TMPDIR": str(self.folder)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
            )

    def wait_until(self, process, done, timeout=30):
        deadline = time.monotonic() + timeout
        while not done():
            log = self.folder / "disk.log"
            expect(process.poll() is None, f"{process.args[0]} ended: {log.read_text(errors='replace').strip()}")
            expect(time.monotonic() < deadline, f"{process.args[0]} is not ready within {timeout} s")
            time.sleep(0.005)

    def mount(self):
        run("mount", "-t", "ext4", "-o", MOUNT_OPTIONS, self.loop, self.path)
        self.mounted = True

    def sync(self):
        """Writes everything out, as if it had lain there for long."""
        run("sync", "--file-system", self.path)

    def cut(self):
        """The power goes. What still runs on the disk gets errors from here on."""
        self.nbdkit.send_signal(signal.SIGKILL)
        self.nbdkit.wait(30)

    def restore(self):
        """The power is back: the disk is plugged in again and mounted, which replays its journal."""
        self.take_away()
        self.plug_in()
        self.mount()

    def take_away(self):
        """Unmounts what is mounted and ends what runs, in whatever state they are."""
        if self.mounted and run("umount", self.path, ok=False).returncode != 0:
            run("umount", "--lazy", self.path, ok=False)
        self.mounted = False
        if self.loop:
            run("losetup", "--detach", self.loop, ok=False)
            self.loop = None
        if self.nbdfuse:
            # Also where nbdfuse is dead already: its mount stays behind.
            if run("umount", self.device, ok=False).returncode != 0:
                run("umount", "--lazy", self.device, ok=False)
            end(self.nbdfuse)
            self.nbdfuse = None
        if self.nbdkit:
            end(self.nbdkit)
            self.nbdkit = None


def end(process):
    """Ends a process of ours, kindly first."""
    for stop in (process.terminate, process.kill):
        if process.poll() is None:
            stop()
        try:
            process.wait(10)
            return
        except subprocess.TimeoutExpired:
            pass
    raise Failed(f"{process.args[0]} does not end")
