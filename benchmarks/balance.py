"""How near each balance policy comes to what is possible: on random clusters, and on two jobs with stragglers.

``make bench-balance``, or ``python -m benchmarks.balance --json balance.json``. Times are computed, not measured, so
the figures are the same on every machine. The jobs are Alibaba's mini-batch traces (``alibaba-minibatch`` under
``APPORTION_DATA``); without them that table is left out, and says so.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import facts
from benchmarks.problems import DATA
from policies.balance.filling import water_level
from policies.bounds import makespan_bound
from policies.interface import MEMORY, Balance, Floats, Ints, PolicyError, RoundView, frozen
from policies.presets import BALANCES
from policies.rehearsal import Rehearsal, rehearse
from policies.strategies import shard_table, worker_table

MINI_BATCHES = DATA / "alibaba-minibatch"
CHUNKS = 32
"""Shards a worker, in the replay of the traces."""

SPREAD = 0.3
"""By how much speeds change between two rounds: standard deviation of their logarithm."""

PUBLISHED = {
    1: {"ideal": 1.12, "whole-job proportional": 1.03, "EWMA": 1.06, "pull, 32 chunks a worker": 1.10},
    2: {"ideal": 1.13, "whole-job proportional": 1.10, "EWMA": 1.11, "pull, 32 chunks a worker": 1.12},
}
"""Job -> speed-ups over an equal split, as in the README of the shared data."""


def clusters(number: int, tight: bool, seed: int = 0) -> list[RoundView]:
    """Draw round views: 2 to 64 workers up to 8 times as fast as others, 2 to 64 shards a worker that differ or not.

    Where ``tight``, memory is for 1.1 to 1.5 times the data in all, and no more for the fast than for the slow.
    """
    random = np.random.default_rng(seed)
    views = []
    for _ in range(number):
        num_workers = int(2 ** random.uniform(1, 6))
        num_shards = int(num_workers * 2 ** random.uniform(1, 6))
        kind = random.integers(3)
        work = (np.full(num_shards, 1000.0), random.uniform(100, 1000, num_shards), random.lognormal(6, 1, num_shards))
        rows = np.ceil(work[kind])
        memory = 8 * rows.sum() / num_workers * (random.uniform(1.1, 1.5) if tight else num_workers)
        bundle = [(1.0, 0.0, memory + 8 * rows.max())] * num_workers
        s_per_work = 1e-6 * 2 ** random.uniform(0, 3, num_workers)
        views.append(RoundView("j", 0, worker_table(bundle, s_per_work.tolist()), shard_table(rows, 8 * rows)))
    return views


def bound_s(view: RoundView, s_per_work: Floats) -> float:
    """Return seconds that no hand-out of everything at once can be below, with whole shards or with memory."""
    work, limit = view.shards.work, view.workers.bundle[:, MEMORY] / 8
    capped, _ = water_level(float(work.sum()), np.zeros(len(s_per_work)), s_per_work, limit)
    return max(makespan_bound(work, s_per_work), capped)


def seconds_at(view: RoundView, s_per_work: Floats) -> Callable[[int, Ints], float]:
    """Return what a call takes."""
    return lambda worker, shards: float(view.shards.work[shards].sum() * s_per_work[worker])


def played(balance: Balance, view: RoundView, s_per_work: Floats) -> Rehearsal:
    """Play one round, in which idle workers ask for more."""
    answer = rehearse(balance, replace(view, pulls=True), seconds_at(view, s_per_work))
    if not isinstance(answer, Rehearsal):
        raise PolicyError(f"{balance.name}: {answer}")
    return answer


def over_bound(views: Sequence[RoundView]) -> dict[str, Any]:
    """Return each policy's makespan over the bound in a first round, with speeds as measured."""
    bounds = [bound_s(view, view.workers.s_per_work) for view in views]
    found = {}
    for name, balance in BALANCES.items():
        rounds = [played(balance(), view, view.workers.s_per_work) for view in views]
        found[name] = spread([one.makespan_s / bound for one, bound in zip(rounds, bounds, strict=True)])
    return found


