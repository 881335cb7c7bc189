"""What jobs hold: after every change of the ledger, journal, records and drivers' orders are brought up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import replace
from typing import Protocol

from policies.interface import ClusterPlan, ClusterSnapshot, Grant, Resources
from scheduler.ledger import Ledger
from scheduler.loop import Cluster
from scheduler.service.decisions import DecisionLog, nodes_json
from scheduler.service.journal import Journal
from scheduler.service.orders import Command, Desk
from scheduler.service.records import Lease, State
from scheduler.service.registry import Registry
from scheduler.service.watching import Watching


class Leasing(Cluster, Protocol):
    """What the service needs of a cluster beside what the loop needs."""

    snapshot: ClusterSnapshot | None
    applied_s: float

    def release(self, lease: Grant) -> None:
        """Give a lease's resources back."""

    def group_of(self, grant: Grant) -> str:
        """Return the id of a lease's placement group."""

    def adopt(self, leases: Iterable[tuple[Lease, Resources]]) -> list[Lease]:
        """Hold the leases of the service before this one, and return those that are gone."""

    def bad_nodes(self) -> set[str]:
        """Return the nodes on which nobody is to work any more."""


class Holdings:
    """The ledger's leases, with the placement groups that hold them.

    Under the service's lock.

    Parameters
    ----------
    tell
        Called with a job whose orders have changed.
    """

    def __init__(
        self,
        registry: Registry,
        desk: Desk,
        journal: Journal,
        cluster: Leasing,
        ledger: Ledger,
        watching: Watching,
        tell: Callable[[str], None],
    ) -> None:
        self._registry, self._desk, self._journal = registry, desk, journal
        self._cluster, self._ledger, self._watching, self._tell = cluster, ledger, watching, tell
        self._leases: dict[Grant, Lease] = {}
        self._log = DecisionLog()

    def adopt(self, now_s: float) -> None:
        """Take up the jobs and leases of the service before this one, as far as they are there."""
        live = {record.id: record for record in self._registry.live}
        known: list[Lease] = []
        strays: list[Lease] = []
        for lease in self._journal.open_leases():
            (known if lease.grant.job in live else strays).append(lease)
        bundles = {name: record.view.bundle for name, record in live.items()}
        gone = self._cluster.adopt([(lease, bundles[lease.grant.job]) for lease in known])
        for lease in (*strays, *gone):
            self._journal.end_lease(lease, now_s)
        kept = [lease for lease in known if lease not in gone]
        self._leases = {lease.grant: lease for lease in kept}
        for record in live.values():
            mine = [lease for lease in kept if lease.grant.job == record.id]
            if mine or record.state.wants_workers:
                self._ledger.submit(replace(record.view, started_s=record.started_s))
            if mine:
                self._ledger.record(ClusterPlan(self._ledger.version, tuple(one.grant for one in mine)))
            command = Command.STOP if record.state is State.STOPPING else Command.WORK
            self._desk.tell(record.id, mine, command)
            self._watching.note_leases(record, len(mine), now_s)

    def of(self, job: str) -> list[Lease]:
        """Return what a job of the ledger holds, by worker number."""
        return [self._leases[lease] for lease in self._ledger.leases(job)]

    def end(self, leases: Iterable[Grant], job: str) -> None:
        """Let it be known that these leases of a job are held no longer."""
        for lease in leases:
            self._close(lease)
        self._note(job)

    def enter(self, policy: str, plan: ClusterPlan, took_s: float, jobs: Set[str]) -> None:
        """Write a decision down, and let it be known what came and went with it, for ``jobs`` too.

        Parameters
        ----------
        policy
            What the journal is to call whoever decided.
        took_s
            How long it took to decide.
        """
        log, self._log = self._log, DecisionLog()  # if this is not written, the next one tells everything anew
        with self._registry.together():
            self._write_down(policy, plan, took_s, log)
            for lease in plan.revokes:
                self._close(lease)
            for grant in plan.grants:
                self._open(grant)
            self._settle(jobs | {lease.job for lease in (*plan.revokes, *plan.grants)})
        self._log = log

    def settle(self, jobs: Set[str]) -> None:
        """Let it be known what these jobs hold: plans that could not be carried out took leases back, too."""
        with self._registry.together():
            self._settle(jobs)

    def _settle(self, jobs: Set[str]) -> None:
        for lease in [one for one in self._leases if one.job in jobs and one not in self._ledger.leases(one.job)]:
            self._close(lease)
        for job in sorted(jobs):
            self._note(job)

    def _write_down(self, policy: str, plan: ClusterPlan, took_s: float, log: DecisionLog) -> None:
        snapshot = self._cluster.snapshot
        if snapshot is None:
            raise AssertionError("a plan was carried out on one")
        since = log.since(snapshot)
        self._journal.add_decision(
            at_s=snapshot.now_s,
            version=plan.version,
            policy=policy,
            seed=snapshot.seed,
            nodes=self._journal.add_nodes(*nodes_json(snapshot.nodes)),
            num_jobs=len(snapshot.jobs),
            took_s=took_s,
            applied_s=self._cluster.applied_s,
            since=since,
            **log.enter(plan),
        )

    def _open(self, grant: Grant) -> None:
        self._close(grant)  # the same, of a plan before this one that could not be carried out
        lease = self._leases[grant] = Lease(grant, self._cluster.group_of(grant), self._cluster.now_s())
        view = self._ledger.job(grant.job)
        self._journal.open_lease(lease, view.tenant, view.bundle)

    def _close(self, lease: Grant) -> None:
        if known := self._leases.pop(lease, None):
            self._journal.end_lease(known, self._cluster.now_s())

    def _note(self, job: str) -> None:
        """Let a job's record and its driver know what it holds now."""
        leases = self.of(job) if job in self._ledger else []
        record = self._registry[job]
        self._watching.note_leases(record, len(leases), self._cluster.now_s())
        if not record.state.has_ended and self._desk.tell(job, leases, self._desk.orders(job).command):
            self._tell(job)
