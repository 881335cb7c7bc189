"""Alibaba's stragglers, live: nodes whose processors follow the published mini-batch times of a job."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.lab_nodes import node_name, slow_nodes
from benchmarks.mixed.ours import Timed, gang_for, timed
from benchmarks.mixed.problem import MixedProblem, job_of
from benchmarks.public_data import DATA
from policies.presets import resolve
from scheduler.gang import Gang
from scheduler.lab.lab import Lab, lab_up
from scheduler.observer import Observer
from scheduler.preparation import Prepared
from scheduler.session import connect
from scheduler.simulation.faults import Fault
from scheduler.simulation.simulator import simulate
from scheduler.simulation.traces import alibaba
from scheduler.simulation.traces.trace import Trace
from scheduler.simulation.world import World

JOBS = ("job_1_norm.csv", "job_2_norm.csv")
WORKERS = (0, 2, 4, 6, 8)
"""Every other of the ten that each job has: more nodes than this machine has processors for would say little."""

ITERATIONS = 30
PART = 0.26
POLICIES = ("equal", "adaptive", "adaptive-pull")
SHARDS_PER_WORKER = 48


def excerpt(source: Path, folder: Path) -> Path:
    """Write some workers' first iterations as a trace of their own, workers numbered from 0."""
    with source.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    number = {str(worker): place for place, worker in enumerate(WORKERS)}
    path = folder / source.name
    with path.open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(["", *alibaba.COLUMNS])
        kept = [row for row in rows if row["worker"] in number and int(row["time"]) <= ITERATIONS]
        for place, row in enumerate(kept):
            table.writerow([place, number[row["worker"]], row["gpu"], row["time"], row["batch_time_norm"]])
    return path


class Follower(Observer):
    """Lets the nodes' processors follow a trace, from the moment at which all workers have their shards."""

    def __init__(self, lab: Lab, faults: Sequence[Fault]) -> None:
        self._lab, self._faults = lab, sorted(faults, key=lambda fault: fault.at_s)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def split(self, *_: Any) -> None:
        """Begin."""
        self._thread.start()

    def _follow(self) -> None:
        began_s = time.monotonic()
        for fault in self._faults:
            if self._over.wait(max(began_s + fault.at_s - time.monotonic(), 0.0)):
                return
            self._lab.slow(node_name(int(fault.machine.removeprefix("worker-"))), fault.factor)

    def end(self) -> None:
        """End, and let all nodes be as they were."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        for number in range(len(WORKERS)):
            self._lab.slow(node_name(number), 1.0)


def simulated_s(trace: Trace) -> dict[str, float]:
    """Return how long the simulator says that the job takes, under each policy."""
    world = World(trace.fleet, trace.workload, trace.faults)
    return {policy: simulate(world, resolve(f"spread+{policy}")).jobs[0].ended_s for policy in POLICIES}


def measure(problem: MixedProblem, console: Console) -> dict[str, Any] | str:
    """Run every job live under every policy, and simulate it; a text says why it is left out."""
    sources = [DATA / "alibaba-minibatch" / name for name in JOBS]
    if not all(source.is_file() for source in sources):
        return f"skipped: {sources[0]} is not there (set APPORTION_DATA)"
    num = len(WORKERS)
    found: dict[str, Any] = {}
    with lab_up(slow_nodes([PART] * num)) as lab, connect(lab.address):
        prepared = job_of(problem, num, ITERATIONS, num * SHARDS_PER_WORKER)
        with gang_for(prepared) as gang:
            trial = timed(gang, prepared.with_training(rounds=5), "equal")
            mean_s = float(np.mean(trial.round_s[1:]))
            for source in sources:
                path = excerpt(source, problem.file.parent)
                unit_s = mean_s / _mean(path)
                trace = alibaba.read_trace(path, unit_s, SHARDS_PER_WORKER)
                live = {policy: _followed(lab, gang, prepared, trace, policy) for policy in POLICIES}
                found[source.stem] = _compared(live, simulated_s(trace))
    console.print(table(found))
    return found


def _mean(path: Path) -> float:
    with path.open(newline="") as lines:
        return float(np.mean([float(row["batch_time_norm"]) for row in csv.DictReader(lines)]))


def _followed(lab: Lab, gang: Gang, prepared: Prepared, trace: Trace, policy: str) -> Timed:
    follower = Follower(lab, trace.faults)
    try:
        return timed(gang, prepared, policy, follower)
    finally:
        follower.end()


def _compared(live: dict[str, Timed], told_s: dict[str, float]) -> list[dict[str, Any]]:
    rows = []
    for policy, run in live.items():
        faster = sum(live["equal"].round_s) / sum(run.round_s)
        told = told_s["equal"] / told_s[policy]
        rows.append(
            {
                "policy": policy,
                "round_s": run.round_s,
                "speed_up": faster,
                "simulated_speed_up": told,
                "part_of_simulated": faster / told,
                "sha256": run.sha256,
            }
        )
    return rows


def table(found: dict[str, list[dict[str, Any]]]) -> Table:
    """Return the speed-ups over equal shares."""
    view = Table("job", "policy", title="Alibaba's stragglers: faster than equal shares", title_justify="left")
    for column in ("all rounds, s", "live", "simulated", "part of it", "model"):
        view.add_column(column, justify="right")
    for job, rows in found.items():
        for row in rows:
            view.add_row(
                job,
                row["policy"],
                f"{sum(row['round_s']):.1f}",
                f"{row['speed_up']:.3f}",
                f"{row['simulated_speed_up']:.3f}",
                f"{row['part_of_simulated']:.1%}",
                row["sha256"][:8],
            )
    return view
