"""Within tenants' quotas first, and on loan beyond them."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from policies.feasibility import TOLERANCE
from policies.interface import Claim, ClusterSnapshot, Floats, JobView, Order
from policies.order.tenancy import lineage, tenants_of
from policies.order.turns import by_submission


class Quota(Order):
    """Run jobs within their tenants' quotas first; what is left over is lent to others, and taken back at need.

    To be picked where tenants were promised so much and the cluster should not stand idle: a tenant gets its quota
    whenever it has jobs for it, whoever uses it at the time. Among jobs within quota, and among borrowers, those that
    run come first, then the higher ``JobView.priority``, then first come, first served; so nobody within quota is
    stopped, and of the borrowers the last one first.

    A job is within quota if its least number of workers keeps its tenant, and every tenant above that, within theirs,
    with the jobs before it counted. It grows as far as the quotas go after all of them have their least number;
    a borrower grows on what is left. Tenants without a quota are within it. The sum of the quotas is to be no more
    than the cluster: what is promised twice goes to who comes first.

    Cost: O(j (log j + d)) for tenants d levels deep.

    Raises
    ------
    PolicyError
        By ``rank``, if a tenant is a part of itself or weighs nothing.

    Source: the capacity scheduler of Hadoop YARN (Vavilapalli et al., "Apache Hadoop YARN: Yet another resource
    negotiator", SoCC 2013); cohorts, borrowing and reclaiming of Kubernetes' Kueue.
    """

    name: ClassVar[str] = "quota"
    source: ClassVar[str] = "YARN's capacity scheduler (Vavilapalli et al., SoCC 2013); Kueue"
    preemptive: ClassVar[bool] = True
    promises: ClassVar[frozenset[str]] = frozenset({"work-conserving"})

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return the claims of all jobs: those within quota, then the borrowers."""
        running = {lease.job for lease in snapshot.leases}
        quotas = _Quotas(snapshot)
        jobs = sorted(snapshot.jobs, key=lambda job: (job.id not in running, -job.priority, by_submission(job)))
        within = [job for job in jobs if quotas.take(job, job.min_workers)]
        granted = {job.id for job in within}
        return (
            *(Claim(job, job.min_workers, job.min_workers + quotas.grow(job)) for job in within),
            *(Claim(job, job.min_workers, job.max_workers) for job in jobs if job.id not in granted),
        )


class _Quotas:
    """What is left of every tenant's quota."""

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self._tenants = tenants_of(snapshot)
        self._left: dict[str, Floats] = {
            name: np.full(3, math.inf) if tenant.quota is None else tenant.quota.vector()
            for name, tenant in self._tenants.items()
        }

    def take(self, job: JobView, workers: int) -> bool:
        """Count ``workers`` workers of a job if they are within quota, and say whether they are."""
        amount = job.bundle.vector() * workers
        above = lineage(job.tenant, self._tenants)
        if any((amount > self._left[name] + TOLERANCE).any() for name in above):
            return False
        for name in above:
            self._left[name] = self._left[name] - amount
        return True

    def grow(self, job: JobView) -> int:
        """Count as many more workers of a job as its maximum and the quotas allow, and return how many."""
        bundle = job.bundle.vector()
        left = np.min([self._left[name] for name in lineage(job.tenant, self._tenants)], axis=0)
        wants = bundle > 0
        most = np.floor((left[wants] + TOLERANCE) / bundle[wants]).min(initial=job.max_workers - job.min_workers)
        self.take(job, int(max(most, 0)))
        return int(max(most, 0))
