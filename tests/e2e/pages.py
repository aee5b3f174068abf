"""What the checks of the upload page share: working its form, reading its receipt, and proof of what was stored."""

import hashlib
import json
import random
import re
import subprocess
import time
import tomllib
from pathlib import Path

from sealslot import BINARY, ENVIRONMENT, MIB, REPOSITORY, expect, run, tool

LANGUAGES = ("en", "ko")
_languages = REPOSITORY / "src/http/page/languages"
WORDS = {tag: tomllib.loads((_languages / f"{tag}.toml").read_text()) for tag in LANGUAGES}
ENGLISH = WORDS["en"]

# Hostile, and some only unusual.
NAMES = (
    "report für März.txt", "<b>bold<i> & \"quoted\" 'single'.bin", "invoice\u202efdp.exe", "한글 이름 😀.hwp",
    "%2e%2e%2fpercent;semi=colon, comma.txt", "-rf --help.txt", "{count} ${name} `x`.md",
)

# What a form with text fields is made of, and what is written into them.
FIELD_ARGUMENTS = ("--page-field", "message", "--page-field", "reference=Case <number>")
FIELDS = (("message", "Two lines,\n<b>한글</b> & \u202e\"quotes\"."), ("reference", "2026/117"))

# Real File objects, in events that the page cannot tell from a person's.
DROP = """([selector, files]) => {
    const transfer = () => {
        const data = new DataTransfer();
        for (const [name, text] of files) data.items.add(new File([text], name, { type: "text/plain" }));
        return data;
    };
    for (const type of ["dragenter", "dragover", "drop"]) {
        document.querySelector(selector).dispatchEvent(
            new DragEvent(type, { dataTransfer: transfer(), bubbles: true, cancelable: true, composed: true }));
    }
}"""
# The data of a synthetic paste is not what was given in Firefox, unless it is put in its place.
PASTE = """([selector, name, text]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], name, { type: "image/png" }));
    const event = new ClipboardEvent("paste", { bubbles: true, cancelable: true, composed: true });
    Object.defineProperty(event, "clipboardData", { value: data });
    document.querySelector(selector).dispatchEvent(event);
}"""


def digest(content):
    return hashlib.sha256(content).hexdigest()


def noise(size, seed):
    """Bytes that nothing compresses, and the same every time."""
    return random.Random(seed).randbytes(size)


def written(fields):
    """Text fields as they are stored: a form ends lines with CR and LF."""
    return [{"name": name, "value": value.replace("\n", "\r\n")} for name, value in fields]


def made(folder, files):
    """Writes files by their paths, with folders where they have any."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


# ---------------------------------------------------------------- the form


def visit(page, url, language="en"):
    """Loads the page; with JavaScript, until it is enhanced."""
    response = page.goto(f"{url}/?lang={language}")
    expect(response.status == 200, f"GET / answered {response.status}")
    return response


def enhanced(page, url, language="en"):
    response = visit(page, url, language)
    page.wait_for_selector("html.enhanced", state="attached")
    return response


def choose(page, *paths):
    """Chooses files as a person does, by the button. Firefox, which is never told that its dialog is over, has one of them."""
    if page.kind == "firefox" and getattr(page, "asked", False):
        page.set_input_files("#files", [str(path) for path in paths])
        return
    page.asked = True
    with page.expect_file_chooser() as dialog:
        page.click("#choose-files")
    dialog.value.set_files([str(path) for path in paths])


def choose_folder(page, path):
    with page.expect_file_chooser() as dialog:
        page.click("#choose-folder")
    dialog.value.set_files(str(path))


def listed(page):
    """The files on the list: `(path, state)`."""
    return [tuple(one) for one in page.eval_on_selector_all(
        "#files-list > li",
        """items => items.map(item => [
            item.querySelector(".folder").textContent + item.querySelector(".name").textContent, item.dataset.state])""",
    )]


def item(page, name):
    """The one file of that name on the list."""
    return page.locator("#files-list > li.file").filter(has=page.locator(".name", has_text=re.compile(f"^{re.escape(name)}$")))


def act(page, name, action):
    item(page, name).locator(f"[data-action={action}]").click()


def await_listed(page, count):
    page.wait_for_function("count => document.querySelectorAll('#files-list > li').length === count", arg=count)


def await_state(page, name, *states):
    """Waits until a file is in one of these states, and gives it."""
    found = page.wait_for_function(
        """([name, states]) => {
            for (const item of document.querySelectorAll("#files-list > li"))
                if (item.querySelector(".name").textContent === name && states.includes(item.dataset.state))
                    return item.dataset.state;
            return false;
        }""",
        arg=[name, list(states)],
    )
    return found.json_value()


def await_progress(page, name, least):
    """Waits until so much of a file was sent, between 0 and 1."""
    page.wait_for_function(
        """([name, least]) => [...document.querySelectorAll("#files-list > li")].some(item =>
            item.querySelector(".name").textContent === name && item.querySelector("progress").value >= least)""",
        arg=[name, least],
    )


def progress(page, name):
    return item(page, name).locator("progress").evaluate("bar => bar.value / bar.max")


def form_state(page):
    return page.get_attribute("#form", "data-state")


def await_form(page, *states):
    page.wait_for_function("states => states.includes(document.querySelector('#form').dataset.state)", arg=list(states))


def send(page):
    page.click("#send")


def until(condition, what, timeout=30):
    """Waits for something outside the browser."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        expect(time.monotonic() < deadline, f"not within {timeout} s: {what}")
        time.sleep(0.02)
    return found


