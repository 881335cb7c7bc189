"""Within tenants' quotas first, and on loan beyond them."""

from __future__ import annotations

from typing import ClassVar

from policies.interface import Claim, ClusterSnapshot, JobView, Order, Unplaced
from policies.order.tenancy import Quotas, tenants_of
from policies.order.turns import by_submission


class Quota(Order):
    """Run jobs within their tenants' quotas first; what is left over is lent to others, and taken back at need.

    To be picked where tenants were promised so much and the cluster should not stand idle: a tenant gets its quota
    whenever it has jobs for it, whoever uses it at the time. Among jobs within quota, and among borrowers, those that
    run come first, then the higher ``JobView.priority``, then first come, first served; so nobody within quota is
    stopped, and of the borrowers the last one first.

    A job is within quota if its least number of workers keeps its tenant, and every tenant above that, within theirs,
    with the jobs before it counted. It grows as far as the quotas go after all of them have their least number;
    a borrower grows on what is left. Tenants without a quota are within it; one that does not borrow is never beyond
    it, with its parts. The sum of the quotas is to be no more than the cluster: what is promised twice goes to who
    comes first.

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

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim | Unplaced, ...]:
        """Return the claims of all jobs: those within quota, then the borrowers."""
        running = {lease.job for lease in snapshot.leases}
        quotas = Quotas(tenants_of(snapshot))
        jobs = sorted(snapshot.jobs, key=lambda job: (job.id not in running, -job.priority, by_submission(job)))
        within = [job for job in jobs if quotas.take(job, job.min_workers)]
        granted = {job.id for job in within}
        claims = [Claim(job, job.min_workers, job.min_workers + quotas.grow(job)) for job in within]
        quotas.lend()
        beyond = [job for job in jobs if job.id not in granted]
        return (*claims, *(_loan(job, quotas) for job in beyond))


def _loan(job: JobView, quotas: Quotas) -> Claim | Unplaced:
    """Return the claim of a job beyond quota, or why it may not have one."""
    if not quotas.take(job, job.min_workers):
        return quotas.refusal(job)
    return Claim(job, job.min_workers, job.min_workers + quotas.grow(job))
