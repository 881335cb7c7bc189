"""Gavel's published makespans (jobs on GPUs of three kinds) beside our simulator: see ``benchmarks.published``."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.gavel import JOBS, PUBLISHED
from benchmarks.gavel_trace import ROUND_S, jobs, nodes
from benchmarks.published_report import Section, Shown, over
from policies.balance.equal import Equal
from policies.interface import ClusterPlan, ClusterSnapshot, Memo, Policy
from policies.joint.bounds import makespan_bound_s
from policies.joint.gangs import Gangs
from policies.joint.pools import Pools
from policies.joint.turns import Turns
from policies.place.pack import Pack
from policies.presets import resolve
from scheduler.simulation.fleet import Fleet
from scheduler.simulation.simulator import simulate
from scheduler.simulation.traces import gavel
from scheduler.simulation.workload import SimulatedJob, Workload
from scheduler.simulation.world import World

SIZES = (100, 300, 700)
MOST_SEEDS = 3
"""The published makespans are means over the seeds 0, 1 and 2."""

OURS: dict[str, Any] = {
    "pop": {"joint": {"pop": {"inner": "min-makespan"}}},
    "max-min-throughput": "max-min-throughput",
    "finish-time-fair-lp": "finish-time-fair-lp",
    "allox": "allox",
}
"""Policies without a published makespan, and what ``resolve`` takes for them."""

MOST_JOBS = 300
"""With more, those take minutes."""

V100S = "fifo on V100s"
"""The same queue where the GPUs of the other kinds are left alone."""

LIKE = {"FIFO": ("fifo", V100S), "min_total_duration_perf": ("min-makespan",)}
"""The published policy -> what may stand for it."""


class FastestFirst(Policy):
    """Let the first in the queue run on the fastest kind that has room for it, and so on; nobody overtakes.

    Every round begins anew, so that a job comes to a faster kind when there is room. That is "FIFO" as the authors'
    program has it where it knows the speeds (``scheduler/policies/fifo.py``); our order ``fifo`` leaves the kind to the
    placement, and no placement looks at a job's speed there.
    """

    name, balance = "fifo", Equal()

    def plan(self, snapshot: ClusterSnapshot, memo: Memo | None = None) -> ClusterPlan:
        """Give turns in the order of arrival."""
        del memo
        queue = sorted(snapshot.jobs, key=lambda job: (job.submitted_s, job.id))
        pools = Pools.of(snapshot)
        gangs = Gangs.of(queue, pools)
        urgency = np.full(gangs.rates.shape, -np.inf)
        left = np.array([table.free[:, 1].sum() for table in pools.cleared])
        for row in range(len(queue)):
            need = gangs.need[row, :, 1]
            kinds = np.flatnonzero((gangs.workers[row] > 0) & (need <= left))
            if not len(kinds):
                break
            kind = kinds[np.argmax(gangs.rates[row, kinds])]
            left[kind] -= need[kind]
            urgency[row, kind] = -row
        chosen = Gangs(gangs.workers * np.isfinite(urgency), gangs.rates, gangs.measured, gangs.need)
        turns = Turns(snapshot, queue, chosen, pools, Pack(), False)
        turns.take(urgency, gangs.rates)
        return turns.plan({})


def policy_of(name: str) -> Policy:
    """Return the policy of a column."""
    return FastestFirst() if name in LIKE["FIFO"] else resolve(OURS.get(name, name))


def makespan_h(name: str, num_jobs: int, seed: int) -> float:
    """Simulate the jobs under a policy: rounds of 6 minutes, no restart costs; the makespan in hours."""
    batch = tuple(SimulatedJob(job) for job in islice(jobs(seed), num_jobs))
    machines = tuple(machine for machine in gavel.fleet().machines if name != V100S or machine.kind == "v100")
    world = World(Fleet(machines), Workload(batch), seed=seed, every_s=ROUND_S)
    run = simulate(world, policy_of(name), keep_timeline=False)
    return max(job.ended_s for job in run.jobs) / 3600


def bound_h(num_jobs: int, seed: int) -> float:
    """Return what no schedule can beat, in hours."""
    return makespan_bound_s(ClusterSnapshot(0, 0.0, 0, nodes(), tuple(islice(jobs(seed), num_jobs)))) / 3600


def section(seeds: int, mapped: Callable[..., Iterable[Any]]) -> Section:
    """Run everything, ``mapped`` over processes; what has no published makespan with one seed."""
    some, names = range(min(seeds, MOST_SEEDS)), [name for mine in LIKE.values() for name in mine]
    cases = [(name, size, seed) for size in reversed(SIZES) for name in names for seed in some]
    cases += [(name, size, 0) for size in reversed(SIZES) for name in OURS if size <= MOST_JOBS]
    found = dict(zip(cases, mapped(makespan_h, *zip(*cases, strict=True)), strict=True))
    rows, bounds = [], {size: [bound_h(size, seed) for seed in some] for size in SIZES}
    for size in SIZES:
        cells = [f"{statistics.fmean(bounds[size]):.1f}"]
        for theirs, mine in LIKE.items():
            was = PUBLISHED[theirs][JOBS.index(size)]
            means = [statistics.fmean(found[name, size, seed] for seed in some) for name in mine]
            cells += [f"{was:.1f}", *(f"{mean:.1f} ({over(mean, was)})" for mean in means)]
        rows.append([str(size), *cells, *(_hours(found.get((name, size, 0))) for name in OURS)])
    heads = [text for theirs, mine in LIKE.items() for text in (f"{theirs}, published", *mine)]
    title = f"Gavel: makespan in hours, mean of {len(some)} batches; the last {len(OURS)} columns of the first batch"
    figures = {
        "bound_h": {size: bounds[size] for size in SIZES},
        "makespan_h": [{"policy": name, "jobs": size, "seed": seed, "h": h} for (name, size, seed), h in found.items()],
    }
    return Section([Shown(title, ["jobs", "bound", *heads, *OURS], rows)], figures)


def _hours(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
