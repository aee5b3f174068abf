"""The clients: for HTTP/1.1 curl, a process for each connection, which does one transfer after the other over it; h2load for uploads
over HTTP/2, where curl of Debian 12 looks without pause whether the window has opened and leaves little of the machine to the server.
"""

import contextlib
import dataclasses
import os
import re
import resource
import subprocess
import tempfile
import time

from servers import BenchError, client_environment

MIB = 1 << 20
GIB = 1 << 30
PATIENCE_SECONDS = 600
ANSWER = "%{http_code} %{http_version} %{size_upload} %{size_download} %{num_connects}\\n"


@dataclasses.dataclass(frozen=True)
class Ran:
    """What several curls did together: from the start of the first to the end of the last."""

    seconds: float
    client_busy: float  # of one core, for each curl
    uploaded: int
    downloaded: int


def transfer(server, *what, http2=False):
    """One transfer as curl's config says it; `what` are pairs of an option and its value, the same option as often as needed."""
    lines = [
        "silent", "show-error", "tlsv1.3", "http2" if http2 else "http1.1", 'header = "Expect:"',
        f'cacert = "{server.bench.certificates / "ca.pem"}"', f'write-out = "{ANSWER}"',
    ]
    for option, value in what:
        lines.append(f'{option} = "{value}"')
        if option == "url":
            lines.append(f'output = "{os.devnull}"')  # what is answered is thrown away
    return "\n".join(lines)


def run(server, scripts, http2=False):
    """A curl for each script, all at once; a script is a list of transfers. Every one has to go through, over one connection."""
    with contextlib.ExitStack() as files:
        opened = [tuple(files.enter_context(tempfile.TemporaryFile()) for _ in range(3)) for _ in scripts]
        for (source, *_), script in zip(opened, scripts):
            source.write("\nnext\n".join(script).encode())
            source.seek(0)
        environment, cpu, began = client_environment(server.bench), client_cpu(), time.monotonic()
        curls = []
        try:
            for source, said, errors in opened:
                command = ["curl", "-q", "--config", "-"]
                curls.append(subprocess.Popen(command, env=environment, stdin=source, stdout=said, stderr=errors))
            for curl in curls:
                curl.wait(PATIENCE_SECONDS)
        except (FileNotFoundError, subprocess.TimeoutExpired) as error:
            raise BenchError(f"curl, beside {server.name}: {error}") from error
        finally:
            for curl in curls:
                curl.kill()
                curl.wait()
        seconds, cpu = time.monotonic() - began, client_cpu() - cpu
        answers = [words for curl, (_, *outputs) in zip(curls, opened) for words in checked(server, curl, outputs, http2)]
    return Ran(
        seconds, cpu / seconds / len(scripts),
        sum(int(words[2]) for words in answers), sum(int(words[3]) for words in answers),
    )


def run_http2(server, payload, path, at_once):
    """As many uploads over HTTP/2 by h2load, each over a connection of its own. Every one has to be answered in HTTP/2, with 2xx."""
    command = [
        "h2load", f"--requests={at_once}", f"--clients={at_once}", "--max-concurrent-streams=1", f"--data={payload}",
        "--header=:method: PUT", "--npn-list=h2", server.url(path),
    ]
    environment, cpu, began = client_environment(server.bench), client_cpu(), time.monotonic()
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"h2load, beside {server.name}: {error}") from error
    seconds, cpu = time.monotonic() - began, client_cpu() - cpu
    answered = re.search(r"status codes: (\d+) 2xx", done.stdout)
    if done.returncode != 0 or not answered or int(answered[1]) != at_once:
        raise server.failure(f"did not take {at_once} uploads of h2load: {done.stdout[-400:]} {done.stderr[-200:]}")
    return Ran(seconds, cpu / seconds, payload.stat().st_size * at_once, 0)


def checked(server, curl, outputs, http2):
    """The words of every answer of one curl; `outputs` are what it said and what it complained of."""
    texts = []
    for file in outputs:
        file.seek(0)
        texts.append(file.read().decode(errors="replace"))
    answers = [line.split() for line in texts[0].splitlines()]
    refused = next((words for words in answers if not words[0].startswith("2")), None)
    if curl.returncode != 0 or refused or not answers:
        raise server.failure(f"refused a transfer ({refused}, curl ended with {curl.returncode}: {texts[1][-300:].strip()})")
    if any(words[1] != ("2" if http2 else "1.1") for words in answers):
        raise BenchError(f"{server.name} answered in HTTP/{answers[0][1]}")
    connects = sum(int(words[4]) for words in answers)
    if connects != 1:
        raise BenchError(f"{server.name}: curl opened {connects} connections for {len(answers)} transfers")
    return answers


def client_cpu():
    """User and system time of clients that have ended; servers under test end only after their scenario."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
