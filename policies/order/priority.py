"""By priority, which grows with waiting."""

from __future__ import annotations

from typing import ClassVar

from policies.interface import Claim, ClusterSnapshot, JobView, Order
from policies.order.turns import by_submission, positive, waiting, whole


class Priority(Order):
    """Start the job with the highest priority first; who waits rises by one every ``age_s`` seconds.

    To be picked where some jobs matter more and none may be forgotten: whoever waits long enough goes before every
    newcomer, and holds up all behind it until it fits. Running jobs are not stopped.

    Cost: O(j log j).

    Parameters
    ----------
    age_s
        Seconds of waiting that count as one step of ``JobView.priority``; greater than 0.

    Raises
    ------
    PolicyError
        If ``age_s`` is out of bounds.

    Source: Silberschatz and Galvin, "Operating System Concepts", sections "Priority scheduling" and "Aging"; the age
    factor of Slurm's multifactor priority.
    """

    name: ClassVar[str] = "priority"
    source: ClassVar[str] = "Silberschatz & Galvin, Operating System Concepts; Slurm multifactor"
    needs_running: ClassVar[bool] = False
    blocking: ClassVar[bool] = True
    promises: ClassVar[frozenset[str]] = frozenset({"starvation-free"})

    def __init__(self, age_s: float = 3600.0) -> None:
        self.age_s = positive("age_s", age_s)

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return the claims of jobs without leases, the highest aged priority first."""

        def key(job: JobView) -> tuple[float, tuple[float, str]]:
            waited_s = max(snapshot.now_s - job.submitted_s, 0.0)
            return -(job.priority + waited_s / self.age_s), by_submission(job)

        return tuple(whole(job) for job in sorted(waiting(snapshot), key=key))
