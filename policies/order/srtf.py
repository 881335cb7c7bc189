"""Shortest remaining time first."""

from __future__ import annotations

from typing import ClassVar

from policies.interface import Claim, ClusterSnapshot, JobView, Order
from policies.order.turns import by_submission, kinds_of, known_first, shortest_s, whole


class Srtf(Order):
    """Run the jobs with the least time left, and stop others for them.

    To be picked where lengths are known and stopping a job costs little: on one machine no order has a lower mean
    time to completion. Long jobs may starve while short ones come. It looks at time alone; where gangs differ in
    size, ``srsf`` does better.

    The time left is ``JobView.remaining_s`` with as many workers as the job can use, on the fastest kind of node. Jobs
    of which it is not known come after the others, first come, first served. What stopping a job costs is not weighed.

    Cost: O(j log j).

    Source: Schrage, "A proof of the optimality of the shortest remaining processing time discipline", Operations
    Research 16(3), 1968.
    """

    name: ClassVar[str] = "srtf"
    source: ClassVar[str] = "Schrage, Operations Research 1968"
    preemptive: ClassVar[bool] = True
    promises: ClassVar[frozenset[str]] = frozenset({"work-conserving", "shortest-first"})

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return the claims of all jobs, the least time left first."""
        kinds = kinds_of(snapshot)

        def key(job: JobView) -> tuple[tuple[bool, float], tuple[float, str]]:
            return known_first(shortest_s(job, job.max_workers, kinds)), by_submission(job)

        return tuple(whole(job) for job in sorted(snapshot.jobs, key=key))
