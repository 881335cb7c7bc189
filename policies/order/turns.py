"""What orders share: who waits, and claims for whole gangs."""

from __future__ import annotations

from policies.interface import Claim, ClusterSnapshot, JobView


def waiting(snapshot: ClusterSnapshot) -> list[JobView]:
    """Return the jobs that hold no lease."""
    running = {lease.job for lease in snapshot.leases}
    return [job for job in snapshot.jobs if job.id not in running]


def whole(job: JobView) -> Claim:
    """Return the claim of a job for as many workers as it can use."""
    return Claim(job, job.min_workers, job.max_workers)
