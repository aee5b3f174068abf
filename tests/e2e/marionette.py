"""Firefox through Marionette, which can do what BiDi cannot: give a folder to a field, as the dialog would, and stay out of what
goes over the network. Just what the checks need that need it.

Firefox reads the folder itself; only whoever would point at it in the dialog is played, by a script with the browser's own
rights.
"""

import contextlib
import json
import socket
import subprocess
import time
from pathlib import Path

from browsers import QUIET, trust
from sealslot import ENVIRONMENT, Failed, expect, free_port, tool

CHOOSE = """const [selector, path] = arguments;
const field = document.querySelector(selector);
field.mozSetDndFilesAndDirectories([new Directory(path)]);"""


class Marionette:
    """A Firefox with one window, and a profile in `folder` that trusts `authority`. A context manager."""

    def __init__(self, folder, authority):
        self.folder = Path(folder)
        self.authority = authority
        self.last = 0

    def __enter__(self):
        port = free_port()
        profile = self.folder / "profile"
        trust(profile, self.authority)
        # The part that shows pages may read folders that no dialog gave it: otherwise it is ended.
        preferences = QUIET | {"marionette.port": port, "dom.filesystem.pathcheck.disabled": True}
        lines = [f'user_pref("{name}", {json.dumps(value)});\n' for name, value in preferences.items()]
        (profile / "user.js").write_text("".join(lines))
        command = [tool("firefox-esr"), "--headless", "--no-remote", "--profile", str(profile), "--marionette",
                   "--remote-allow-system-access"]
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                command, env=ENVIRONMENT | {"HOME": str(self.folder)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self.stream = self.connect(port)
            self.reader = self.stream.makefile("rb")
            self.read()
            self.call("WebDriver:NewSession", capabilities={})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self.call("Marionette:Quit", flags=["eForceQuit"])
            self.process.wait(15)
        self.process.kill()
        self.process.wait(15)
        self.stream.close()

    def connect(self, port):
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", port), 60)
            expect(self.process.poll() is None and time.monotonic() < deadline, "Firefox does not listen")
            time.sleep(0.05)

    def read(self):
        digits = b""
        while (byte := self.reader.read(1)) != b":":
            expect(byte, "Firefox is gone")
            digits += byte
        return json.loads(self.reader.read(int(digits)))

    def call(self, command, **parameters):
        self.last += 1
        message = json.dumps([0, self.last, command, parameters]).encode()
        self.stream.sendall(f"{len(message)}:".encode() + message)
        _, _, error, result = self.read()
        if error:
            raise Failed(f"{command}: {error['error']}: {error['message']}")
        return result

    def run(self, script, *arguments, rights="default"):
        return self.call("WebDriver:ExecuteScript", script=script, args=list(arguments), sandbox=rights)["value"]

    def visit(self, url):
        self.call("WebDriver:Navigate", url=url)

    def choose(self, selector, path):
        found = self.call("WebDriver:FindElement", using="css selector", value=selector)["value"]
        self.call("WebDriver:ElementSendKeys", id=next(iter(found.values())), text=str(path))

    def choose_folder(self, selector, path):
        self.run(CHOOSE, selector, str(path), rights="system")

    def until(self, script, timeout=45):
        """Waits until a script gives something that is true."""
        deadline = time.monotonic() + timeout
        while not (found := self.run(f"return {script}")):
            expect(time.monotonic() < deadline, f"never true: {script}")
            time.sleep(0.05)
        return found
