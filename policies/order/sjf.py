"""Shortest job first."""

from __future__ import annotations

from typing import ClassVar

from policies.interface import Claim, ClusterSnapshot, JobView, Order
from policies.order.turns import by_submission, kinds_of, known_first, shortest_s, waiting, whole


class Sjf(Order):
    """Start the job that takes the least time first, and let it run to its end.

    To be picked where lengths are known and jobs cannot be stopped: short jobs do not wait behind long ones, and the
    mean time to completion is the least that is possible on one machine. Long jobs may starve while short ones come,
    and large gangs while small ones fit.

    The length is ``JobView.remaining_s`` with as many workers as the job can use, on the fastest kind of node. Jobs of
    unknown length come after those of known length, first come, first served.

    Cost: O(j log j).

    Source: Smith, "Various optimizers for single-stage production", Naval Research Logistics Quarterly 3, 1956.
    """

    name: ClassVar[str] = "sjf"
    source: ClassVar[str] = "Smith, Naval Research Logistics Quarterly 1956"
    needs_running: ClassVar[bool] = False
    promises: ClassVar[frozenset[str]] = frozenset({"work-conserving", "shortest-first"})

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return the claims of jobs without leases, the shortest first."""
        kinds = kinds_of(snapshot)

        def key(job: JobView) -> tuple[tuple[bool, float], tuple[float, str]]:
            return known_first(shortest_s(job, job.max_workers, kinds)), by_submission(job)

        return tuple(whole(job) for job in sorted(waiting(snapshot), key=key))
