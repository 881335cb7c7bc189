"""What no schedule can beat: lower bounds on the end of all jobs and on their mean end.

They hold for every schedule in which a gang runs whole, with ``min_workers`` to ``max_workers`` workers on nodes of one
kind at a time, makes progress at ``JobView.rates``, and the nodes hold what all gangs need together. It may interrupt
and move gangs, and change their size, at no cost and as often as it likes; so one that must not can only be worse.
A job of which the work or some rate is not known may be short, and is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from policies.feasibility import slots
from policies.joint.problem import Problem
from policies.joint.programs import Program
from policies.tables import Floats, NodeTable
from policies.views import ClusterSnapshot, JobView


def makespan_bound_s(snapshot: ClusterSnapshot) -> float:
    """Return a lower bound on the seconds from now until the last job of a snapshot ends; infinite if one never does.

    Why it holds: take any schedule that ends after M seconds, and let W[j, k] be the work that job j did on kind k. A
    job is in one place at a time, so W[j, k] over its highest rate there, added up over the kinds, is at most M. For
    that work it held at least as many worker-seconds as its most frugal number of workers needs, and what all jobs
    held of a kind, over M, is at most what the kind has. With X[j, k] = W[j, k] / (M * highest rate), that is a
    solution of the linear programme for M; so the least M of all solutions is no more. In particular it is no less
    than the shortest time in which any single job can end. The figure is exact but for rounding, 1e-6 of it.
    """
    needs = _needs(snapshot)
    if not len(needs.work):
        return 0.0
    fastest = needs.rate.max(axis=1, initial=0.0)
    if (fastest <= 0).any():
        return math.inf
    left_s, ones = needs.work / fastest, np.ones(len(needs.work))
    problem = Problem(
        speeds=needs.rate / fastest[:, None],
        use=np.divide(needs.held, needs.capacity, out=np.zeros_like(needs.held), where=needs.capacity > 0),
        left_s=left_s,
        weight=ones,
        age_s=ones,
        within_s=ones,
        count=ones,
        price=np.zeros_like(needs.rate),
    )
    classes, _ = problem.merged("left_s")
    return 1 / Program(classes).most(np.zeros(len(classes)), classes.left_s).value


def mean_completion_bound_s(snapshot: ClusterSnapshot) -> float:
    """Return a lower bound on the mean over jobs of the seconds from now until each ends.

    Why it holds: when i jobs have ended in any schedule, at least the i smallest amounts of a resource (in
    resource-seconds, each job's least over the kinds) have been used up, which takes their sum over all that there is
    of the resource. And the slowest of those i jobs took at least its shortest time, which is no less than the i-th
    smallest of all. So the i-th end is no earlier than the largest of these, and the mean of them is a bound. With one
    resource it is that of shortest processing time first on a single machine as fast as the cluster (Smith, Naval
    Research Logistics Quarterly 3, 1956).
    """
    needs = _needs(snapshot)
    if not len(needs.work):
        return 0.0
    fastest = needs.rate.max(axis=1, initial=0.0)
    if (fastest <= 0).any():
        return math.inf
    rate, never = needs.rate[:, :, None], np.full(needs.held.shape, np.inf)
    least = np.divide(needs.held, rate, out=never, where=rate > 0).min(axis=1)
    used = np.cumsum(np.sort(least * needs.work[:, None], axis=0), axis=0)
    everything = needs.capacity.sum(axis=0)
    ends = np.divide(used, everything, out=np.zeros_like(used), where=everything > 0)
    return float(np.maximum(ends.max(axis=1), np.sort(needs.work / fastest)).mean())


@dataclass(frozen=True)
class _Needs:
    """The least that jobs need of each kind of node.

    Attributes
    ----------
    work
        What is left to do, over 0; length j.
    rate
        The highest rate on each kind, 0 where the gang does not fit; shape ``(j, k)``.
    held
        What is held on a kind at this rate, if its most frugal number of workers did it; shape ``(j, k, 3)``.
    capacity
        What the nodes of each kind have; shape ``(k, 3)``.
    """

    work: Floats
    rate: Floats
    held: Floats
    capacity: Floats


def _needs(snapshot: ClusterSnapshot) -> _Needs:
    kinds = sorted(set(snapshot.nodes.kinds))
    empty = snapshot.nodes.emptied()
    tables = [empty.take([n for n, kind in enumerate(empty.kinds) if kind == one]) for one in kinds]
    work, rate, held = [], [], []
    for job in sorted(snapshot.jobs, key=lambda job: job.id):
        left = job.work - job.done
        pairs = [_fastest(job, kind, table) for kind, table in zip(kinds, tables, strict=True)]
        if left > 0 and not any(math.isnan(fastest) for fastest, _ in pairs):
            work.append(left)
            rate.append([fastest for fastest, _ in pairs])
            held.append([workers * job.bundle.vector() for _, workers in pairs])
    capacity = np.array([table.capacity.sum(axis=0) for table in tables]).reshape(len(kinds), 3)
    shape = (len(work), len(kinds))
    return _Needs(np.array(work), np.array(rate).reshape(shape), np.array(held).reshape(*shape, 3), capacity)


def _fastest(job: JobView, kind: str, table: NodeTable) -> tuple[float, float]:
    """Return the highest rate on a kind, and how many workers it takes at the rate of the most frugal number each."""
    most = int(min(slots(job, table).sum(), job.max_workers))
    if most < job.min_workers:
        return 0.0, 0.0
    measured = len(job.rates.get(kind, job.rates.get("", ())))
    numbers = range(job.min_workers, min(most, max(measured, job.min_workers)) + 1)  # beyond, the rate stays
    rates = [job.rate(workers, kind) for workers in numbers]
    fastest = max(rates) if not any(map(math.isnan, rates)) else math.nan
    frugal = max(rate / workers for rate, workers in zip(rates, numbers, strict=True))
    return max(fastest, 0.0), fastest / frugal if frugal > 0 else 0.0
