"""Shortest remaining service first."""

from __future__ import annotations

from typing import ClassVar

from policies.interface import Claim, ClusterSnapshot, JobView, Order
from policies.order.turns import by_submission, gpus, kinds_of, known_first, shortest_s, whole


class Srsf(Order):
    """Run the jobs with the least service left, time times GPUs, and stop others for them.

    To be picked where lengths are known, stopping a job costs little and gangs differ in size: a job on one GPU goes
    before one that takes as long on eight. Large and long jobs may starve while small ones come.

    The time left is ``JobView.remaining_s`` with as many workers as the job can use, on the fastest kind of node, and
    counts once for each GPU of those workers (each worker, where they have none). Jobs of which it is not known come
    after the others, first come, first served. What stopping a job costs is not weighed.

    Cost: O(j log j).

    Source: Gu, Chowdhury, Shin, Zhu, Jeon, Qian, Liu and Guo, "Tiresias: A GPU cluster manager for distributed deep
    learning", NSDI 2019 (SRSF).
    """

    name: ClassVar[str] = "srsf"
    source: ClassVar[str] = "Gu et al., Tiresias, NSDI 2019"
    preemptive: ClassVar[bool] = True
    promises: ClassVar[frozenset[str]] = frozenset({"work-conserving", "least-service-first"})

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return the claims of all jobs, the least service left first."""
        kinds = kinds_of(snapshot)

        def key(job: JobView) -> tuple[tuple[bool, float], tuple[float, str]]:
            left_s = shortest_s(job, job.max_workers, kinds)
            return known_first(left_s * job.max_workers * gpus(job)), by_submission(job)

        return tuple(whole(job) for job in sorted(snapshot.jobs, key=key))