# ---------------------------------------------------------------- the receipt


def await_receipt(page, timeout=None):
    page.wait_for_selector("#receipt .submission", timeout=timeout)
    return receipt(page)


def receipt(page):
    """What the receipt says, of a page with JavaScript or without."""
    shown = page.locator("#receipt")
    entries = []
    for entry in shown.locator("ol.received > li").all():
        size = entry.locator(".size").text_content()
        counted = re.search(r"([\d,.\u00a0\u202f]+?) ?(?:bytes|바이트)", size)
        expect(counted, f"the receipt says of a size {size!r}")
        entries.append({
            "name": entry.locator(".name").text_content().strip(),
            "size": int(re.sub(r"\D", "", counted[1])),
            "sha256": entry.locator(".sha256").text_content(),
            "id": entry.locator(".id").text_content(),
        })
    return {
        "submission": shown.locator(".facts .submission").text_content(),
        "time": shown.locator(".facts .time").get_attribute("datetime"),
        "recipients": [one.text_content() for one in shown.locator(".recipients code").all()],
        "files": entries,
    }


# ---------------------------------------------------------------- what was stored


def manifests(server, folder, ids):
    """Opens uploads with Sealslot itself, and gives what their manifests say, with the bytes, by id."""
    folders = server.folders()
    missing = [one for one in ids if one not in folders]
    expect(not missing, f"the receipt names {missing}, stored are {list(folders)}")
    into = folder / f"opened-{time.monotonic_ns()}"
    done = run(BINARY, "open", "--json", "-i", server.identity, "-o", into, *(folders[one] for one in ids))
    return {entry["id"]: entry for entry in map(json.loads, done.stdout.splitlines())}, into


def by_age(server, upload_id):
    """SHA-256 and size of what the age tool alone makes of an upload's segments. Streamed."""
    folder = server.folders()[upload_id]
    whole, size = hashlib.sha256(), 0
    for segment in sorted(folder.glob("0*.age")):
        command = [tool("age"), "-d", "-i", str(server.identity), str(segment)]
        with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as age:
            while piece := age.stdout.read(MIB):
                whole.update(piece)
                size += len(piece)
            said = age.stderr.read().decode(errors="replace")
        expect(age.returncode == 0, f"age -d {segment.name}: {said}")
    return whole.hexdigest(), size


def expect_stored(server, folder, said, files, fields=None):
    """The receipt that a page showed is true: `files`, by path, are stored under its numbers, and nothing else is. Both age
    and Sealslot open them. `files` has bytes, or (SHA-256, size). Gives the paths under which Sealslot restored them."""
    wanted = {name: (digest(one), len(one)) if isinstance(one, bytes) else one for name, one in files.items()}
    entries = said["files"]
    ids = [entry["id"] for entry in entries]
    opened, into = manifests(server, folder, ids)
    expect({one["submission"] for one in opened.values()} == {said["submission"]}, "another receipt number than was stored")
    found = {}
    for entry in entries:
        stored = opened[entry["id"]]
        for name in ("size", "sha256"):
            expect(entry[name] == stored[name], f"the receipt says {name} {entry[name]}, stored is {stored[name]}")
        expect(by_age(server, entry["id"]) == (entry["sha256"], entry["size"]), f"age opens other bytes of {entry['name']}")
        if stored["kind"] == "fields":
            sent = json.loads(Path(stored["output"]).read_bytes())
            expect(fields is not None and sent == {"fields": fields}, f"the text fields are {sent}")
            fields = None
        else:
            expect(entry["name"] == stored["name"], f"the receipt says {entry['name']!r}, stored is {stored['name']!r}")
            expect(entry["name"] not in found, f"{entry['name']} is there twice")
            found[entry["name"]] = (entry["sha256"], entry["size"])
    expect(fields is None, "the text fields are missing")
    expect(found == wanted, f"stored are {found}, sent were {wanted}"[:1500])
    key = run("ssh-keygen", "-lf", f"{server.identity}.pub").stdout.decode().split()[1]
    expect(said["recipients"] == [key], f"sealed to {said['recipients']}, the key is {key}")
    return {one["name"]: Path(one["output"]).relative_to(into).as_posix() for one in opened.values() if one["kind"] != "fields"}


def expect_fits(page, what="the page"):
    """Nothing reaches out of the window sideways."""
    width, window = page.evaluate("[document.scrollingElement.scrollWidth, document.documentElement.clientWidth]")
    expect(width <= window, f"{what} is {width} pixels wide in a window of {window}")
