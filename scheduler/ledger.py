"""The ledger: which jobs wait, which leases are held. Pure: events in, snapshots out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from policies.interface import ClusterPlan, ClusterSnapshot, Grant, JobView, NodeTable


@dataclass(frozen=True)
class Ledger:
    """Everything that is promised to anybody; each event returns a new ledger of the next version.

    Attributes
    ----------
    state
        The policy's memory from the last plan that was carried out.
    """

    version: int = 0
    jobs: tuple[JobView, ...] = ()
    leases: tuple[Grant, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)

    def submit(self, job: JobView) -> Ledger:
        """Let a job wait for its workers."""
        if any(known.id == job.id for known in self.jobs):
            raise ValueError(f"job {job.id} is in the ledger already")
        return replace(self, version=self.version + 1, jobs=(*self.jobs, job))

    def record(self, plan: ClusterPlan) -> Ledger:
        """Enter a plan that was carried out."""
        kept = tuple(lease for lease in self.leases if lease not in plan.revokes)
        return replace(self, version=self.version + 1, leases=(*kept, *plan.grants), state=plan.state)

    def drop(self, job: str) -> Ledger:
        """Forget a job that has ended, and its leases."""
        jobs = tuple(known for known in self.jobs if known.id != job)
        leases = tuple(lease for lease in self.leases if lease.job != job)
        return replace(self, version=self.version + 1, jobs=jobs, leases=leases)

    def snapshot(self, nodes: NodeTable, now_s: float, seed: int) -> ClusterSnapshot:
        """Return what a policy is to see."""
        return ClusterSnapshot(self.version, now_s, seed, nodes, self.jobs, self.leases, self.state)
