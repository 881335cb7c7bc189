"""First come, first served."""

from __future__ import annotations

from typing import ClassVar

from policies.interface import Claim, ClusterSnapshot, Order


class Fifo(Order):
    """First come, first served: by time of submission, ties by job id.

    A job that does not fit is ``Unplaced`` and the next one is tried, so nothing waits behind it (see
    ``policies.composed.Composed``).

    Source: Schwiegelshohn and Yahyapour, "Analysis of first-come-first-serve parallel job scheduling", SODA
    1998.
    """

    name: ClassVar[str] = "fifo"
    source: ClassVar[str] = "Schwiegelshohn & Yahyapour, SODA 1998"

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return one claim for every job that holds no lease, by ``submitted_s`` (seconds), then by id."""
        held = {lease.job for lease in snapshot.leases}
        waiting = sorted((job.submitted_s, job.id, job) for job in snapshot.jobs if job.id not in held)
        return tuple(Claim(job.id, job.bundle, job.min_workers, job.max_workers) for _, _, job in waiting)
