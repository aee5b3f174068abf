"""What the disk does without any server, with as many threads as there are connections."""

import concurrent.futures
import json
import os
import time

import servers

# Of the syncs of one upload: two files', and three folders'.
SYNCS = 5


def uploads(folder, payload, count, threads):
    """The same files, fsyncs and renames as a durable upload, one upload a thread at a time."""
    staging, finished = folder / "staging", folder / "uploads"
    for path in (staging, finished):
        path.mkdir(parents=True, exist_ok=True)
    body = payload.read_bytes()
    os.sync()

    def fsync(path):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def upload(number):
        here = staging / str(number)
        here.mkdir()
        for name, content in (("0000.age", body), ("meta.age", body[:1024])):
            with open(here / name, "wb", buffering=0) as file:
                file.write(content)
                os.fdatasync(file.fileno())
        fsync(here)
        here.rename(finished / str(number))
        fsync(staging)
        fsync(finished)

    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(upload, range(count)):
            pass
    seconds = time.monotonic() - began
    for path in finished.iterdir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    return {"uploads_per_s": count / seconds, "syncs_per_s": SYNCS * count / seconds}


def fio(folder, threads, quick):
    """Writes of 4 KiB with an fdatasync after each, every thread at the end of a file of its own: the disk's own group commit."""
    program = servers.find("fio")
    if program is None:
        raise servers.BenchError("fio is not installed; run `bench/run --install`")
    folder.mkdir(parents=True, exist_ok=True)
    os.sync()
    said = servers.run_quietly([
        program, "--name=syncs", f"--directory={folder}", "--output-format=json", "--group_reporting", "--thread",
        f"--numjobs={threads}", "--time_based", f"--runtime={1 if quick else 2}", "--ioengine=sync", "--rw=write", "--bs=4k",
        "--fdatasync=1", "--size=16m", "--fallocate=none", "--file_append=1", "--create_on_open=1", "--unlink=1",
    ])
    jobs = json.loads(said)["jobs"]
    return {"syncs_per_s": jobs[0]["write"]["iops"]}
