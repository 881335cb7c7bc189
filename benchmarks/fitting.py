"""The simulator's parameters from runs that were measured. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import nnls

from scheduler.results.outcome import Activity, Interval, JobOutcome, RunOutcome
from scheduler.simulation.workload import Learning
from scheduler.simulation.world import Costs


@dataclass(frozen=True)
class Fit:
    """What was fitted: the speed of each node, the costs of everything but learning, and of a call on its worker."""

    speeds: Mapping[str, float]
    costs: Costs
    s_per_call: float


def fitted(runs: Sequence[RunOutcome], learnings: Mapping[str, Learning]) -> Fit:
    """Fit runs in which every worker had the same share of its job in one call a round, and all nodes worked for it.

    A node's speed is the work that was done there for the seconds that it took; starting and calling take a part that
    is the same everywhere, and one that goes with the node's speed, both at least 0 by least squares.

    Parameters
    ----------
    learnings
        Of the jobs of the runs, by id, as measured at speed 1.
    """
    speeds = _speeds(runs, learnings)
    starts = [(speeds[one.node], one.to_s - job.started_s) for _, job, one in _of(runs, Activity.STARTING)]
    carried = [(speeds[one.node], one.to_s - one.from_s) for _, _, one in _of(runs, Activity.MOVING)]
    start_s, start_work_s = _affine(starts)
    call_s, s_per_call = _affine(carried)
    jobs = [job for run in runs for job in run.jobs]
    costs = Costs(
        start_s=start_s,
        start_work_s=start_work_s,
        call_s=call_s,
        round_s=_round_s(runs),
        end_s=statistics.median(job.ended_s - job.rounds[-1].ended_s for job in jobs),
        release_s=_release_s(runs),
    )
    return Fit(speeds, costs, s_per_call)


def _of(runs: Sequence[RunOutcome], activity: Activity) -> list[tuple[RunOutcome, JobOutcome, Interval]]:
    return [
        (run, job, one)
        for run in runs
        for job in run.jobs
        for one in run.intervals
        if one.job == job.id and one.activity is activity
    ]


def _speeds(runs: Sequence[RunOutcome], learnings: Mapping[str, Learning]) -> dict[str, float]:
    """Return the median over rounds of the work done at a node, for the seconds that it took."""
    found: dict[str, list[float]] = {}
    for _, job, one in _of(runs, Activity.BUSY):
        learning = learnings[job.id]
        work_s = learning.work * learning.s_per_work / job.workers
        found.setdefault(one.node, []).append(work_s / (one.to_s - one.from_s))
    return {node: statistics.harmonic_mean(speeds) for node, speeds in found.items()}


def _affine(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the least-squares ``(a, b)``, at least 0, of ``seconds = a + b / speed``, medians by speed."""
    by_speed: dict[float, list[float]] = {}
    for speed, seconds in points:
        by_speed.setdefault(speed, []).append(seconds)
    matrix = np.array([(1.0, 1.0 / speed) for speed in by_speed])
    (a, b), _ = nnls(matrix, np.array([statistics.median(seconds) for seconds in by_speed.values()]))
    return float(a), float(b)


def _round_s(runs: Sequence[RunOutcome]) -> float:
    """Return the median time from the last answer of a round to the first call of the next."""
    found = []
    for run in runs:
        for job in run.jobs:
            begins: dict[int, float] = {}
            for one in run.intervals:
                if one.job == job.id and one.activity is Activity.MOVING:
                    begins[one.round] = min(begins.get(one.round, one.from_s), one.from_s)
            found += [
                begins[number + 1] - done.ended_s for number, done in enumerate(job.rounds) if number + 1 in begins
            ]
    return max(statistics.median(found), 0.0) if found else 0.0


def _release_s(runs: Sequence[RunOutcome]) -> float:
    """Return the median time from a job's end to the start of one that had waited for it, 0 where none had."""
    found = []
    for run in runs:
        started = sorted(run.jobs, key=lambda job: job.started_s)
        pairs = pairwise(started)
        found += [later.started_s - job.ended_s for job, later in pairs if later.submitted_s < job.ended_s]
    return max(statistics.median(found), 0.0) if found else 0.0
