"""Several servers over one bucket, haproxy in front of them, and what is in the bucket as `age` reads it."""

import collections
import concurrent.futures
import contextlib
import hashlib
import http.client
import itertools
import json
import re
import secrets
import subprocess
import time

import seaweed
from sealslot import ENVIRONMENT, Server, expect, free_port, run, sealslot, tool

# A port whose owner haproxy wrote down; the last one counts, since ports come again.
SERVED = re.compile(r"^127\.0\.0\.1:(\d+) (\S+)$", re.M)


class Site:
    """What all nodes of one store share: certificates, a recipient, the admin token, and the place in the bucket."""

    def __init__(self, folder, engine, prefix="site"):
        self.folder, self.engine, self.prefix = folder, engine, prefix
        folder.mkdir(parents=True)
        self.certs = folder / "certs"
        sealslot("certs", "--dir", self.certs, "--host", "127.0.0.1")
        self.ca = self.certs / "ca.pem"
        self.key = folder / "receiver.pem"
        sealslot("keygen", "-o", self.key)
        self.token = folder / "admin.token"
        self.token.touch(mode=0o600)
        self.token.write_text(secrets.token_hex(32) + "\n")

    @property
    def store(self):
        """The options that lead a program to the bucket; the credentials are in the environment."""
        return ["--store", self.engine.url(self.prefix), "--store-endpoint", self.engine.endpoint]

    @property
    def environment(self):
        return self.engine.environment

    def published(self):
        """What is published in the bucket, by id: the key of `meta.age`, and those of its segments in order."""
        found, below = {}, f"{self.prefix}/uploads/"
        for one in self.engine.bucket.list(below):
            _, upload_id, name = one.key.removeprefix(below).split("/")
            if name == "meta.age":
                found[upload_id] = one.key
        return found

    def opened(self, threads=4):
        """SHA-256 of everything that is published, by id, each file of it opened with `age` as it lies in the bucket."""
        published = self.published()
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            return dict(zip(published, pool.map(self.open_with_age, published.values())))

    def open_with_age(self, meta_key):
        bucket = self.engine.bucket
        status, headers, meta = bucket.request("GET", meta_key)
        expect(status == 200, f"GET {meta_key} was answered {status}")
        manifest = json.loads(self.age(meta))
        folder = meta_key.rpartition("/")[0]
        names = self.segments(folder, headers)
        expect(len(names) == len(manifest["segments"]), f"{folder} has {len(names)} segments, {len(manifest['segments'])} are listed")
        digest, size = hashlib.sha256(), 0
        for name in names:
            plaintext = self.age(bucket.get(f"{folder}/{name}"))
            digest.update(plaintext)
            size += len(plaintext)
        expect((size, digest.hexdigest()) == (manifest["size"], manifest["sha256"]), f"{folder} is not what its manifest says")
        return digest.hexdigest()

    def segments(self, folder, headers):
        """The names of the segments' objects, in order: the metadata of `meta.age` has them, or names an object that does."""
        said = headers["x-amz-meta-sealslot-segments"]
        expect(said, f"{folder}/meta.age has no segments in its metadata: {headers}")
        if said.startswith("listed-"):
            said = self.engine.bucket.get(f"{folder}/segments-{said.removeprefix('listed-')}").decode()
        return [f"{name}.age" for name in re.findall(r"\d{4}-[0-9a-z]+", said)]

    def age(self, sealed):
        return run(tool("age"), "-d", "-i", self.key, stdin=sealed).stdout


class Node(Server):
    """A server that keeps nothing on its own disk."""

    def __init__(self, site, name, *arguments, environment=None, **options):
        self.site, self.name = site, name
        port = free_port()
        super().__init__(
            site.folder / name, *site.store, "--recipient", f"{site.key}.pub", "--allow-anonymous",
            "--admin-token-file", site.token, *arguments,
            certs=site.certs, port=port, environment=site.environment | (environment or {}), **options,
        )
        self.port, self.token = port, site.token

    @property
    def identity(self):
        return self.site.key


class Balancer(Server):
    """haproxy in front of nodes: to clients it is the server. It passes TCP on as it is, connection by connection in turn,
    says with the PROXY protocol whose each is, and asks each node itself whether it is ready."""

    # What a node needs to be told.
    ARGUMENTS = ("--proxy-protocol", "--trusted-proxy", "127.0.0.1/32")

    def __init__(self, folder, nodes):
        self.folder, self.port, self.process = folder, free_port(), None
        self.ca, self.token = nodes[0].ca, nodes[0].token
        self.log = folder / "haproxy.log"
        self.settings = folder / "haproxy.cfg"
        folder.mkdir(parents=True)
        servers = "".join(f"    server {node.name} 127.0.0.1:{node.port}\n" for node in nodes)
        self.settings.write_text(
            f"""global
    log stdout format raw local0
    maxconn 2000
defaults
    mode tcp
    log global
    option logasap
    log-format "%ci:%cp %s"
    timeout connect 3s
    timeout client 10m
    timeout server 10m
    timeout check 3s
    retries 3
    option redispatch 1
listen slots
    bind 127.0.0.1:{self.port}
    balance roundrobin
    option httpchk GET /readyz
    http-check expect status 200
    default-server check check-ssl verify required ca-file {self.ca} send-proxy-v2 check-send-proxy inter 300ms fall 2 rise 1
{servers}"""
        )

    def start(self, timeout=30):
        """Returns when a request gets through."""
        with open(self.log, "wb") as log:
            argv = [tool("haproxy"), "-db", "-f", self.settings]
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=ENVIRONMENT)
        deadline = time.monotonic() + timeout
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/healthz")[0] == 200:
                    return self
            expect(time.monotonic() < deadline and self.process.poll() is None, f"haproxy: {self.messages()[-2000:]}")
            time.sleep(0.1)

    def owner(self, port):
        """The name of the node that a client's connection from this port leads to."""
        return dict(SERVED.findall(self.messages())).get(str(port))

    def turns(self):
        """How many connections each node had."""
        return collections.Counter(name for _, name in SERVED.findall(self.messages()))


class Fleet(Balancer):
    """Nodes and their balancer, as one server that is restarted in order and node by node: what `kill` ends, `start` brings back."""

    def __init__(self, site, count, *arguments):
        options = [*Balancer.ARGUMENTS, "--grace", "1s", *arguments]
        self.nodes = [Node(site, f"node-{number}", *options) for number in range(1, count + 1)]
        self.turn = itertools.cycle(self.nodes)
        super().__init__(site.folder / "haproxy", self.nodes)

    def __exit__(self, failure, *rest):
        for node in self.nodes:
            node.__exit__(failure, *rest)
        super().__exit__(failure, *rest)

    def start(self, timeout=60):
        for node in self.nodes:
            if node.process is None or node.process.poll() is not None:
                node.start(timeout)
        return self if self.process else super().start(timeout)

    def kill(self):
        next(self.turn).stop()

    def stop(self, timeout=40):
        for node in self.nodes:
            node.stop(timeout)


@contextlib.contextmanager
def served(folder, nodes, *arguments):
    """A server with a data folder, or what stands before so many over one bucket of SeaweedFS."""
    if nodes == 0:
        with Server(folder / "server", *arguments, port=free_port()) as server:
            yield server
        return
    with seaweed.Node(folder / "engine") as engine:
        site = Site(folder / "site", engine)
        # More at once than a node has by default, whose memory they would fill if all of them were large.
        with Fleet(site, nodes, "--identity", site.key, "--max-uploads=1000", *arguments) as server:
            yield server
