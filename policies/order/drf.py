"""Dominant resource fairness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from policies.interface import Claim, ClusterSnapshot, Floats, JobView, Order
from policies.order.filling import claims
from policies.order.progressive import ProgressiveFilling
from policies.order.tenancy import tenants_of
from policies.order.turns import by_submission, counter, waiting


class Drf(Order):
    """Serve the tenant with the lowest dominant share next, the largest of its shares of CPU, GPU and memory.

    To be picked where tenants with different needs share a cluster: each gets at least what an equal part of the
    cluster would give it, none would rather have another's, and none gains by asking for what it does not need (up
    to the size of a job). Running jobs count, and are not stopped. Shares are divided by the tenants' weights.

    Of a tenant's jobs the first submitted comes first. It gets its least number of workers; further ones are handed
    out, by the same rule, when the tenant has no job left that could start. Whether one could is judged by the free
    resources of all nodes together; who cannot is ranked behind, and may start if it fits after all.

    Tenants may be parts of others. A parent's share is that of its parts together, each scaled down to the poorest that
    can still use more; one that cannot (for want of jobs, or of the resources that they need) counts in full. So
    no part starves because another has much of what it does not want.

    Cost: O((j + w) (log t + p) + c n) for w workers to be handed out, t tenants of at most p parts, and c classes of
    bundles.

    Raises
    ------
    PolicyError
        By ``rank``, if a tenant is a part of itself or weighs nothing.

    Source: Ghodsi, Zaharia, Hindman, Konwinski, Shenker and Stoica, "Dominant resource fairness: Fair allocation of
    multiple resource types", NSDI 2011; the tree is H-DRF of Bhattacharya, Culler, Friedman, Ghodsi, Shenker
    and Stoica, "Hierarchical scheduling for diverse datacenter workloads", SoCC 2013.
    """

    name: ClassVar[str] = "drf"
    source: ClassVar[str] = "Ghodsi et al., NSDI 2011; Bhattacharya et al., SoCC 2013"
    promises: ClassVar[frozenset[str]] = frozenset({"work-conserving"})

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return the claims of jobs without leases, as progressive filling serves them."""
        nodes, jobs = snapshot.nodes, {job.id: job for job in snapshot.jobs}
        waits = sorted(waiting(snapshot), key=by_submission)
        free = np.maximum(nodes.free, 0.0).sum(axis=0)
        filling = ProgressiveFilling(
            waits, tenants_of(snapshot), nodes.capacity.sum(axis=0), free, counter(nodes), used=_used(snapshot, jobs)
        )
        filling.fill()
        return claims(waits, filling.workers)


def _used(snapshot: ClusterSnapshot, jobs: Mapping[str, JobView]) -> dict[str, Floats]:
    """Add up what every tenant's running jobs have."""
    used: dict[str, Floats] = {}
    for name, num in sorted(Counter(lease.job for lease in snapshot.leases if lease.job in jobs).items()):
        job = jobs[name]
        used[job.tenant] = used.get(job.tenant, np.zeros(3)) + job.bundle.vector() * num
    return used
