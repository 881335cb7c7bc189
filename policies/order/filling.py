"""Handing out workers one at a time to whom they help most: what elastic orders share."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from policies.feasibility import TOLERANCE
from policies.interface import Claim, ClusterSnapshot, Floats, JobView
from policies.order.turns import by_submission, counter

Gain = Callable[[JobView, int], float]
"""What one more worker is worth to a job that has so many; NaN where it is not known."""


class Pool:
    """The resources of the whole cluster, those of running jobs included, added up over the nodes."""

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        bundles = {job.id: job.bundle.vector() for job in snapshot.jobs}
        held = [bundles[lease.job] for lease in snapshot.leases if lease.job in bundles]
        self.total: Floats = snapshot.nodes.capacity.sum(axis=0)
        self._free: Floats = np.maximum(snapshot.nodes.free, 0.0).sum(axis=0) + np.sum([np.zeros(3), *held], axis=0)

    def take(self, job: JobView, workers: int) -> bool:
        """Take ``workers`` bundles of ``job`` if they are left, and say whether they were."""
        left = self._free - job.bundle.vector() * workers
        if (left < -TOLERANCE).any():
            return False
        self._free = left
        return True

    def share(self, job: JobView) -> float:
        """Return the dominant share of a bundle of ``job``: its largest part of any resource of the cluster."""
        bundle = job.bundle.vector()
        return float((bundle[bundle > 0] / self.total[bundle > 0]).max(initial=0.0))


def fill(snapshot: ClusterSnapshot, gain: Gain) -> dict[str, int]:
    """Hand out the cluster: to every job its least number of workers, then one after the other where it gains most.

    Jobs with fewer least workers come first, then those submitted first. A worker goes to the job with the largest
    gain over its dominant share, as long as one gains anything at all. With equal bundles and gains that shrink with
    every worker, no other division of as many workers gains more in all.

    Returns
    -------
    dict
        Job -> its number of workers, in the order in which they got their first; those without are not there.
    """
    pool, room = Pool(snapshot), counter(snapshot.nodes.emptied())
    jobs = sorted(snapshot.jobs, key=lambda job: (job.min_workers, by_submission(job)))
    workers: dict[str, int] = {}
    for job in jobs:
        if room(job) >= job.min_workers and pool.take(job, job.min_workers):
            workers[job.id] = job.min_workers
    queue: list[tuple[float, tuple[float, str], JobView]] = []

    def offer(job: JobView) -> None:
        if workers[job.id] < min(job.max_workers, room(job)):
            value, share = gain(job, workers[job.id]), pool.share(job)
            if value > 0:
                heapq.heappush(queue, (-value / share if share else -math.inf, by_submission(job), job))

    for job in jobs:
        if job.id in workers:
            offer(job)
    while queue:
        _, _, job = heapq.heappop(queue)
        if pool.take(job, 1):
            workers[job.id] += 1
            offer(job)
    return workers


def claims(jobs: Sequence[JobView], workers: Mapping[str, int]) -> tuple[Claim, ...]:
    """Return a claim for up to that many workers for each job that has some; for the least number, after them, else."""
    named = {job.id: job for job in jobs}
    rest = sorted((job for job in jobs if job.id not in workers), key=by_submission)
    return (
        *(Claim(named[name], named[name].min_workers, most) for name, most in workers.items()),
        *(Claim(job, job.min_workers, job.min_workers) for job in rest),
    )
