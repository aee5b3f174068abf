"""Brings the page into every state that it has, one after another, for whoever looks at them: by rules, or with eyes."""

from pages import (
    FIELDS, NAMES, await_form, await_listed, await_progress, await_receipt, await_state, choose, enhanced, item, made, noise, send,
    visit,
)
from sealslot import KIB, MIB, expect

# A link that takes some of the files, and says so.
LINK = {
    "title": {"en": "Kanzlei Müller: Case 117", "ko": "김앤파트너스"}, "max_uploads": 3, "max_bytes": 30_000_000, "max_file": 22_000_000,
    "types": ["image/*", "text/plain"], "extensions": ["mov", "odt"], "fields": ["name", "case=Case number"],
}
LARGE = "interview.mov"
CHANGED = "draft.odt"
TOO_LARGE = "backup.img"
# A server that takes less than one of the files.
ARGUMENTS = ("--max-size", "25MiB", "--page-title", "Kanzlei <Müller> & Söhne", "--page-text", "Documents for the hearing.")
FILES = {
    LARGE: 20 * MIB, "report für März.txt": 30 * KIB, "Fotos vom Gelände mit einem sehr langen Namen, der nirgends umbricht_"
    "und_noch_weiter_geht_bis_zum_Ende.jpeg": 3 * MIB, NAMES[3]: 5, NAMES[1]: 700 * KIB, CHANGED: 2 * MIB, TOO_LARGE: 26 * MIB,
}
SLOW = 256 * KIB

DRAG = """type => {
    const data = new DataTransfer();
    data.items.add(new File(["x"], "x"));
    document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true, composed: true }));
}"""


def files(folder):
    return made(folder, {name: noise(size, name) for name, size in FILES.items()})


def journey(page, wire, folder, language):
    """Yields the name of each state while the page is in it. `wire` leads to a server with `ARGUMENTS`; all that it slowed
    down or cut is well again at the end."""
    paths = [files(folder) / name for name in FILES]
    enhanced(page, wire.url, language)
    yield "empty"
    page.click("details summary")
    yield "details"
    page.click("details summary")
    page.evaluate(DRAG, "dragenter")
    page.wait_for_selector("#drop-here", state="visible")
    yield "drop"
    page.evaluate(DRAG, "dragleave")
    page.wait_for_selector("#drop-here", state="hidden")
    send(page)
    page.wait_for_selector("#error", state="visible")
    yield "nothing-chosen"
    choose(page, *paths)
    await_listed(page, len(FILES))
    for name, value in FIELDS:
        page.fill(f"[name={name}]", value)
    yield "listed"
    (folder / CHANGED).write_bytes(b"changed")
    wire.rate = SLOW
    try:
        send(page)
        await_progress(page, LARGE, 0.01)
        yield "sending"
        page.click("#pause-all")
        await_form(page, "paused")
        yield "paused"
        page.click("#resume-all")
        await_state(page, LARGE, "sending")
        wire.take_away()
        await_state(page, LARGE, "reconnecting")
        yield "reconnecting"
    finally:
        wire.give_back()
        wire.rate = None
    # As a browser says it when its network is back: whoever looked for long would have to wait as long for the next attempt.
    page.evaluate("() => { dispatchEvent(new Event('online')); }")
    await_state(page, LARGE, "done")
    await_state(page, CHANGED, "failed")
    page.wait_for_function("() => !document.querySelector('#files-list > li:not([data-state=done], [data-state=failed])')")
    yield "failed"
    for name in (CHANGED, TOO_LARGE):
        if item(page, name).count():
            item(page, name).locator("[data-action=remove]").click()
    await_receipt(page)
    yield "receipt"


def link_journey(page, server, wire, folder, language):
    """The states of a link's page, up to where it is revoked while something is sent."""
    paths = [files(folder) / name for name in FILES]
    link = server.link(**LINK)
    url = wire.url + link["link"]
    enhanced(page, url, language)
    yield "link"
    choose(page, *paths)
    page.wait_for_selector("#error", state="visible")
    yield "link-listed"
    wire.rate = SLOW
    try:
        send(page)
        await_progress(page, LARGE, 0.01)
        server.revoke(link)
        wire.rate = None
        await_state(page, LARGE, "failed")
        page.wait_for_function("() => !document.querySelector('#files-list > li:not([data-state=done], [data-state=failed])')")
        yield "link-revoked-meanwhile"
    finally:
        wire.rate = None
    page.goto(f"{url}?lang={language}")
    yield "link-revoked"
    page.goto(f"{wire.url}/d/typo?lang={language}")
    yield "link-unknown"


def plain_journey(page, url, folder, language):
    """The same of a page without JavaScript."""
    files(folder)
    visit(page, url, language)
    yield "plain"
    page.set_input_files("#files", [str(folder / name) for name in FILES if name not in (LARGE, TOO_LARGE)])
    with page.expect_navigation() as answer:
        page.click("#send")
    expect(answer.value.status == 201, f"answered {answer.value.status}")
    yield "plain-receipt"
    visit(page, url, language)
    page.set_input_files("#files", str(folder / TOO_LARGE))
    page.watch.failing = True
    with page.expect_navigation():
        page.click("#send")
    yield "problem"
    page.goto(f"{url}/nothing?lang={language}")
    yield "nothing-here"
    page.goto(f"{url}/welcome?lang={language}")
    yield "welcome"
