"""The ledger: which jobs wait, which run, and on what. A pure state machine: events in, snapshots out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from policies.interface import ClusterPlan, ClusterSnapshot, Demand, Grant, JobView, NodeTable, Tenant

ANY_DEMAND = Demand()


class Ledger:
    """Everything that is promised to anybody; each event makes it the next version.

    Attributes
    ----------
    version
        Counts the events.
    state
        The policy's memory from the last plan that was carried out.
    tenants
        Who shares the cluster.
    """

    def __init__(self, tenants: tuple[Tenant, ...] = ()) -> None:
        self.version = 0
        self.tenants = tenants
        self.state: Mapping[str, Any] = {}
        self._waiting: dict[str, JobView] = {}
        self._running: dict[str, JobView] = {}
        self._leases: dict[str, dict[int, Grant]] = {}

    def __contains__(self, job: str) -> bool:
        """Say whether a job waits or runs."""
        return job in self._waiting or job in self._running

    @property
    def num_waiting(self) -> int:
        """How many jobs hold nothing."""
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        """How many jobs hold leases."""
        return len(self._running)

    @property
    def waiting(self) -> tuple[JobView, ...]:
        """The jobs that hold nothing."""
        return tuple(self._waiting.values())

    @property
    def running(self) -> tuple[JobView, ...]:
        """The jobs that hold leases."""
        return tuple(self._running.values())

    def job(self, job: str) -> JobView:
        """Return what is known of a job; raises ``KeyError`` where it is not in the ledger."""
        return self._waiting[job] if job in self._waiting else self._running[job]

    def leases(self, job: str) -> tuple[Grant, ...]:
        """Return what a job holds, by worker number."""
        held = self._leases.get(job, {})
        return tuple(held[worker] for worker in sorted(held))

    def num_leases(self, job: str) -> int:
        """Count what a job holds."""
        return len(self._leases.get(job, ()))

    def submit(self, job: JobView) -> None:
        """Let a job wait for its workers."""
        if job.id in self:
            raise ValueError(f"job {job.id} is in the ledger already")
        self._waiting[job.id] = job
        self.version += 1

    def note(self, job: JobView) -> None:
        """Enter what has become known of a job since: its progress, its service."""
        (self._waiting if job.id in self._waiting else self._running)[job.id] = job

    def record(self, plan: ClusterPlan, now_s: float = math.nan) -> None:
        """Enter a plan that was carried out at ``now_s``."""
        for lease in plan.revokes:
            self._take_back(lease)
        for grant in plan.grants:
            if grant.job in self._waiting:
                job = self._waiting.pop(grant.job)
                self._running[job.id] = replace(job, started_s=now_s) if math.isnan(job.started_s) else job
            self._leases.setdefault(grant.job, {})[grant.worker] = grant
        for lease in plan.revokes:
            if lease.job in self._running and not self._leases.get(lease.job):
                self._wait_again(lease.job)
        self.state = plan.state
        self.version += 1

    def lose(self, lease: Grant) -> None:
        """Strike a lease whose node is gone; a job without any waits again."""
        self._take_back(lease)
        if not self._leases.get(lease.job):
            self._wait_again(lease.job)
        self.version += 1

    def drop(self, job: str) -> None:
        """Forget a job that has ended, and its leases."""
        self._waiting.pop(job, None)
        self._running.pop(job, None)
        self._leases.pop(job, None)
        self.version += 1

    def _take_back(self, lease: Grant) -> None:
        held = self._leases.get(lease.job, {})
        if held.get(lease.worker) == lease:
            del held[lease.worker]

    def _wait_again(self, job: str) -> None:
        self._leases.pop(job, None)
        self._waiting[job] = self._running.pop(job)

    def snapshot(
        self, nodes: NodeTable, now_s: float, seed: int, running: bool = True, demand: Demand = ANY_DEMAND
    ) -> ClusterSnapshot:
        """Return what a policy is to see; without the ``running`` jobs and their leases if it has no use for them."""
        jobs = (*self._running.values(), *self._waiting.values()) if running else self.waiting
        leases = tuple(lease for held in self._leases.values() for lease in held.values()) if running else ()
        return ClusterSnapshot(self.version, now_s, seed, nodes, jobs, leases, self.state, self.tenants, demand)
