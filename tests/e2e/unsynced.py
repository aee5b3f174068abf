"""Programs for which nothing is made durable: the kernel answers what asks for it as done, and does nothing (seccomp(2))."""

import ctypes
import os
import platform
import struct

from sealslot import Failed, expect

# AUDIT_ARCH of linux/audit.h, and the numbers of fsync, fdatasync, sync and syncfs.
MACHINES = {"x86_64": (0xC000003E, [74, 75, 162, 306]), "aarch64": (0xC00000B7, [82, 83, 81, 267])}
PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
DONE, ALLOW = 0x00050000, 0x7FFF0000  # SECCOMP_RET_ERRNO with no error, SECCOMP_RET_ALLOW


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def instructions():
    """struct sock_filter for each: code, where to go on if it holds and if not, operand."""
    expect(platform.machine() in MACHINES, f"the system calls of {platform.machine()} are not known")
    architecture, calls = MACHINES[platform.machine()]
    yield LOAD, 0, 0, 4
    yield EQUAL, 1, 0, architecture
    yield RETURN, 0, 0, ALLOW
    yield LOAD, 0, 0, 0
    for number, call in enumerate(calls):
        yield EQUAL, len(calls) - number, 0, call
    yield RETURN, 0, 0, ALLOW
    yield RETURN, 0, 0, DONE


def unsynced():
    """What a process calls to be one of them from then on, with all that it starts: a `preexec_fn`."""
    code = b"".join(struct.pack("HBBI", *one) for one in instructions())
    program = Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)

    def call(*arguments):
        if libc.prctl(*(ctypes.c_ulong(word) if isinstance(word, int) else word for word in arguments), 0, 0) != 0:
            raise Failed(f"no filter of system calls: {os.strerror(ctypes.get_errno())}")

    def begin():
        call(PR_SET_NO_NEW_PRIVS, 1, 0)
        call(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program))

    return begin
