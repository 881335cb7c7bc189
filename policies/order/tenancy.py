"""Who belongs to whom, and what each was promised: the tree of tenants and its quotas."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from policies.feasibility import TOLERANCE
from policies.interface import RESOURCES, ClusterSnapshot, Floats, JobView, PolicyError, Shortfall, Tenant, Unplaced


def tenants_of(snapshot: ClusterSnapshot) -> Mapping[str, Tenant]:
    """Return every tenant that is listed, owns a job or is a parent, by name; who is not listed weighs 1.

    Raises
    ------
    PolicyError
        If a tenant is a part of itself, or its weight is not greater than 0.
    """
    found = {tenant.name: tenant for tenant in snapshot.tenants}
    for name in sorted({job.tenant for job in snapshot.jobs} | {tenant.parent for tenant in snapshot.tenants} - {""}):
        found.setdefault(name, Tenant(name))
    for tenant in found.values():
        if not tenant.weight > 0:
            raise PolicyError(f"tenant {tenant.name}: weight must be greater than 0, but got weight={tenant.weight!r}")
        lineage(tenant.name, found)
    return found


def lineage(name: str, tenants: Mapping[str, Tenant]) -> tuple[str, ...]:
    """Return a tenant and all that it is a part of, from itself up."""
    found = [name]
    while parent := tenants[found[-1]].parent:
        if parent in found:
            raise PolicyError(f"tenant {name} is a part of itself: {' -> '.join([*found, parent])}")
        found.append(parent)
    return tuple(found)


class Quotas:
    """What is left of every tenant's quota; a job counts in those of its tenant and of every tenant above that."""

    def __init__(self, tenants: Mapping[str, Tenant]) -> None:
        self._tenants = tenants
        self._left: dict[str, Floats] = {
            name: tenant.quota.vector() for name, tenant in tenants.items() if tenant.quota is not None
        }
        self._bounds_of: dict[str, list[str]] = {}

    def take(self, job: JobView, workers: int) -> bool:
        """Count ``workers`` workers of a job if they are within quota, and say whether they are."""
        if not (bounds := self._bounds(job)):
            return True
        amount = job.bundle.vector() * workers
        if any((amount > self._left[name] + TOLERANCE).any() for name in bounds):
            return False
        self.count(job, workers)
        return True

    def count(self, job: JobView, workers: int) -> None:
        """Count ``workers`` workers of a job that has them already, within quota or not."""
        for name in self._bounds(job):
            self._left[name] = self._left[name] - job.bundle.vector() * workers

    def grow(self, job: JobView) -> int:
        """Count as many more workers of a job as its maximum and the quotas allow, and return how many."""
        more = int(min(self.fit(job), job.max_workers - job.min_workers))
        self.take(job, more)
        return more

    def lend(self) -> None:
        """Let tenants that borrow go beyond their quotas from now on."""
        self._left = {name: left for name, left in self._left.items() if not self._tenants[name].borrows}
        self._bounds_of = {}

    def refusal(self, job: JobView) -> Unplaced:
        """Say of a job whose least workers are not within quota what is short, and whose quota that is."""
        amount = job.bundle.vector() * job.min_workers
        reasons = tuple(
            Shortfall(RESOURCES[r], float(amount[r]), float(self._left[name][r]), f"quota of tenant {name}")
            for name in self._bounds(job)
            for r in np.flatnonzero(amount > self._left[name] + TOLERANCE)
        )
        return Unplaced(job.id, int(self.fit(job)), job.min_workers, reasons)

    def fit(self, job: JobView) -> float:
        """Count how many more workers of a job are within quota."""
        bundle = job.bundle.vector()
        wants = bundle > 0
        more = [
            np.floor((self._left[name] + TOLERANCE)[wants] / bundle[wants]).min(initial=math.inf)
            for name in self._bounds(job)
        ]
        return float(max(min(more, default=math.inf), 0.0))

    def _bounds(self, job: JobView) -> list[str]:
        """Return the tenant of a job and all above it, as far as they have a quota that counts."""
        found = self._bounds_of.get(job.tenant)
        if found is None:
            found = [name for name in lineage(job.tenant, self._tenants) if name in self._left]
            self._bounds_of[job.tenant] = found
        return found
