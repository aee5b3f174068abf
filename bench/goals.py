"""What DESIGN.md section 7 asks, and whether it was kept."""

import dataclasses
import statistics

import downloads
import report
from large import AT_ONCE, scenario_of

ONE, H2 = scenario_of(False, 1), scenario_of(True, 1)
EIGHT, H2_EIGHT = scenario_of(False, AT_ONCE), scenario_of(True, AT_ONCE)


@dataclasses.dataclass(frozen=True)
class Goal:
    """A bound on a metric of `subject`, or on its ratio to that of `against`; both are a scenario and a row of its table."""

    metric: str
    subject: tuple
    against: tuple | None
    at_most: bool
    bound: float
    required: bool = False  # those of the first stage, and of memory

    def label(self):
        scenario, row = self.subject
        beside = ""
        if self.against:
            other_scenario, other_row = self.against
            beside = f" / {other_row}" + ("" if other_scenario == scenario else f" ({other_scenario})")
        return f"{scenario}: {row}{beside}, {report.COLUMNS[self.metric][0]}"

    def values(self, results):
        """One a round, or None where nothing was measured."""
        mine, other = (
            results.get(place[0], {}).get(place[1], {}).get(self.metric) if place else None
            for place in (self.subject, self.against)
        )
        if self.against:
            return report.ratios(mine, other) if mine and other else None
        return mine


def beside(scenario, metric, row, bound, at_most=False, subject="sealslot", required=False):
    return Goal(metric, (scenario, subject), (scenario, row), at_most, bound, required)


def of_memory(metric, bound, required=False):
    return Goal(metric, ("memory", "sealslot"), None, True, bound, required)


def all_goals(small_scenarios):
    """`small_scenarios` are the names of those on disk."""
    return [
        beside(ONE, "cpu_s_per_gib", "nginx", 1.7, True, required=True),
        beside(ONE, "mb_per_s", "nginx", 0.7, required=True),
        beside(ONE, "cpu_s_per_gib", "rclone", 0.45, True, required=True),
        beside(ONE, "cpu_s_per_gib", "nginx", 1.3, True),
        beside(ONE, "mb_per_s", "nginx", 1.0),
        beside(EIGHT, "cpu_s_per_gib", "nginx", 1.3, True),
        beside(EIGHT, "mb_per_s", "nginx", 1.0),
        Goal("mb_per_s", (EIGHT, "sealslot"), (ONE, "sealslot"), False, 1.0),
        Goal("mb_per_s", (H2, "sealslot"), (ONE, "sealslot"), False, 0.85),
        Goal("mb_per_s", (H2_EIGHT, "sealslot"), (EIGHT, "sealslot"), False, 0.85),
        *(beside(scenario, "uploads_per_s", "bare disk", 1.0) for scenario in small_scenarios),
        *(
            beside(scenario, "mb_per_s", "nginx", 0.85, subject=f"sealslot, {what}")
            for scenario in (downloads.ONE, downloads.EIGHT) for what in ("sealed", "opened")
        ),
        of_memory("peak_alone_mib", 64, required=True),
        of_memory("peak_all_mib", 256, required=True),
        of_memory("idle_kib_each", 27),
        of_memory("trickle_kib_each", 100),
        of_memory("burst_kib_each", 100),
    ]


def judge(results):
    """Each goal that the results can answer: its label, its values, and whether the median keeps to it."""
    verdicts = []
    for goal in all_goals([name for name in results if name.startswith("small uploads on disk")]):
        values = goal.values(results)
        if not values:
            continue
        middle = statistics.median(values)
        kept = middle <= goal.bound if goal.at_most else middle >= goal.bound
        verdicts.append({
            "goal": goal.label(), "values": values, "median": middle, "bound": goal.bound,
            "at_most": goal.at_most, "required": goal.required, "kept": kept,
        })
    return verdicts
