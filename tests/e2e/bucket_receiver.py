"""The receiver's commands over a bucket, and `migrate` between a folder and a bucket. Part of `bucket`."""

import copy
import hashlib
import json
import os
import subprocess

from engine import BUCKET
from fleet import Node, Site
from sealslot import BINARY, ENVIRONMENT, Server, check, expect, run, sealslot, tool
from store import expect_opens, fill, folders

UPLOADS = 24


def offline(site):
    """The options and the environment of a command that works on the bucket itself."""
    return site.store, site.environment


def verify(where, environment, code=0):
    """Runs it, and gives the findings: a problem by id and file."""
    done = sealslot("verify", "--json", *where, env=environment, ok=False, timeout=300)
    expect(done.returncode == code, f"verify exited with {done.returncode}: {done.stderr.decode(errors='replace')} {done.stdout[-300:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    summary = lines.pop()
    expect(summary["uploads"] >= 1 and (summary["damaged"] > 0) == (code != 0), f"verify says {summary}")
    return {(line["id"], line["file"]): line["problem"] for line in lines}


def pulled(node, into):
    """SHA-256 of what `pull` fetches and opens, by id."""
    argv = [BINARY, "pull", node.url, "--into", into, "-i", node.identity, "--cacert", node.ca, "--token-file", node.token]
    run(*argv, timeout=300)
    receipts = {path.stem: json.loads(path.read_text()) for path in into.glob(".sealslot/receipts/*.json")}
    return {upload: hashlib.sha256((into / said["path"]).read_bytes()).hexdigest() for upload, said in receipts.items()}


class Damage:
    """An object that is there with one byte changed, or not at all, until it is put back."""

    def __init__(self, bucket, key, dice, gone=False):
        self.bucket, self.key, self.gone = bucket, key, gone
        status, headers, self.content = bucket.request("GET", key)
        expect(status == 200, f"GET {key} was answered {status}")
        self.notes = {name: value for name, value in headers.items() if name.lower().startswith("x-amz-meta-")}
        self.at = dice.randrange(len(self.content))

    def __enter__(self):
        if self.gone:
            self.bucket.delete(self.key)
        else:
            changed = bytearray(self.content)
            changed[self.at] ^= 1
            self.bucket.put(self.key, bytes(changed), self.notes)

    def __exit__(self, *_):
        self.bucket.put(self.key, self.content, self.notes)


def copy_of(site, prefix):
    """The same site at another place in the bucket."""
    other = copy.copy(site)
    other.prefix = prefix
    return other


def damage(node, site, dice, note):
    remote = ["--cacert", node.ca, "--token-file", node.token, node.url]
    words, environment = offline(site)
    found = 0
    published = site.published()
    for upload_id, meta in dice.sample(sorted(published.items()), 4):
        below = meta.rpartition("/")[0]
        segments = [one.key for one in site.engine.bucket.list(f"{below}/") if one.key != meta]
        if segments:
            segment = dice.choice(segments)
            name = f"{segment.rpartition('/')[2][:4]}.age"
            for gone, problems in ((False, ("checksum",)), (True, ("missing",))):
                with Damage(site.engine.bucket, segment, dice, gone):
                    for where, own in ((remote, {}), (words, environment)):
                        said = verify(where, own, 65)
                        expect(set(said) == {(upload_id, name)} and said[upload_id, name] in problems, f"verify finds {said}")
                        found += 1
        with Damage(site.engine.bucket, meta, dice):
            said = verify(words, environment, 65)
            # A record that is damaged may say nothing true of its segments.
            expect((upload_id, "meta.age") in said, f"verify finds {said}, and {upload_id} has a damaged meta.age")
            expect({upload for upload, _ in said} == {upload_id}, f"verify finds {said}")
            found += 1
    expect(not verify(words, environment), "what was put back is found damaged")
    note(f"{found} of {found} found")


def rewrapped(node, site, old, full, where, environment):
    """Seals everything to a new key."""
    new = site.folder / f"{'full' if full else 'manifests'}.pem"
    sealslot("keygen", "-o", new, "--bits", "2048")
    argv = ["rewrap", "-i", old, "-r", f"{new}.pub", "--yes", "--json", *(["--full"] if full else []), *where]
    sealslot(*argv, env=environment, timeout=300)
    for key in site.published().values():
        meta = site.engine.bucket.get(key)
        for identity, opens in ((old, False), (new, True)):
            done = run(tool("age"), "-d", "-i", identity, stdin=meta, ok=False)
            expect((done.returncode == 0) == opens, f"age and {identity.name}: exit {done.returncode} for {key}")
    return new


def receiver(engine, folder, dice):
    site = Site(folder, engine, "receiver")
    with Node(site, "node") as node:
        digests = fill(node, dice, UPLOADS)
        words, environment = offline(site)
        remote = ["--cacert", node.ca, "--token-file", node.token, node.url]
        with check("bucket: list and pull have everything") as note:
            done = sealslot("list", "--json", *remote)
            ids = {json.loads(line)["id"] for line in done.stdout.splitlines()}
            expect(ids == digests.keys(), f"{len(ids)} of {len(digests)} are listed")
            expect(pulled(node, folder / "pulled") == digests, "pull has something else")
            note(f"{len(ids)} uploads")
        with check("bucket: verify finds nothing in what is whole, over HTTP and in the bucket"):
            expect(not verify(remote, {}), "over HTTP it finds damage")
            expect(not verify(words, environment), "in the bucket it finds damage")
        with check("bucket: verify finds damage, by file") as note:
            damage(node, site, dice, note)
        with check("bucket: rewrap over HTTP, manifests only"):
            site.key = rewrapped(node, site, site.key, False, remote, {})
            expect(pulled(node, folder / "manifests") == digests, "pull has something else")
        with check("bucket: rewrap in the bucket, segments too, and everything opens with age and the new key alone"):
            site.key = rewrapped(node, site, site.key, True, words, environment)
            expect(site.opened() == digests, "opened is not what was uploaded")
            expect(not verify(words, environment), "verify finds damage")
        with check("bucket: a copy that lost all metadata is listed and pulled like the original"):
            copied(engine, site, "copied")
            there = copy_of(site, "copied")
            with Node(there, "copy") as other:
                expect(other.listed().keys() == digests.keys(), "it lists something else")
                expect(pulled(other, folder / "from-copy") == digests, "pull has something else")
            found = verify(there.store, there.environment)
            expect(set(found.values()) <= {"unchecked"}, f"verify finds {found}")
        with check("bucket: rm deletes, and nothing of it stays in the bucket"):
            gone = dice.sample(sorted(digests), 5)
            sealslot("rm", *remote, "--yes", *gone)
            left = {one.key.split("/")[3] for one in engine.bucket.list(f"{site.prefix}/uploads/")}
            expect(left == digests.keys() - set(gone), f"{len(left)} uploads are left")


def copied(engine, site, into):
    """A copy of a place in the bucket as other programs make it, by way of a folder: what stood in metadata is lost."""
    program = os.environ.get("RCLONE") or tool("rclone")
    config, keys = site.folder / "rclone.conf", engine.keys
    config.touch(mode=0o600)
    config.write_text(
        f"[engine]\ntype = s3\nprovider = SeaweedFS\nendpoint = {engine.endpoint}\nregion = {keys.region}\n"
        f"access_key_id = {keys.access}\nsecret_access_key = {keys.secret}\nforce_path_style = true\n"
    )
    for source, target in ((f"engine:{BUCKET}/{site.prefix}", site.folder / "copy"), (site.folder / "copy", f"engine:{BUCKET}/{into}")):
        run(program, "copy", "--config", config, source, target, env={"RCLONE_CONFIG": str(config)}, timeout=120)


class Migration:
    """`sealslot migrate` from a place to another one."""

    def __init__(self, site, source, target, *options):
        self.site = site
        endpoint = ["--store-endpoint", site.engine.endpoint]
        self.argv = [str(word) for word in (BINARY, "migrate", "--json", "--from", source, "--to", target, *endpoint, *options)]

    def run(self):
        done = run(*self.argv, env=self.site.environment, timeout=300)
        return json.loads(done.stdout.splitlines()[-1])

    def killed_on_the_way(self, dice, times):
        """Kills it some times after a moment. Gives how often it was not through by then."""
        killed = 0
        for _ in range(times):
            process = subprocess.Popen(
                self.argv, env=ENVIRONMENT | self.site.environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )
            try:
                code = process.wait(dice.uniform(0.02, 0.6))
                expect(code == 0, f"migrate exited with {code}: {process.stderr.read().decode(errors='replace')}")
            except subprocess.TimeoutExpired:
                killed += 1
            finally:
                process.kill()
                process.wait(30)
                process.stderr.close()
        return killed


def tree(data):
    """SHA-256 of every published file, by its path."""
    files = {path.relative_to(data): path for path in data.glob("uploads/*/*/*")}
    return {str(name): hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def expect_refused(migration, why):
    done = run(*migration.argv, env=migration.site.environment, ok=False)
    expect(done.returncode not in (0, 101), f"{why}: exit {done.returncode}")


def migrate(engine, folder, dice):
    site = Site(folder, engine, "moved")
    local = Server(folder / "local", "--recipient", f"{site.key}.pub", "--allow-anonymous", certs=site.certs)
    with local:
        digests = fill(local, dice, UPLOADS)
        link = local.link(title="moved", max_uploads=7)
        use = local.used(link)
        local.stop()
    before = tree(local.data)
    there = Migration(site, local.data, engine.url(site.prefix))
    with check("bucket: migrate from a folder into the bucket, killed on the way") as note:
        note(f"killed {there.killed_on_the_way(dice, 4)} times")
        opened_on_the_way = site.opened()
        expect(opened_on_the_way.items() <= digests.items(), "on the way something is there that is not whole")
        note(f"{len(opened_on_the_way)} of {len(digests)} were there then")
        there.run()
        expect(site.opened() == digests, "in the bucket there is something else")
    with check("bucket: migrate again has nothing to do"):
        said = there.run()
        expect((said["copied"], said["already"]) == (0, len(digests)), f"it says {said}")
        expect(site.opened() == digests, "it changed something")
    with check("bucket: a server over the bucket lists what came, and knows the link"):
        with Node(site, "node") as node:
            expect(node.listed().keys() == digests.keys(), "it lists something else")
            expect(node.used(link) == use, f"the link has {node.used(link)}")
            node.stop()
    with check("bucket: migrate back into a folder, with --delete: all files are the same, and the bucket has none") as note:
        target = folder / "back"
        back = Migration(site, engine.url(site.prefix), target, "--delete")
        note(f"killed {back.killed_on_the_way(dice, 3)} times")
        back.run()
        after = tree(target)
        expect(after == before, f"other files: {sorted(after.items() ^ before.items())[:3]}")
        expect_opens(folders(target), [site.key], digests, folder)
        expect(not site.published(), "uploads are left in the bucket")
        note(f"{len(after)} files")
    with check("bucket: migrate refuses where an upload is there already and differs"):
        there.run()
        upload_id, meta = dice.choice(sorted(site.published().items()))
        with Damage(engine.bucket, meta, dice):
            expect_refused(there, f"{upload_id} differs")
        there.run()
