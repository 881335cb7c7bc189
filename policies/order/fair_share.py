"""Fair shares for elastic jobs: every plan divides the cluster anew."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from policies.feasibility import Room
from policies.interface import Claim, ClusterSnapshot, JobView, NodeTable, Order, Unplaced
from policies.order.progressive import ProgressiveFilling
from policies.order.tenancy import Quotas, tenants_of
from policies.order.turns import counter

DIGITS = 6
"""To which digit resources are added up: sums of the same leases in another order must not break ties otherwise."""


class FairShare(Order):
    """Divide the cluster anew at every plan: quotas first, then loans, each to the tenant with the lowest share.

    To be picked for a service where tenants share a cluster and jobs may be resized at any time at no cost. A tenant's
    share is its largest of CPU, GPU and memory, over its weight, of all that is not used by others than these jobs.
    The poorest tenant is served next, worker by worker: its next job gets its least number whole, and once
    it has no job left that could start, its jobs grow. So jobs shrink when another tenant has a right to their room,
    and grow into what is free. Parents share as under ``drf``.

    What is within the quotas of a tenant and of all above it is served first, growth too; tenants without a quota
    are within it always. What is left is lent, by the same rule. A tenant that does not borrow stays within
    its quota, with its parts.

    Of a tenant's jobs the higher ``JobView.priority`` goes first, then the earlier deadline, then those that run, then
    first come, first served. A running job is stopped only for a job of its own tenant with a higher priority or an
    earlier deadline, or where other tenants have a right to what it needs at least; it shrinks first. Planning again
    when nothing has happened changes nothing, as long as what fits the cluster fits its nodes.

    A job waits only if it does not fit beside those that have a right, or beyond a quota that may not be exceeded.
    Where tenants have equal shares, at first nothing, the one with the oldest job goes first. So a gang as large
    as the cluster starts when it is the first of its tenant, and no other tenant has an older job; then the others
    wait for it. It may be overtaken by jobs of its own tenant for as long as these overlap, unless its
    priority is higher.

    Cost: O(k (j + w) (log t + p) + c n) for w workers of j jobs, t tenants of at most p parts, and c classes of
    bundles; k is 1 where no job starts or stops, and seldom more than 3.

    Raises
    ------
    PolicyError
        By ``rank``, if a tenant is a part of itself or weighs nothing.

    Source: Ghodsi, Zaharia, Hindman, Konwinski, Shenker and Stoica, "Dominant resource fairness: Fair allocation of
    multiple resource types", NSDI 2011; quotas and loans as in the capacity scheduler of Hadoop YARN (Vavilapalli et
    al., "Apache Hadoop YARN: Yet another resource negotiator", SoCC 2013).
    """

    name: ClassVar[str] = "fair-share"
    source: ClassVar[str] = "Ghodsi et al., NSDI 2011; YARN's capacity scheduler (Vavilapalli et al., SoCC 2013)"
    preemptive: ClassVar[bool] = True
    promises: ClassVar[frozenset[str]] = frozenset({"work-conserving"})

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim | Unplaced, ...]:
        """Return the claims of all jobs: as progressive filling serves them, then of those for whom nothing is left."""
        return _Division(snapshot).turns()


class _Division:
    """Who gets how much of one snapshot."""

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self._jobs = {job.id: job for job in sorted(snapshot.jobs, key=_by_rank)}
        self._running = frozenset(lease.job for lease in snapshot.leases if lease.job in self._jobs)
        self._tenants = tenants_of(snapshot)
        nodes = _without_leases(snapshot, self._jobs)
        self._total = np.round(np.maximum(nodes.free, 0.0).sum(axis=0), DIGITS)
        self._room = counter(nodes)
        self._oldest: dict[str, float] = {}
        for job in snapshot.jobs:
            self._oldest[job.tenant] = min(job.submitted_s, self._oldest.get(job.tenant, math.inf))

    def turns(self) -> tuple[Claim | Unplaced, ...]:
        """Return everybody's turn."""
        filling, quotas = self._settled()
        rest = [job for job in self._jobs.values() if job.id not in filling.workers]
        late = sorted(rest, key=lambda job: job.id not in self._running)
        return (
            *(Claim(self._jobs[name], self._jobs[name].min_workers, most) for name, most in filling.workers.items()),
            *(_late(job, quotas) for job in late),
        )

    def _settled(self) -> tuple[ProgressiveFilling, Quotas]:
        """Divide as if those were running who would be, until that changes nothing: nor will the next plan.

        Where it would go round in circles, any of the circle ends at the same division.
        """
        found: dict[frozenset[str], tuple[ProgressiveFilling, Quotas]] = {}
        running = self._running
        while running not in found:
            found[running] = self._divided(running)
            running = frozenset(found[running][0].workers)
        circle = list(found)[list(found).index(running) :]
        return min((found[one] for one in circle), key=lambda division: sorted(division[0].workers))

    def _divided(self, running: frozenset[str]) -> tuple[ProgressiveFilling, Quotas]:
        """Fill the quotas and lend the rest, when ``running`` are the jobs that run."""
        jobs = sorted(self._jobs.values(), key=lambda job: (-job.priority, job.deadline_s, job.id not in running))
        quotas = Quotas(self._tenants)
        filling = ProgressiveFilling(jobs, self._tenants, self._total, self._total, self._room, turns=self._oldest)
        filling.fill(quotas.take)
        quotas.lend()
        filling.fill(quotas.take)
        return filling, quotas


def _by_rank(job: JobView) -> tuple[float, float, float, str]:
    """Return the key that sorts a tenant's jobs, of which nobody runs."""
    return -job.priority, job.deadline_s, job.submitted_s, job.id


def _late(job: JobView, quotas: Quotas) -> Claim | Unplaced:
    """Return the claim of a job for which filling has left nothing, or why it may have none."""
    if not quotas.take(job, job.min_workers):
        return quotas.refusal(job)
    return Claim(job, job.min_workers, job.min_workers, yields=True)


def _without_leases(snapshot: ClusterSnapshot, jobs: Mapping[str, JobView]) -> NodeTable:
    """Return the nodes with nobody on them but others than these jobs."""
    room = Room(snapshot.nodes)
    for lease in snapshot.leases:
        row = room.row(lease.node)
        if lease.job in jobs and row is not None:
            room.release(jobs[lease.job].bundle, row, lease.devices)
    return room.table()
