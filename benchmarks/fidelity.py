"""How true the simulator is: ``python -m benchmarks.fidelity``.

A real Ray cluster of several nodes on this machine, each held to a part of a processor; single jobs and ten queued jobs
run there under several policies, and are simulated with parameters that were fitted on other runs. Needs root and
Linux, some minutes, and a machine that is doing nothing else.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.fitting import Fit, fitted
from benchmarks.lab_nodes import slow_nodes
from benchmarks.machine import facts
from policies.presets import resolve
from scheduler.inventory import logical_views
from scheduler.job import Job
from scheduler.lab.isolation import cannot_isolate
from scheduler.lab.lab import lab_up
from scheduler.live import LiveJob, run_workload
from scheduler.live_fleet import fleet_like
from scheduler.preparation import prepare
from scheduler.results.measures import MEASURES
from scheduler.results.outcome import Activity, RunOutcome
from scheduler.session import connect
from scheduler.simulation.arrivals import named, poisson
from scheduler.simulation.fleet import Fleet
from scheduler.simulation.profile import profile
from scheduler.simulation.simulator import simulate
from scheduler.simulation.workload import Workload
from scheduler.simulation.world import World

PARTS = (0.6, 0.4, 0.3, 0.2)
"""Of a processor, for each node; the rest of two is for Ray and the parameter servers."""

SINGLE = ("equal", "speed-proportional", "adaptive", "pull", "adaptive-pull")
QUEUED = ("fifo+spread+equal", "sjf+spread+equal", "sjf+spread+adaptive-pull", "las+spread+adaptive-pull")
FITTED_ON = "round-robin"
COUNTS_FROM = 0.10
"""Rankings are judged where live figures differ by more than this."""

QUEUE = ((2, 160), (1, 40), (1, 120), (2, 80), (1, 20))
"""Workers and rounds of the jobs that queue; each comes twice."""

PER_HOUR = 1800.0


def write_data(folder: Path, rows: int, features: int) -> Path:
    """Write rows of a linear problem, and return their file."""
    random = np.random.default_rng(features)
    X = random.standard_normal((rows, features), dtype=np.float32)
    y = X @ random.standard_normal(features, dtype=np.float32) + random.standard_normal(rows, dtype=np.float32)
    path = folder / f"rows-{rows}-{features}.npy"
    np.save(path, np.column_stack([X, y]))
    return path


def live_job(data: Path, name: str, workers: int, rounds: int, hidden: int, shards: int = 96) -> LiveJob:
    """Return a job of gradient descent on a network of one layer, with what a trial of it has shown.

    A call computes for many times the period of the control groups: for less it would not be held to its part. What a
    shard computes with fits into a processor's cache: nodes on one machine share its memory, which the simulator's do
    not.
    """
    spec = {
        "name": name,
        "data": {"npy": str(data)},
        "model": {"objective": "squared", "hidden": [hidden]},
        "training": {"solver": "gradient-descent", "rounds": rounds, "tolerance": 0.0},
        "shards": shards,
        "workers": {"count": workers, "bundle": {"cpu": 1, "memory": "400MiB"}},
        "output": str(data.parent / "out"),
    }
    prepared = prepare(Job.model_validate(spec))
    return LiveJob(prepared, profile(prepared))


def ten_queued(data: Path) -> list[LiveJob]:
    """Return jobs of one and of two workers that come at random."""
    kinds = [live_job(data, f"rounds-{rounds}", size, rounds, 96) for size, rounds in QUEUE]
    queue = [LiveJob(job.prepared, named(job.profile, f"{job.view.id}-{n}")) for n in range(2) for job in kinds]
    coming = poisson([job.profile for job in queue], PER_HOUR, 0)
    return [LiveJob(job.prepared, told) for job, told in zip(queue, coming, strict=True)]


def simulated(jobs: Sequence[LiveJob], policy: str, fit: Fit, fleet: Fleet) -> RunOutcome:
    """Return what the simulator says of the same jobs on the same nodes."""
    profiles = tuple(
        replace(job.profile, learning=replace(job.profile.learning, s_per_call=fit.s_per_call))
        for job in jobs
        if job.profile.learning is not None
    )
    machines = tuple(replace(machine, speed=fit.speeds[machine.id[:8]]) for machine in fleet.machines)
    return simulate(World(Fleet(machines), Workload(profiles), costs=fit.costs), resolve(policy))


def starting_s(run: RunOutcome) -> float:
    """Return the mean seconds that a worker was starting."""
    return statistics.mean(one.to_s - one.from_s for one in run.intervals if one.activity is Activity.STARTING)


@dataclass(frozen=True)
class Case:
    """Jobs under a policy, and the measures that are compared."""

    name: str
    policy: str
    jobs: Sequence[LiveJob]
    measures: tuple[str, ...]


def measured(cases: Sequence[Case], fit: Fit, fleet: Fleet, turns: int, console: Console) -> list[dict[str, Any]]:
    """Run every case live, in turns, and once in the simulator; return a row for each case and measure."""
    lives: list[list[RunOutcome]] = [[] for _ in cases]
    for turn in range(turns):
        for number, case in enumerate(cases):
            run = run_workload(case.jobs, resolve(case.policy), turn)
            troubles = [f"{job.id}: {job.reason}" for job in run.jobs if math.isnan(job.ended_s)]
            if troubles:
                raise RuntimeError("; ".join(troubles))
            lives[number].append(run)
            found = ", ".join(f"{measure} {MEASURES[measure].of(run):.2f}" for measure in case.measures)
            console.print(f"{case.name}, {case.policy}, turn {turn + 1}: {found} live", highlight=False)
    rows = []
    for case, runs in zip(cases, lives, strict=True):
        told = simulated(case.jobs, case.policy, fit, fleet)
        for measure in case.measures:
            live, guess = [MEASURES[measure].of(run) for run in runs], MEASURES[measure].of(told)
            middle = statistics.median(live)
            row = {"case": case.name, "policy": case.policy, "measure": measure, "live": live, "simulated": guess}
            starts = {"starts_live_s": list(map(starting_s, runs)), "starts_simulated_s": starting_s(told)}
            rows.append({**row, "error": abs(guess - middle) / middle, **starts})
    return rows


def ranking(rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Return in how many pairs of policies of a case the simulator agrees on who is better, and how many count."""
    agree = count = 0
    for one, other in combinations(rows, 2):
        if (one["case"], one["measure"]) != (other["case"], other["measure"]):
            continue
        mine, theirs = statistics.median(one["live"]), statistics.median(other["live"])
        if max(mine, theirs) / min(mine, theirs) - 1 > COUNTS_FROM:
            count += 1
            agree += (mine < theirs) == (one["simulated"] < other["simulated"])
    return agree, count


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the figures side by side."""
    found = Table("case", "policy", "measure", title="simulated against live", title_justify="left")
    for column in ("live, s", "simulated, s", "error"):
        found.add_column(column, justify="right")
    for row in rows:
        live = statistics.median(row["live"])
        found.add_row(
            row["case"], row["policy"], row["measure"], f"{live:.2f}", f"{row['simulated']:.2f}", f"{row['error']:.1%}"
        )
    return found


def run(turns: int, console: Console) -> dict[str, Any]:
    """Fit on some runs, and compare on others."""
    with tempfile.TemporaryDirectory() as name, lab_up(slow_nodes(PARTS), isolated=True) as lab, connect(lab.address):
        folder = Path(name)
        fleet = fleet_like(logical_views())
        data = {rows: write_data(folder, rows, 20) for rows in (100_000, 150_000, 200_000)}
        fits = [live_job(data[150_000], f"fit-{hidden}", 4, 40, hidden) for hidden in (96, 128)]
        run_workload(fits[:1], resolve(FITTED_ON), 0)  # the first start on a node takes longer
        fit_runs = [run_workload(fits, resolve(FITTED_ON), 0) for _ in range(turns + 1)]
        fit = fitted(fit_runs, {job.view.id: job.profile.learning for job in fits if job.profile.learning})
        console.print(f"fitted: {fit}", highlight=False)
        singles = [live_job(data[200_000], "large", 4, 80, 128), live_job(data[100_000], "small", 4, 100, 96)]
        cases = [Case(job.view.id, policy, [job], ("makespan_s",)) for job in singles for policy in SINGLE]
        queue = ten_queued(data[100_000])
        cases += [Case("10 queued", policy, queue, ("makespan_s", "jct_mean_s")) for policy in QUEUED]
        rows = measured(cases, fit, fleet, turns, console)
        return {"fit": asdict(fit), "rows": rows}


def main() -> None:
    """Measure, print the table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=2, help="live runs of each case (default 2)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure here")
    arguments = parser.parse_args()
    if reason := cannot_isolate():
        sys.exit(f"left out: {reason}")
    console = Console()
    found = run(arguments.turns, console)
    console.print(table(found["rows"]))
    agree, count = ranking(found["rows"])
    median = statistics.median(row["error"] for row in found["rows"])
    console.print(
        f"median error {median:.1%} (aim: at most 5 %); ranking agrees in {agree} of {count} pairs that differ"
    )
    if arguments.json:
        figures = {"machine": facts(), "median_error": median, "agree": agree, "pairs": count, **found}
        arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
