"""Shockwave's published table (120 jobs, 32 GPUs) beside our simulator: see ``benchmarks.published``."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any

from benchmarks import public_data
from benchmarks.gavel_mechanism import HOLD_S, ROUND_S, Rounds
from benchmarks.published_report import Section, Shown, over
from benchmarks.published_shares import SHARES, Pick, centre, corner
from benchmarks.shockwave_world import Setting, fairness, steps_per_s, world
from policies.interface import Policy
from policies.presets import resolve
from scheduler.results.measures.completion import UNFAIR
from scheduler.results.outcome import RunOutcome
from scheduler.simulation.simulator import simulate

TABLE = "published_tacc_32gpus.csv"


@dataclass(frozen=True)
class Figures:
    """The columns of the published table.

    Attributes
    ----------
    worst_rho
        The largest finish-time fairness of a job.
    unfair_percent
        How many jobs have one above 1.05.
    """

    makespan_s: float
    mean_jct_s: float
    worst_rho: float
    unfair_percent: float

    @classmethod
    def of(cls, run: RunOutcome, num_gpus: int) -> Figures:
        """Work them out as the authors do: the makespan counts from the time 0."""
        rho = fairness(run, num_gpus)
        return cls(
            max(job.ended_s for job in run.jobs),
            statistics.fmean(job.jct_s for job in run.jobs),
            max(rho),
            100 * sum(one > UNFAIR for one in rho) / len(rho),
        )


COLUMNS = tuple(one.name for one in fields(Figures))


def in_rounds(name: str) -> dict[str, Any]:
    """Return the joint policy of this name with rounds as long as the published ones."""
    return {"joint": {name: {"round_s": ROUND_S}}}


OURS: dict[str, Any] = {
    "min-makespan": in_rounds("min-makespan"),
    "finish-time-fair-lp": in_rounds("finish-time-fair-lp"),
    "max-min-throughput": in_rounds("max-min-throughput"),
    "allox": in_rounds("allox"),
    "max-sum-throughput": in_rounds("max-sum-throughput"),
    "fifo": "fifo+consolidate",
    "las": "las+consolidate",
    "srtf": "srtf+consolidate",
    "srsf": "srsf+consolidate",
    "finish-time-fair": "finish-time-fair+consolidate",
    "fair-longest": "fair-longest",
    "fair-longest, due 0.7": {"joint": {"fair-longest": {"due": 0.7}}},
}
"""What our policies are called in the tables -> what ``resolve`` takes."""

LIKE = {
    "min_total_duration(OSSP)": "min-makespan",
    "finish_time_fairness(Themis)": "finish-time-fair-lp",
    "max_min_fairness(Gavel)": "max-min-throughput",
    "allox": "allox",
    "max_sum_throughput_perf(MST)": "max-sum-throughput",
}
"""The published policy -> ours that means the same; none for Gandiva's."""

THE_TRACE = Setting(round_s=0.0, restart_s=0.0, in_rounds=False)
"""The world of ``apportion simulate --trace``, but for starts of 0.3 s: nothing of the authors' program."""


@dataclass(frozen=True)
class Variant:
    """One thing left out, or put otherwise.

    Attributes
    ----------
    hold_s
        How old shares get at least.
    pick
        Which of the shares that are equally good.
    ours
        Whether the policy is ours.
    """

    setting: Setting = field(default_factory=Setting)
    hold_s: float = HOLD_S
    pick: Pick = centre
    ours: bool = False


VARIANTS = {
    "as published": Variant(),
    "no restart cost": Variant(Setting(restart_s=0.0)),
    "and rounds of 12 s": Variant(Setting(restart_s=0.0, round_s=12.0)),
    "shares anew each round": Variant(hold_s=0.0),
    "a corner of the shares": Variant(pick=corner),
    "batches grow on time": Variant(Setting(in_rounds=False)),
    "8 nodes of 4 GPUs": Variant(Setting(gpus_per_node=4)),
    "our policy": Variant(ours=True),
    "and nothing of theirs": Variant(THE_TRACE, ours=True),
}
"""What a column of the ablation changes of the first one."""


