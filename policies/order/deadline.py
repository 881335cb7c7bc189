"""By deadline."""

from __future__ import annotations

import math
from typing import ClassVar

from policies.interface import Claim, ClusterSnapshot, JobView, Order, PolicyError, Shortfall, Unplaced
from policies.order.turns import by_submission, kinds_of, shortest_s, whole


class Deadline(Order):
    """Run the jobs with the earliest deadline, and admit none that cannot meet its own.

    To be picked where a late result is worth nothing: where all deadlines can be met on one machine, this order meets
    them. Whether a job could meet its deadline is asked of it alone, were it to start now with as many workers as it
    can use on the fastest kind of node; jobs of unknown length are believed to. Running jobs that turn out to be late
    go on, after all others, while nobody needs their nodes. Jobs without a deadline come after those
    with one, first come, first served.

    Cost: O(j log j).

    Parameters
    ----------
    hopeless
        What becomes of a waiting job that would be late: ``refuse`` it, or rank it ``last``.

    Raises
    ------
    PolicyError
        If ``hopeless`` is neither.

    Source: Liu and Layland, "Scheduling algorithms for multiprogramming in a hard-real-time environment", Journal of
    the ACM 20(1), 1973 (EDF).
    """

    name: ClassVar[str] = "deadline"
    source: ClassVar[str] = "Liu & Layland, J. ACM 1973"
    preemptive: ClassVar[bool] = True
    promises: ClassVar[frozenset[str]] = frozenset({"earliest-deadline-first"})

    def __init__(self, hopeless: str = "refuse") -> None:
        if hopeless not in ("refuse", "last"):
            raise PolicyError(f"hopeless must be 'refuse' or 'last', but got hopeless={hopeless!r}")
        self.hopeless = hopeless

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim | Unplaced, ...]:
        """Return the claims of all jobs, the earliest deadline first, and refuse those that would be late."""
        kinds, running = kinds_of(snapshot), {lease.job for lease in snapshot.leases}
        late: dict[str, Shortfall] = {}
        for job in snapshot.jobs:
            needed_s = shortest_s(job, job.max_workers, kinds)
            shortfall = Shortfall(
                "seconds",
                0.0 if math.isnan(needed_s) else needed_s,
                job.deadline_s - snapshot.now_s,
                f"until the deadline of job {job.id}",
            )
            if shortfall.requested > shortfall.free:
                late[job.id] = shortfall

        def key(job: JobView) -> tuple[bool, float, tuple[float, str]]:
            return job.id in late, job.deadline_s, by_submission(job)

        def turn(job: JobView) -> Claim | Unplaced:
            refused = job.id in late and job.id not in running and self.hopeless == "refuse"
            return Unplaced(job.id, 0, job.min_workers, (late[job.id],)) if refused else whole(job)

        return tuple(turn(job) for job in sorted(snapshot.jobs, key=key))