def after_a_change(views: Sequence[RoundView], seed: int = 1) -> dict[str, Any]:
    """Return the second round's makespan over the bound, and the part of the bytes moved, after speeds have changed."""
    random = np.random.default_rng(seed)
    speeds = [view.workers.s_per_work * random.lognormal(0, SPREAD, len(view.workers)) for view in views]
    bounds = [bound_s(view, now) for view, now in zip(views, speeds, strict=True)]
    found = {}
    for name, balance in BALANCES.items():
        ratios, moved = [], []
        for view, now, bound in zip(views, speeds, bounds, strict=True):
            policy = balance()
            later = played(policy, view, now).following(view)
            told = replace(later, workers=replace(view.workers, s_per_work=frozen(now)))
            second = played(policy, told, now)
            ratios.append(second.makespan_s / bound)
            sizes = view.shards.bytes
            moved.append(sizes[second.worker_of != later.resident].sum() / sizes.sum())
        found[name] = {**spread(ratios), "moved_mean": float(np.mean(moved))}
    return found


def spread(ratios: Sequence[float]) -> dict[str, float]:
    """Return median, 99th percentile and maximum."""
    return {"median": float(np.median(ratios)), "p99": float(np.percentile(ratios, 99)), "max": float(max(ratios))}


def trace(job: int) -> Floats:
    """Return seconds per mini-batch, a row an iteration, a column a worker; iterations that lack one are left out."""
    cells: dict[tuple[int, int], float] = {}
    with (MINI_BATCHES / f"job_{job}_norm.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            cells[int(row["time"]), int(row["worker"])] = float(row["batch_time_norm"] or math.nan)
    times, workers = (sorted({key[axis] for key in cells}) for axis in (0, 1))
    seconds = np.array([[cells.get((time, worker), math.nan) for worker in workers] for time in times])
    return seconds[np.isfinite(seconds).all(axis=1)]


def replay(balance: Balance, seconds: Floats) -> float:
    """Return the seconds of all iterations, each a round, of which the policy knows those before."""
    num_workers = seconds.shape[1]
    workers = worker_table([(1.0, 0.0, 1e18)] * num_workers, [math.nan] * num_workers)
    shards = np.ones(CHUNKS * num_workers)
    view, total_s = RoundView("j", 0, workers, shard_table(shards, shards)), 0.0
    for row in seconds:
        one = played(balance, view, row / CHUNKS)
        total_s += one.makespan_s
        view = one.following(view)
    return total_s


def replays(job: int) -> dict[str, Any]:
    """Return each policy's speed-up over an equal split, and its part of the ideal's."""
    seconds = trace(job)
    equal_s = float(seconds.max(axis=1).sum())
    ideal = equal_s / float((seconds.shape[1] / (1 / seconds).sum(axis=1)).sum())
    ups = {name: equal_s / replay(balance(), seconds) for name, balance in BALANCES.items()}
    return {
        "iterations": len(seconds),
        "ideal": ideal,
        "published": PUBLISHED[job],
        "policies": {name: {"speed_up": up, "of_ideal": up / ideal} for name, up in ups.items()},
    }


def show(title: str, rows: dict[str, dict[str, float]]) -> None:
    """Print a table, a line a policy."""
    columns = list(next(iter(rows.values())))
    print(f"\n{title}\n{'':24}" + "".join(f"{column:>12}" for column in columns))
    for name, row in rows.items():
        print(f"{name:24}" + "".join(f"{row[column]:12.3f}" for column in columns))


def main() -> None:
    """Compute everything, print tables, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clusters", type=int, default=500, help="random clusters of each kind (default 500)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure here")
    arguments = parser.parse_args()
    ample, tight = (clusters(arguments.clusters, tight) for tight in (False, True))
    figures: dict[str, Any] = {"machine": facts(), "clusters": arguments.clusters}
    figures["ample"], figures["tight"] = over_bound(ample), over_bound(tight)
    figures["changed"] = after_a_change(ample)
    show(f"Makespan over the lower bound, {arguments.clusters} random clusters", figures["ample"])
    show("The same, with memory for 1.1 to 1.5 times the data", figures["tight"])
    print("(those that pull may be below: only what is handed out at once must fit)")
    show(f"A second round, after speeds changed by {SPREAD:.0%}, and the part of the bytes moved", figures["changed"])
    figures["jobs"] = {}
    for job in PUBLISHED:
        if not MINI_BATCHES.is_dir():
            print(f"\njob_{job}: skipped, {MINI_BATCHES} is not there (set APPORTION_DATA)")
            continue
        figures["jobs"][job] = found = replays(job)
        published = ", ".join(f"{name} {up:.2f}" for name, up in found["published"].items())
        show(f"job_{job}: speed-up over an equal split; ideal {found['ideal']:.3f} ({published})", found["policies"])
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
