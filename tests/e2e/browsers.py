"""The two browsers that the page is checked in, as people have them: Chromium and Firefox, driven by Playwright.

Both trust the development authority because it was imported into their own databases, not because they look away. Whatever a
page asks for, and whatever breaks its policy or fails in it, is watched in every check: see `Watch`.
"""

import contextlib
import os
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

from sealslot import ENVIRONMENT, expect, run, tool

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    raise SystemExit("FAIL this Python has no Playwright: use the one that .ci/run makes, and names in $PYTHON") from None

KINDS = ("chromium", "firefox")
# Firefox asks for nothing by itself.
QUIET = {
    "app.normandy.enabled": False, "app.update.enabled": False, "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False, "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False, "services.settings.server": "data:,#remote-settings-dummy/v1",
}
WIDE = {"width": 1024, "height": 768}
# Waiting is always for something: it fails after so long, and a machine that is busy has as long.
PATIENCE = 45_000

# A folder for pictures of pages in which a check failed.
FAILURES = os.environ.get("PAGE_FAILURES")

VIOLATIONS = """addEventListener("securitypolicyviolation", event =>
    policyBroken(`${event.violatedDirective} stopped ${event.blockedURI} ${event.sample} in ${event.sourceFile}`))"""

# What a browser says on its console of a request that failed, whoever made it.
NETWORK = re.compile(r"Failed to load resource|NetworkError|net::ERR_")


class Watch:
    """What a page did that it must not: requests to elsewhere, breaks of its policy, errors."""

    def __init__(self, origin):
        self.origin = origin
        self.requests = []
        self.found = []
        self.failing = False  # requests may fail: the check makes them fail

    def attach(self, context, script):
        context.on("request", self.request)
        context.on("console", self.console)
        context.on("weberror", lambda error: self.found.append(f"error: {error.error}"))
        if script:
            context.expose_binding("policyBroken", lambda _, text: self.found.append(f"policy: {text}"))
            context.add_init_script(VIOLATIONS)

    def request(self, request):
        self.requests.append((request.method, request.url))
        parts = urlsplit(request.url.removeprefix("blob:"))
        if f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.found.append(f"request: {request.method} {request.url}")

    def console(self, message):
        # A request that was broken off may arrive after the next one: one of them gets a 409, and the page asks again.
        expected = "status of 409" in message.text or (self.failing and NETWORK.search(message.text))
        if message.type in ("error", "warning") and not expected:
            self.found.append(f"console: {message.text}")

    def expect_nothing(self):
        expect(not self.found, f"the page did what it must not: {'; '.join(self.found)}"[:1500])

    def forget(self):
        """What was found was provoked."""
        found, self.found = self.found, []
        return found


class Browser:
    """A browser with a profile of its own in `folder`, which trusts `authority`. A context manager. Of Firefox, the settings
    of a person (dark colours, less motion, no JavaScript) are `preferences`, so each needs a browser; Chromium has them by the page."""

    def __init__(self, kind, folder, authority=None, preferences=None):
        self.kind = kind
        self.folder = Path(folder)
        self.authority = authority
        self.preferences = preferences or {}

    def __enter__(self):
        self.folder.mkdir(parents=True)
        self.downloads = self.folder / "downloads"
        self.downloads.mkdir()
        home = {"HOME": str(self.folder), "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": "", "XDG_DATA_HOME": ""}
        options = {"env": ENVIRONMENT | home, "downloads_path": str(self.downloads)}
        profile = self.folder / "profile"
        if self.kind == "chromium":
            # Versions differ in where they look.
            databases = [self.folder / place for place in (".pki/nssdb", ".local/share/pki/nssdb")]
            options |= {"executable_path": tool("chromium"), "args": ["--no-sandbox"]}
        else:
            databases = [profile]
            options |= {"executable_path": tool("firefox-esr"), "channel": "moz-firefox"}
            options |= {"firefox_user_prefs": QUIET | self.preferences}
        if self.authority:
            for database in databases:
                trust(database, self.authority)
        self.stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            playwright = stack.enter_context(_playwright())
            persistent = getattr(playwright, self.kind).launch_persistent_context(str(profile), **options)
            stack.callback(persistent.close)
            self.persistent, self.browser = persistent, persistent.browser
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *failure):
        return self.stack.__exit__(*failure)

    @contextlib.contextmanager
    def tab(self, origin, **options):
        """A page in a context of its own: nothing is known there of other visits. It ends with a look at what the
        page did."""
        script = options.get("java_script_enabled", True)
        options = {"viewport": WIDE} | options
        if self.kind == "firefox":
            for name in ("color_scheme", "forced_colors", "reduced_motion"):
                expect(name not in options, f"Firefox takes {name} as a preference")
        context = self.browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        watch = Watch(origin)
        watch.attach(context, script)
        page = context.new_page()
        # From here on, and not only while one is awaited: a key would be faster than the order to look out for dialogs.
        page.on("filechooser", lambda _: None)
        page.watch = watch
        page.kind = self.kind
        try:
            yield page
            watch.expect_nothing()
        except Exception:
            if FAILURES:
                for number, shown in enumerate(context.pages):
                    shown.screenshot(path=f"{FAILURES}/failed-{time.time():.0f}-{number}.png", full_page=True)
            raise
        finally:
            context.close()


def processes(folder):
    """The process ids of the browser whose profile lies in `folder`: all that have it among their arguments, and their children."""
    children, found = {}, []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int(re.search(r"^PPid:\s+(\d+)", (path / "status").read_text(), re.M)[1])
            children.setdefault(parent, []).append(int(path.name))
            if os.fsencode(folder / "profile") in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    for process in found:
        found += [child for child in children.get(process, []) if child not in found]
    return set(found)


def memory(folder):
    """What all processes of that browser hold for themselves or together, in KiB, without the files of their programs. What two share
    is counted twice; to have it counted once stops them for so long that they get nothing done."""
    total = 0
    for process in processes(folder):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{process}/status").read_text()
            total += sum(int(found) for found in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", status, re.M))
    return total


@contextlib.contextmanager
def _playwright():
    # Its loop is one for the whole process: two at a time are one that is used twice.
    if not _running:
        _running.append([sync_playwright().start(), 0])
    _running[0][1] += 1
    try:
        yield _running[0][0]
    finally:
        _running[0][1] -= 1
        if _running[0][1] == 0:
            _running.pop()[0].stop()


_running = []


def trust(database, authority):
    """Imports an authority into a database of certificates."""
    database.mkdir(parents=True)
    certutil = [tool("certutil"), "-d", f"sql:{database}"]
    run(*certutil, "-N", "--empty-password")
    run(*certutil, "-A", "-t", "C,,", "-n", "sealslot-e2e", "-i", authority)