GPUS = (16, 64)
"""Other sizes of the cluster, for which nothing is published; for a few of ours."""

FEW = ("min-makespan", "las", "srtf", "finish-time-fair", "fair-longest")


def published() -> dict[str, Figures]:
    """Return the simulated rows of the published table."""
    rows = public_data.rows("shockwave", TABLE)
    names = ("makespan_s", "avg_jct_s", "worst_ftf", "unfair_pct_rho_gt_1.05")
    return {row["policy"]: Figures(*(float(row[name]) for name in names)) for row in rows if row["kind"] == "sim"}


def policy_of(name: str, variant: Variant) -> Policy:
    """Return a published policy as its authors have it, or one of ours."""
    if variant.ours:
        return resolve(OURS[name])
    setting, shares = variant.setting, SHARES[name]
    return Rounds(
        name,
        lambda asked: shares(asked, variant.pick),
        steps_per_s(setting),
        setting.round_s,
        setting.restart_s,
        variant.hold_s,
    )


def measured(name: str, variant: Variant, seed: int = 0) -> Figures:
    """Simulate a policy in a world, and return what it came to."""
    run = simulate(world(variant.setting, seed), policy_of(name, variant), keep_timeline=False)
    return Figures.of(run, variant.setting.num_gpus)


def front(rows: Sequence[tuple[str, Figures]], one: str, other: str) -> list[tuple[str, Figures]]:
    """Return the rows that no other beats in one column without losing in the other, by the first column."""

    def beaten(row: Figures) -> bool:
        mine = getattr(row, one), getattr(row, other)
        theirs = [(getattr(rival, one), getattr(rival, other)) for _, rival in rows]
        return any(rival != mine and rival[0] <= mine[0] and rival[1] <= mine[1] for rival in theirs)

    return sorted((row for row in rows if not beaten(row[1])), key=lambda row: getattr(row[1], one))


def section(seeds: int, mapped: Callable[..., Iterable[Any]]) -> Section:
    """Run everything, ``mapped`` over processes.

    Parameters
    ----------
    seeds
        How many worlds: the trace as it is, and others whose jobs are longer or shorter by about 1 %.
    """
    known, ours = published(), Variant(ours=True)
    cases = [(name, Variant(), seed) for name in SHARES for seed in range(seeds)]
    cases += [(name, ours, seed) for name in OURS for seed in range(seeds)]
    cells = [(name, what) for name in SHARES for what in VARIANTS if name in LIKE or not VARIANTS[what].ours]
    cases += [(LIKE[name] if VARIANTS[what].ours else name, VARIANTS[what], 0) for name, what in cells]
    sizes = [(name, gpus) for gpus in GPUS for name in FEW]
    cases += [(name, Variant(Setting(num_gpus=gpus), ours=True), 0) for name, gpus in sizes]
    figures = iter(list(mapped(measured, *zip(*cases, strict=True))))
    theirs = {name: list(islice(figures, seeds)) for name in SHARES}
    mine = {name: list(islice(figures, seeds)) for name in OURS}
    ablation = dict(zip(cells, islice(figures, len(cells)), strict=True))
    others = dict(zip(sizes, figures, strict=True))
    tables = [_beside(known, theirs), _noise(theirs), _ours(mine), *_fronts(known, mine)]
    tables += [_other_sizes(others), *_ablations(known, ablation)]
    return Section(
        tables,
        {
            "published": {name: vars(row) for name, row in known.items()},
            "as_published": {name: [vars(one) for one in rows] for name, rows in theirs.items()},
            "ours": {name: [vars(one) for one in rows] for name, rows in mine.items()},
            "other_sizes": [{"policy": name, "gpus": gpus, **vars(one)} for (name, gpus), one in others.items()],
            "ablation": [{"policy": name, "changed": what, **vars(one)} for (name, what), one in ablation.items()],
        },
    )


