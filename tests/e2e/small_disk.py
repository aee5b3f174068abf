"""A small file system, which is soon full: a tmpfs. Needs root."""

import contextlib

from sealslot import run


# What a server on it keeps free: less than the usual, which is half of it.
FLOOR = ("--min-free", "64KiB")


@contextlib.contextmanager
def small_disk(folder):
    """One of 32 MiB, mounted at `folder`."""
    folder.mkdir(mode=0o700, parents=True)
    run("mount", "-t", "tmpfs", "-o", "size=32m,mode=0700", "sealslot-e2e", folder)
    try:
        yield
    finally:
        run("umount", folder)
