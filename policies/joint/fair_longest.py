"""Longest first, and nobody later than is fair."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from policies.balance.equal import Equal
from policies.composed import Composed
from policies.interface import Balance, Claim, ClusterPlan, ClusterSnapshot, JobView, Memo, Order, Place, Policy
from policies.order.las import by_start
from policies.order.turns import counter, kinds_of, positive, shortest_s, whole
from policies.place.consolidate import Consolidate


class FairLongest(Policy):
    """Run the longest jobs first, but before them whoever would else end later than with a part of the cluster.

    To be picked where jobs of many owners share a cluster, lengths are known, and all of it should be done soon: long
    jobs that start late are what stretches the makespan, while the short ones can fill in as long as each ends in
    time. ``rho`` is the time from submission to the end, if the job ran from now on, over its fair time: what all of
    its work takes alone, times the number of jobs over that of workers that the cluster has room for. From ``due`` on
    a job goes first, the soonest fair end before others; else the one with the most time left, in powers of two, and
    among equals who started first, so that they do not stop each other again and again.

    The number of jobs is the largest that a job has met while it was there, and travels in the state: what was fair
    once does not become unfair when others leave. Themis takes the mean instead, and gives a gang of n workers n times
    the fair time; Shockwave divides all jobs of a trace by the GPUs. Jobs whose length is not known come last, first
    come, first served.

    Cost: that of the composition with ``consolidate``, and O(j log j).

    Parameters
    ----------
    due
        The rho from which on a job goes first, greater than 0: lower for more fairness, higher for a shorter makespan.
    place, balance
        The parts, written beside ``joint``; ``consolidate`` and ``equal`` without one.

    Raises
    ------
    PolicyError
        If ``due`` is out of bounds.

    Source: Apportion's own. rho is that of Mahajan et al., "Themis: Fair and efficient GPU cluster scheduling", NSDI
    2020, as counted by Zheng, Pan, Khan, Venkataraman and Akella, "Shockwave: Fair and efficient cluster scheduling for
    dynamic adaptation in machine learning", NSDI 2023, which weighs it against the makespan, too; longest first is
    Graham, "Bounds on multiprocessing timing anomalies", SIAM Journal on Applied Mathematics 17(2), 1969.
    """

    name = "fair-longest"
    source: ClassVar[str] = "Apportion; rho as in Zheng et al., NSDI 2023 (Shockwave); Graham, 1969 (longest first)"

    def __init__(self, due: float = 0.95, place: Place | None = None, balance: Balance | None = None) -> None:
        self.due = positive("due", due)
        self.place = place or Consolidate()
        self.balance = balance or Equal()

    def plan(self, snapshot: ClusterSnapshot, memo: Memo | None = None) -> ClusterPlan:
        """Plan as the composition with this order does."""
        before: Mapping[str, Any] = snapshot.state.get("most_jobs", {})
        most_jobs = {job.id: max(before.get(job.id, 0), len(snapshot.jobs)) for job in snapshot.jobs}
        plan = Composed(_Ranked(self.due, most_jobs), self.place, self.balance).plan(snapshot, memo)
        return replace(plan, state={"most_jobs": most_jobs})


class _Ranked(Order):
    """The order, once it is known how many jobs each has met."""

    name: ClassVar[str] = FairLongest.name
    source: ClassVar[str] = FairLongest.source
    preemptive: ClassVar[bool] = True

    def __init__(self, due: float, most_jobs: Mapping[str, int]) -> None:
        self._due, self._most_jobs = due, most_jobs

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        kinds, room = kinds_of(snapshot), counter(snapshot.nodes.emptied())

        def key(job: JobView) -> tuple[int, float, tuple[float, float, str]]:
            left_s = shortest_s(job, job.max_workers, kinds)
            if math.isnan(left_s):
                return 2, job.submitted_s, by_start(job)
            alone_s = shortest_s(replace(job, done=0.0), job.max_workers, kinds)
            fair_s = alone_s * max(self._most_jobs[job.id] / max(room(job), 1.0), 1.0)
            if snapshot.now_s - job.submitted_s + left_s >= self._due * fair_s:
                return 0, job.submitted_s + fair_s, by_start(job)
            return 1, -math.frexp(left_s)[1], by_start(job)

        return tuple(whole(job) for job in sorted(snapshot.jobs, key=key))