def _beside(known: dict[str, Figures], found: dict[str, list[Figures]]) -> Shown:
    """Return the published policies as they are published and as they come out."""
    rows = []
    for name in SHARES:
        cells = []
        for column in COLUMNS:
            was, value = getattr(known[name], column), getattr(found[name][0], column)
            cells += [_figure(column, was), _figure(column, value), _away(column, value, was)]
        rows.append([name, *cells])
    heads = [text for column in COLUMNS for text in (f"{column}, published", "simulated", "off by")]
    return Shown("The published policies as their authors have them, in our simulator", ["policy", *heads], rows)


def _noise(found: dict[str, list[Figures]]) -> Shown:
    """Return what they come to in all the worlds, the least and the most."""
    rows = []
    for name, figures in found.items():
        columns = {column: sorted(getattr(one, column) for one in figures) for column in COLUMNS}
        ends = ((_figure(column, values[0]), _figure(column, values[-1])) for column, values in columns.items())
        rows.append([name, *(" to ".join(dict.fromkeys(both)) for both in ends)])
    return Shown("The same in all the worlds, the least and the most", ["policy", *COLUMNS], rows)


def _ours(found: dict[str, list[Figures]]) -> Shown:
    rows = [
        [name, *(_figure(column, getattr(found[name][0], column)) for column in COLUMNS), _like(name)] for name in OURS
    ]
    return Shown("Our policies in the same world", ["policy", *COLUMNS, "means the same as"], rows)


def _like(name: str) -> str:
    return next((theirs for theirs, ours in LIKE.items() if ours == name), "")


def _fronts(known: dict[str, Figures], found: dict[str, list[Figures]]) -> list[Shown]:
    """Return who is on the Pareto fronts, of all published rows and ours."""
    rows = [(f"{name} (published)", row) for name, row in known.items()]
    rows += [(name, found[name][0]) for name in OURS]
    tables = []
    for column in ("makespan_s", "mean_jct_s"):
        best = [
            [name, *(_figure(each, getattr(row, each)) for each in COLUMNS)]
            for name, row in front(rows, column, "worst_rho")
        ]
        tables.append(Shown(f"The Pareto front of {column} and worst_rho", ["policy", *COLUMNS], best))
    return tables


def _other_sizes(found: dict[tuple[str, int], Figures]) -> Shown:
    rows = [
        [name, str(gpus), *(_figure(column, getattr(one, column)) for column in COLUMNS)]
        for (name, gpus), one in found.items()
    ]
    return Shown("Our policies where there are fewer or more GPUs", ["policy", "GPUs", *COLUMNS], rows)


def _ablations(known: dict[str, Figures], ablation: dict[tuple[str, str], Figures | None]) -> list[Shown]:
    """Return what each part of the world is worth: two columns of the table, each beside the published one."""
    tables = []
    for column in ("makespan_s", "mean_jct_s", "worst_rho"):
        rows = []
        for name in SHARES:
            was, cells = getattr(known[name], column), []
            for what in VARIANTS:
                one = ablation.get((name, what))
                value = getattr(one, column) if one else None
                cells.append("-" if value is None else f"{_figure(column, value)} ({over(value, was)})")
            rows.append([name, _figure(column, was), *cells])
        tables.append(Shown(f"{column}, one thing changed at a time", ["policy", "published", *VARIANTS], rows))
    return tables


def _figure(column: str, value: float) -> str:
    return f"{value:,.0f}" if column.endswith("_s") else f"{value:.2f}" if column == "worst_rho" else f"{value:.1f}"


def _away(column: str, value: float, was: float) -> str:
    """Return how far a figure is from the published one: of percentages, in points."""
    return f"{value - was:+.1f}" if column == "unfair_percent" else over(value, was)
