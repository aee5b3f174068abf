"""Where the server's CPU time of a large upload goes, and of ranges of it: samples (perf), put into stages by what runs and for what
it runs."""

import collections
import contextlib
import functools
import re
import signal
import subprocess
import time

import downloads
import large
import peers
import servers
from clients import GIB, MIB
from servers import BenchError

PROFILED = ("sealslot", "nginx")
UPLOAD, RANGES = "CPU of an upload by stage, s/GiB", "CPU of ranges of 1 MiB by stage, s/GiB"
SYMBOLS = 12

# The first that a sample fits decides. In the kernel everything on the way counts (what a copy is for is said by its callers); in the
# program only the innermost function and the file that it is in.
KERNEL = [
    ("send", r"tcp_sendmsg|sock_sendmsg|sys_sendto|sock_write_iter|sendfile|splice_"),
    ("receive", r"tcp_|inet_recvmsg|sock_recvmsg|sock_read_iter|net_rx|skb_"),
    ("read", r"vfs_read|sys_pread|filemap_read|ext4_file_read"),
    ("write", r"vfs_write|vfs_pwrite|ext4_|iomap_|jbd2|fsync|fdatasync|sync_file_range|writeback|io_submit|blk_|filemap_|shmem_"),
    ("scheduling", r"futex|epoll|schedule|eventfd|try_to_wake_up|nanosleep"),
    ("memory", r"page_fault|clear_page|mmap|munmap|madvise|alloc_pages|exit_mm"),
]
PROGRAM = [
    ("TLS", r"aes.*gcm|gcm.*aes|aes_hw|vaes|ghash|gcm_|aesni|rustls|SSL_|ssl3_|tls13|EVP_Decrypt|CRYPTO_gcm|libssl|libcrypto"),
    ("SHA-256", r"sha256|sha2::|sha_ni|digest_blocks"),
    ("seal", r"chacha|poly1305|xor_in_place|encrypt_in_place|universal_hash|_mm256_|sealslot::seal"),
    ("checksum", r"crc"),
    ("copies", r"memcpy|memmove|memset"),
    ("scheduling", r"futex|park|tokio::runtime|mio::|pthread_|parking_lot"),
    ("memory", r"malloc|calloc|realloc|_int_free|\bfree\b|cfree|alloc::"),
]
UPLOAD_STAGES = ("receive", "TLS", "SHA-256", "seal", "checksum", "write", "copies", "scheduling", "memory", "rest")
RANGE_STAGES = ("read", "seal", "TLS", "send", "receive", "copies", "scheduling", "memory", "rest")


def stage_of(frames):
    """`frames` are pairs of a symbol and its file, the innermost first."""
    symbol, file = frames[0]
    if file.startswith("[kernel") or file.startswith("[guest") or symbol.endswith("[k]"):
        text = " ".join(name for name, where in frames if where.startswith("[kernel"))
        rules = KERNEL
    else:
        text, rules = f"{symbol} {file}", PROGRAM
    return next((stage for stage, pattern in rules if re.search(pattern, text)), "rest")


def samples(text):
    """The frames of every sample in what `perf script` prints: an address, a symbol, and the file in parentheses."""
    for block in text.split("\n\n"):
        frames = re.findall(r"^\s+[0-9a-f]+ (.+) \((.+)\)$", block, re.M)
        if frames:
            yield frames


@contextlib.contextmanager
def recorded(server, path):
    """Samples all threads of the server meanwhile."""
    perf = servers.find("perf")
    if perf is None:
        raise BenchError("perf is not installed; run `bench/run --install`")
    command = [perf, "record", "--quiet", "-e", "cpu-clock", "-F", "1999", "-g", "-o", path, "-p", ",".join(map(str, server.pids()))]
    recorder = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        time.sleep(0.5)  # until it has begun
        yield
    finally:
        recorder.send_signal(signal.SIGINT)
        said = recorder.communicate(timeout=60)[1].decode(errors="replace")
    if not path.exists():
        raise BenchError(f"perf recorded nothing: {said[-500:].strip()}")


def measure(server, action, shown, key, symbols):
    """Seconds a GiB in each stage that is shown; the functions that took most are added to `symbols`."""
    path = server.folder / "perf.data"
    with recorded(server, path):
        cost = action()["cpu_s_per_gib"]
    perf = servers.find("perf")
    text = servers.run_quietly([perf, "script", "-i", path, "-F", "ip,sym,dso"], errors="replace")
    path.unlink()
    stages, functions, total = collections.Counter(), collections.Counter(), 0
    for frames in samples(text):
        stage = stage_of(frames)
        stages[stage if stage in shown else "rest"] += 1
        functions[stage, frames[0][0]] += 1
        total += 1
    if total < 20:
        raise BenchError(f"perf took only {total} samples of {server.name}")
    symbols[key] = [(symbol, stage, count * cost / total) for (stage, symbol), count in functions.most_common(SYMBOLS)]
    return {stage: stages[stage] * cost / total for stage in shown} | {"cpu_s_per_gib": cost}


def ranges_of(server, payload, size):
    """For each way to fetch ranges of it: its name, and what fetches them, over one connection."""
    for name, (path, header) in downloads.prepared(server, payload).items():
        fetched, scripts = downloads.scripts_of(server, path, header, size)[downloads.ONE]
        yield name, functools.partial(downloads.measure, server, fetched, scripts)


def run(bench, kinds):
    """The rows of the tables, and for each server the functions that took most in its last round."""
    size = int(bench.options.size * GIB) // MIB * MIB
    payload = bench.payload("large", size)
    kinds = [peers.SealslotWithKey if kind is peers.Sealslot else kind for kind in kinds if kind.name in PROFILED]
    contestants, symbols = {}, {}

    def profiled(scenario, name, server, action, shown):
        key = f"{name}, {'an upload' if scenario == UPLOAD else 'ranges'}"
        contestants[scenario, name] = functools.partial(measure, server, action, shown, key, symbols)

    with contextlib.ExitStack() as stack:
        for server in bench.start(stack, kinds, bench.disk / "stages"):
            profiled(UPLOAD, server.name, server, functools.partial(large.measure, server, payload), UPLOAD_STAGES)
        # Others: what is uploaded to the first is deleted each time.
        for server in bench.start(stack, kinds, bench.disk / "stages-of-ranges"):
            for name, action in bench.attempt(server.name, lambda: list(ranges_of(server, payload, size))) or []:
                profiled(RANGES, name, server, action, RANGE_STAGES)
        return bench.interleave(contestants), symbols
