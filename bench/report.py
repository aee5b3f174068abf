"""Medians, ratios and tables, in Markdown that reads well on a terminal too."""

import datetime
import statistics

BEGIN, END = "<!-- bench/run: begin -->", "<!-- bench/run: end -->"
COLUMNS = {
    "cpu_s_per_gib": ("CPU s/GiB", 2),
    "mb_per_s": ("MB/s", 0),
    "durable_mb_per_s": ("MB/s until durable", 0),
    "sync_after_s": ("sync after, s", 2),
    "peak_mib": ("peak MiB", 1),
    "uploads_per_s": ("uploads/s", 0),
    "durable_uploads_per_s": ("uploads/s until durable", 0),
    "syncs_per_s": ("syncs/s", 0),
    "cpu_ms_per_upload": ("CPU ms/upload", 3),
    "files_per_s": ("files/s", 0),
    "durable_files_per_s": ("files/s until durable", 0),
    "cpu_ms_per_file": ("CPU ms/file", 3),
    "client_busy": ("client busy", 2),
    "start_mib": ("start MiB", 1),
    "peak_alone_mib": ("peak alone MiB", 1),
    "idle_kib_each": ("KiB/idle conn.", 1),
    "trickle_kib_each": ("KiB/slow upload", 1),
    "burst_kib_each": ("KiB/slow after a burst", 1),
    "peak_all_mib": ("peak all MiB", 1),
    "held_idle": ("idle held", 0),
    "held_slow": ("slow held", 0),
    "reopened": ("reopened", 0),
}
COMPARED = (
    "cpu_s_per_gib", "mb_per_s", "durable_mb_per_s", "uploads_per_s", "durable_uploads_per_s", "cpu_ms_per_upload", "files_per_s",
    "durable_files_per_s", "cpu_ms_per_file",
)
# Not servers, and so not compared with one.
DISKS = ("bare disk", "fio")


def ratios(values, others):
    """The ratio within each round: what slowed the machine in a round slowed both."""
    return [value / other for value, other in zip(values, others) if other]


def spread(values, digits):
    """The median, with the least and the greatest where there are several."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table(head, rows):
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    widths = [max(3, *(len(row[column]) for row in [head, *rows])) for column in range(len(head))]
    lines = []
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for row in [head, rule, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def label(metric):
    return COLUMNS.get(metric, (metric, 2))


def scenario(name, rows):
    """A scenario's table: a row for each contestant; and one of the ratios to nginx, where it took part."""
    known = [metric for metric in COLUMNS if any(metric in row for row in rows.values())]
    # Stages are columns of their own names.
    metrics = list(dict.fromkeys([*known, *(metric for row in rows.values() for metric in row)]))
    lines = [
        [contestant, *(spread(row.get(metric, []), label(metric)[1]) for metric in metrics)]
        for contestant, row in rows.items()
    ]
    parts = [f"### {name}", table(["", *(label(metric)[0] for metric in metrics)], lines)]
    base = rows.get("nginx")
    compared = [metric for metric in COMPARED if base and metric in base]
    lines = [
        [f"{contestant} / nginx", *(spread(ratios(row.get(metric, []), base[metric]), 2) for metric in compared)]
        for contestant, row in rows.items() if contestant not in ("nginx", *DISKS)
    ]
    if compared and lines:
        parts.append(table(["", *(label(metric)[0] for metric in compared)], lines))
    return "\n\n".join(parts)


def goals(verdicts):
    lines = [
        [
            verdict["goal"], spread(verdict["values"], 2), f"{'<=' if verdict['at_most'] else '>='} {verdict['bound']:g}",
            "first stage" if verdict["required"] else "goal", "kept" if verdict["kept"] else "MISSED",
        ]
        for verdict in verdicts
    ]
    return "### Goals\n\n" + table(["", "median", "bound", "kind", ""], lines)


def symbols(of_server):
    """The functions that took most, for each server that was profiled."""
    parts = []
    for name, rows in of_server.items():
        lines = [[f"`{symbol[:90]}`", stage, f"{seconds:.3f}"] for symbol, stage, seconds in rows]
        parts.append(f"### Functions of {name} that took most\n\n" + table(["", "stage", "CPU s/GiB"], lines))
    return parts


def preface(run):
    """The machine, the versions, what was asked, and how long it took."""
    machine = run["machine"]
    versions = "; ".join(f"{name} {version}".replace(f"{name} {name}", name) for name, version in run["versions"].items())
    agreed = {}
    for name, words in run["negotiated"].items():
        agreed.setdefault(words, []).append(name)
    day = datetime.date.today().isoformat()
    return "\n".join([
        f"- {day}: {machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, {machine['filesystem']}; load before: "
        f"{machine['load_before']:.2f}, after: {machine['load_after']:.2f}",
        f"- {versions}",
        *(f"- {words}: {', '.join(names)}" for words, names in agreed.items()),
        f"- {run['rounds']} rounds, large: {run['size_gib']:g} GiB; took {run['took_s'] / 60:.1f} minutes",
    ])


def whole(run):
    """Everything that `bench/run` says of a run."""
    parts = [preface(run)]
    if run["goals"]:
        parts.append(goals(run["goals"]))
    parts += [scenario(name, rows) for name, rows in run["results"].items()]
    parts += symbols(run["symbols"])
    if run["command_line"]:
        parts.append(f"### The command line (`bench/cli`)\n\n{run['command_line']}")
    parts += [f"FAILED: {failure}" for failure in run["failures"]]
    return "\n\n".join(parts)


def write(path, text):
    """Puts the text between the marker lines, and leaves what stands around them; a new file gets both."""
    old = path.read_text() if path.exists() else f"# How fast it is\n\n{BEGIN}\n{END}\n"
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} has no lines {BEGIN} and {END}; add both where the tables are to stand")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
