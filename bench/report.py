"""Medians, ratios and tables."""

import dataclasses
import statistics

COLUMNS = {
    "cpu_s_per_gib": ("CPU s/GiB", 2),
    "mb_per_s": ("MB/s", 0),
    "peak_mib": ("peak MiB", 1),
    "sync_after_s": ("sync after, s", 2),
    "uploads_per_s": ("uploads/s", 0),
    "cpu_ms_per_upload": ("CPU ms/upload", 3),
    "client_busy": ("client busy", 2),
    "start_mib": ("start MiB", 1),
    "peak_alone_mib": ("peak alone MiB", 1),
    "idle_kib_each": ("KiB/idle conn.", 1),
    "slow_kib_each": ("KiB/slow upload", 1),
    "peak_all_mib": ("peak all MiB", 1),
    "held_idle": ("idle held", 0),
    "held_slow": ("slow held", 0),
    "reopened": ("reopened", 0),
}


@dataclasses.dataclass(frozen=True)
class Target:
    """What DESIGN.md section 7 asks of `subject`: of its own value, or of its ratio to `against`."""

    scenario: str
    metric: str
    bound: float
    at_most: bool
    against: str | None
    required: bool  # the first stage and the memory bounds; the others are goals
    subject: str = "sealslot"

    def label(self):
        beside = f" / {self.against}" if self.against else ""
        return f"{self.scenario}: {self.subject}{beside}, {COLUMNS[self.metric][0]}"


TARGETS = [
    Target("large", "cpu_s_per_gib", 1.7, True, "nginx", True),
    Target("large", "mb_per_s", 0.7, False, "nginx", True),
    Target("large", "cpu_s_per_gib", 0.45, True, "rclone", True),
    Target("large", "cpu_s_per_gib", 1.3, True, "nginx", False),
    Target("large", "mb_per_s", 1.0, False, "nginx", False),
    Target("large", "mb_per_s", 0.85, False, "sealslot", False, "sealslot h2"),
    Target("small on disk", "uploads_per_s", 1.0, False, "bare disk", False),
    Target("memory", "peak_alone_mib", 64, True, None, True),
    Target("memory", "peak_all_mib", 256, True, None, True),
    Target("memory", "idle_kib_each", 27, True, None, False),
]


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


def judge(results):
    """Each target that the results can answer: its label, its values, and whether the median keeps to it."""
    verdicts = []
    for target in TARGETS:
        rows = results.get(target.scenario, {})
        values = rows.get(target.subject, {}).get(target.metric)
        if target.against:
            other = rows.get(target.against, {}).get(target.metric)
            values = ratios(values, other) if values and other else None
        if not values:
            continue
        middle = statistics.median(values)
        kept = middle <= target.bound if target.at_most else middle >= target.bound
        verdicts.append({
            "target": target.label(), "values": values, "median": middle, "bound": target.bound,
            "at_most": target.at_most, "required": target.required, "kept": kept,
        })
    return verdicts


def table(head, rows):
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = []
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def scenario(name, rows):
    """A scenario's table: a row for each contestant, and the ratios to nginx where it took part."""
    metrics = [metric for metric in COLUMNS if any(metric in row for row in rows.values())]
    lines = [
        [contestant, *(spread(row.get(metric, []), COLUMNS[metric][1]) for metric in metrics)]
        for contestant, row in rows.items()
    ]
    text = f"\n## {name}\n" + table(["", *(COLUMNS[metric][0] for metric in metrics)], lines)
    return text + "".join(beside_nginx(rows, metrics))


def beside_nginx(rows, metrics):
    """The main measures of every other contestant as ratios to nginx."""
    compared = [m for m in ("cpu_s_per_gib", "mb_per_s", "uploads_per_s", "cpu_ms_per_upload") if m in metrics]
    base = rows.get("nginx")
    if not base or not compared:
        return []
    lines = [
        [f"{contestant} / nginx",
         *(spread(ratios(row.get(metric, []), base.get(metric, [])), 2) for metric in compared)]
        for contestant, row in rows.items() if contestant not in ("nginx", "bare disk")
    ]
    if not lines:
        return []
    return ["\n\n", table(["", *(COLUMNS[metric][0] for metric in compared)], lines)]


def targets(verdicts):
    lines = []
    for verdict in verdicts:
        sign = "<=" if verdict["at_most"] else ">="
        kind = "required" if verdict["required"] else "goal"
        lines.append([
            verdict["target"], spread(verdict["values"], 2), f"{sign} {verdict['bound']:g}", kind,
            "kept" if verdict["kept"] else "MISSED",
        ])
    return "\n## Targets (DESIGN.md section 7)\n" + table(["", "median", "bound", "", ""], lines)
