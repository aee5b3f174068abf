"""What several servers over one bucket count together: links, tokens, a quota; and what they say of the engine. Part of `bucket`."""

import concurrent.futures
import json
import re
import time

from fleet import Node, Site
from sealslot import MIB, check, expect, sealslot

# How long one node may take to know what another one did.
KNOWN_WITHIN = 15


def put(node, path, body, headers=None):
    """The status, and the problem's code where there is one."""
    status, _, answer = node.request("PUT", path, body, {"Accept": "application/json"} | (headers or {}))
    code = json.loads(answer).get("code") if status >= 400 and answer.startswith(b"{") else None
    return status, code


def at_all(nodes, path, body, count):
    """So many uploads at once, spread over the nodes."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda number: put(nodes[number % len(nodes)], f"{path}/{number}.bin", body), range(count)))


def until(node, wanted, ask, what):
    """Asks until the answer has this status. Gives the seconds."""
    began = time.monotonic()
    while (got := ask(node)) != wanted:
        expect(time.monotonic() - began < KNOWN_WITHIN, f"{what}: node {node.name} answers {got}, not {wanted}, after {KNOWN_WITHIN} s")
        time.sleep(0.1)
    return time.monotonic() - began


def links(nodes, note):
    """As many as the link takes, whichever node is asked, and no more."""
    link = nodes[0].link(title="five", max_uploads=5)
    said = at_all(nodes, link["link"], b"x" * 1000, 24)
    taken = [status for status, _ in said].count(201)
    refused = {answer for answer in said if answer[0] != 201}
    expect(taken == 5, f"a link for 5 uploads took {taken}; others: {refused}")
    expect(refused <= {(403, "link-used-up")}, f"it refuses with {refused}")
    for node in nodes:
        used, _ = node.used(link)
        expect(used["uploads"] == 5, f"node {node.name} says that {used} was used")
    link = nodes[1].link(title="bytes", max_bytes=10 * MIB)
    said = at_all(nodes, link["link"], bytes(MIB), 24)
    taken = [status for status, _ in said].count(201)
    expect(taken == 10, f"a link for 10 MiB took {taken} times 1 MiB: {set(said)}")
    link = nodes[0].link(title="revoked")

    def ask(node):
        return put(node, f"{link['link']}/a.bin", b"x")[0]

    took = [until(node, 201, ask, "a new link") for node in nodes]
    nodes[1].revoke(link)
    took += [until_gone(node, ask) for node in nodes]
    note(f"known to the other within {max(took):.1f} s")


def until_gone(node, ask):
    """A revoked link or token is refused, in whatever way."""
    began = time.monotonic()
    while (got := ask(node)) in (200, 201):
        expect(time.monotonic() - began < KNOWN_WITHIN, f"node {node.name} still takes what was revoked, after {KNOWN_WITHIN} s")
        time.sleep(0.1)
    expect(400 <= got < 500, f"what was revoked is answered {got}")
    return time.monotonic() - began


def tokens(site, nodes, note):
    """Made and revoked in the bucket, by a command, while nodes run."""
    made = sealslot("token", "create", "machine", "--scope", "read", *site.store, env=site.environment)
    headers = {"Authorization": f"Bearer {made.stdout.decode().split()[-1]}"}

    def ask(node):
        return node.request("GET", "/uploads", headers=headers)[0]

    took = [until(node, 200, ask, "a new token") for node in nodes]
    sealslot("token", "revoke", "machine", *site.store, env=site.environment)
    took += [until_gone(node, ask) for node in nodes]
    note(f"known to the nodes within {max(took):.1f} s")


def quota(engine, folder, note):
    """Two nodes share it, and go no further; what is deleted is free again."""
    most = 40 * MIB
    site = Site(folder, engine, "quota")
    with Node(site, "one", f"--quota={most}") as one, Node(site, "two", f"--quota={most}") as two:
        said = at_all([one, two], "/uploads", bytes(2 * MIB), 40)
        taken = [status for status, _ in said].count(201)
        refused = {answer for answer in said if answer[0] != 201}
        stored = sum(item.size for item in engine.bucket.list(f"{site.prefix}/uploads/"))
        expect(stored <= most, f"{stored} bytes are stored, and the quota is {most}")
        expect(taken >= 15, f"only {taken} uploads of 2 MiB were taken: {refused}")
        expect({status for status, _ in refused} == {507}, f"it refuses with {refused}")
        note(f"{taken} uploads of 2 MiB, {stored / most:.0%} of it")


def facts(nodes, note):
    """What the engine honours stands in /readyz, and what it was asked in /metrics."""
    status, _, answer = nodes[0].request("GET", "/readyz", headers={"Accept": "application/json"})
    expect(status == 200, f"/readyz answers {status}")
    said = json.loads(answer)
    expect(isinstance(said["engine"]["conditional_writes"], bool) and said["means"], f"/readyz says nothing of the engine: {said}")
    note(", ".join(f"{name} {value}" for name, value in said["engine"].items()))
    status, _, answer = nodes[0].request("GET", "/metrics", admin=True)
    puts = re.search(r'^sealslot_store_requests_total\{kind="put"\} (\d+)$', answer.decode(), re.M)
    expect(status == 200 and puts and int(puts[1]) > 0, f"/metrics, answered {status}, counts no PUT to the store")


def checks(engine, folder, _dice):
    site = Site(folder / "site", engine, "shared")
    with Node(site, "one", "--max-uploads-per-address=100") as one, Node(site, "two", "--max-uploads-per-address=100") as two:
        nodes = [one, two]
        with check("bucket: a link takes as many uploads and bytes as it says, by two nodes at once") as note:
            links(nodes, note)
        with check("bucket: a token that is made and revoked in the bucket, at both nodes") as note:
            tokens(site, nodes, note)
        with check("bucket: the nodes say what the engine honours, and count what they ask of it") as note:
            facts(nodes, note)
    with check("bucket: two nodes keep to one quota") as note:
        quota(engine, folder / "quota", note)
