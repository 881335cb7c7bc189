"""By finish-time fairness."""

from __future__ import annotations

import math
from typing import ClassVar

from policies.interface import Claim, ClusterSnapshot, JobView, Order
from policies.order.turns import by_submission, counter, kinds_of, known_first, shared_rate, shortest_s, whole


class FinishTimeFair(Order):
    """Run the jobs first that sharing the cluster harms most, by the time at which they end.

    To be picked where jobs of many owners share a cluster and lengths are known: each should end no later than with
    a part of the cluster of its own. ``rho`` is the time from submission to the end, if the job ran from now on, over
    the time that all of its work takes on one J-th of the workers that the cluster has room for, with J jobs now. The
    largest comes first. Who waits grows worse, so that it gets its turn.

    This is the measure of Themis without its auction: jobs do not bid, the worst is served first (as with Themis'
    fairness knob at 1), and J is that of now and not of the job's whole life. Where leases are to last a while, as
    they do there, plan that seldom. Jobs whose length is not known come last, first come, first served.

    Cost: O(j log j + c n) for c classes of bundles.

    Source: Mahajan, Balasubramanian, Singhvi, Venkataraman, Akella, Phanishayee and Chawla, "Themis: Fair and
    efficient GPU cluster scheduling", NSDI 2020.
    """

    name: ClassVar[str] = "finish-time-fair"
    source: ClassVar[str] = "Mahajan et al., Themis, NSDI 2020"
    preemptive: ClassVar[bool] = True
    promises: ClassVar[frozenset[str]] = frozenset({"work-conserving"})

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return the claims of all jobs, the worst off first."""
        rho = finish_time_fairness(snapshot)

        def key(job: JobView) -> tuple[tuple[bool, float], tuple[float, str]]:
            return known_first(-rho[job.id]), by_submission(job)

        return tuple(whole(job) for job in sorted(snapshot.jobs, key=key))


def finish_time_fairness(snapshot: ClusterSnapshot) -> dict[str, float]:
    """Return ``rho`` of every job: over 1 where it ends later than with its own part; NaN where that is not known."""
    kinds, room = kinds_of(snapshot), counter(snapshot.nodes.emptied())
    held = snapshot.held()
    found: dict[str, float] = {}
    for job in snapshot.jobs:
        workers = len(held.get(job.id, ())) or job.max_workers
        shared_s = snapshot.now_s - job.submitted_s + shortest_s(job, workers, kinds)
        rate = shared_rate(job, room(job) / len(snapshot.jobs), kinds)
        alone_s = job.work / rate if rate else math.inf
        found[job.id] = shared_s / alone_s if alone_s else math.inf
    return found
