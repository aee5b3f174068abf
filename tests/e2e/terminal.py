"""A terminal with somebody at it, for programs that ask."""

import fcntl
import os
import pty
import select
import subprocess
import termios
import threading
import time

from sealslot import ENVIRONMENT, expect


def with_terminal(argv, stdin, answer, env=None):
    """Runs a command that asks for a passphrase on its terminal, which is its stdin too where that is None. Gives its
    stdout."""
    master, slave = pty.openpty()

    def take_terminal():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    # rage would open a window where it finds a pinentry.
    process = subprocess.Popen(
        [str(word) for word in argv], stdin=slave if stdin is None else subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, preexec_fn=take_terminal, env=ENVIRONMENT | {"PINENTRY_PROGRAM": ""} | (env or {}),
    )
    os.close(slave)
    asked = threading.Thread(target=answer_prompt, args=(process, master, answer))
    asked.start()
    try:
        output, errors = process.communicate(stdin, timeout=60)
    finally:
        process.kill()
        asked.join()
        os.close(master)
    expect(process.returncode == 0, f"{argv[0]}: exit {process.returncode}: {errors.decode(errors='replace')}")
    return output


def answer_prompt(process, terminal, answer):
    """Types the answer once the terminal's echo is off: then somebody is asking."""
    while process.poll() is None:
        flags = termios.tcgetattr(terminal)[3]
        if not flags & termios.ECHO:
            os.write(terminal, answer.encode() + b"\n")
            break
        time.sleep(0.02)
    while process.poll() is None:
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                os.read(terminal, 1024)
            except OSError:  # nobody has the other side open any more
                return
