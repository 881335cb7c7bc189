"""A scheduler service without Ray: its registry, turns and journal on a cluster that is a table in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from threading import RLock
from typing import Any

from policies.feasibility import Room
from policies.interface import ClusterPlan, ClusterSnapshot, Grant, NodeTable, Resources
from scheduler.service.decisions import nodes_json, nodes_of
from scheduler.service.journal import Journal
from scheduler.service.orders import Desk
from scheduler.service.records import JobRecord, Lease, State
from scheduler.service.registry import Registry
from scheduler.service.submission import Estimate, Submission, Wishes
from scheduler.service.turns import Turns

GIB = 2.0**30
BEGAN_S = 1_700_000_000.0


class TableCluster:
    """Three nodes, of which the third has two GPUs; its clock stands still until it is told."""

    def __init__(self) -> None:
        amounts = [[4.0, 0.0, 4 * GIB], [4.0, 0.0, 4 * GIB], [2.0, 2.0, 2 * GIB]]
        ids = ("ant00000ffff", "bee00000ffff", "cat00000ffff")
        nodes = NodeTable.of(ids, amounts, amounts, kinds=["slow", "slow", "fast"])
        self._room = Room(nodes)
        self._held: dict[Grant, Resources] = {}
        self._groups: dict[Grant, str] = {}
        self._numbers = count()
        self.time_s = BEGAN_S
        self.bad: set[str] = set()
        self.snapshot: ClusterSnapshot | None = None
        self.snapshots: list[ClusterSnapshot] = []
        self.applied_s = 0.0

    def observe(self) -> NodeTable:
        return self._room.table()

    def now_s(self) -> float:
        return self.time_s

    def apply(self, plan: ClusterPlan, snapshot: ClusterSnapshot, within_s: float = 0.0) -> None:
        bundles = {job.id: job.bundle for job in snapshot.jobs}
        self.snapshot = snapshot
        self.snapshots.append(replace(snapshot, nodes=nodes_of(nodes_json(snapshot.nodes)[1])))  # the room goes on
        for lease in plan.revokes:
            self.release(lease)
        for grant in plan.grants:
            self._held[grant], self._groups[grant] = bundles[grant.job], f"group-{next(self._numbers)}"
            self._room.hold(bundles[grant.job], self._row(grant), grant.devices)

    def release(self, lease: Grant) -> None:
        self._room.release(self._held.pop(lease), self._row(lease), lease.devices)

    def _row(self, lease: Grant) -> int:
        row = self._room.row(lease.node)
        assert row is not None
        return row

    def group_of(self, grant: Grant) -> str:
        return self._groups[grant]

    def adopt(self, leases: Iterable[tuple[Lease, Resources]]) -> list[Lease]:
        return [lease for lease, _ in leases if lease.grant not in self._held]

    def bad_nodes(self) -> set[str]:
        return self.bad


class NoDrivers:
    """Every job of these tests is driven by its client."""

    def start(self, record: JobRecord) -> None:
        raise AssertionError(record.id)

    def stop(self, record: JobRecord) -> None:
        raise AssertionError(record.id)

    def ended(self, suspects: Sequence[str]) -> Mapping[str, str]:
        return {}

    def has_left(self, record: JobRecord) -> bool:
        return False


class Service:
    """What the actor is made of; each call is followed by a turn, a second later."""

    def __init__(self, policy: str | dict[str, Any] = "fifo+spread+equal") -> None:
        self.journal = Journal(":memory:")
        self.registry = Registry(self.journal)
        self.cluster = TableCluster()
        self._tokens = count()
        self.registry.set_policy(policy, BEGAN_S - 1.0)
        self.begin()

    def begin(self) -> None:
        """Let a service begin, from the journal."""
        self.registry = Registry(self.journal)
        self.registry.load(self.journal.jobs(), self.journal.tenants(), self.journal.setting("policy"))
        lock, desk, cluster = RLock(), Desk(0), self.cluster
        self.turns = Turns(self.registry, desk, self.journal, lambda _: cluster, NoDrivers(), lock, lambda _: None)
        self.turns.begin()
        self.turn()

    def turn(self, after_s: float = 1.0) -> None:
        self.cluster.time_s += after_s
        self.turns.turn()

    def submit(
        self, name: str, least: int = 1, most: int = 1, cpu: float = 1.0, gpu: float = 0.0, **more: Any
    ) -> JobRecord:
        estimate: Estimate | None = more.pop("estimate", None)
        workers = {"min": least, "max": most, "bundle": {"cpu": cpu, "gpu": gpu}}
        submission = Submission(
            token=f"{next(self._tokens):016x}",
            name=name,
            job={"workers": workers},
            user="ada",
            wishes=Wishes(**more),
            estimate=estimate,
            is_driven=True,
        )
        record = self.registry.submit(submission, self.cluster.time_s, self.cluster.observe())
        self.turn()
        return record

    def end(self, name: str, state: State = State.FINISHED) -> None:
        record = self.registry.find(name)
        self.cluster.time_s += 0.5
        self.turns.watching.end(record, state, "", self.cluster.time_s)
        self.turn()

    def touch(self) -> None:
        self.turns.touch()
        self.turn()
