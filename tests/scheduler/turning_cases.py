"""A scheduler service without Ray whose drivers can die, and that can itself be killed between any two writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from threading import RLock
from typing import Any

from service_cases import GIB, TableCluster

from policies.interface import ClusterPlan, ClusterSnapshot, Grant, Resources
from scheduler.ledger import Ledger
from scheduler.loop import StalePlanError
from scheduler.service.journal import Journal
from scheduler.service.orders import Command, Desk
from scheduler.service.records import Heard, JobRecord, Lease, State
from scheduler.service.registry import DEFAULT_POLICY, Registry
from scheduler.service.submission import Submission, Wishes
from scheduler.service.turns import Turns


class Killed(BaseException):
    """The service's process ends here."""


class Fuse:
    """Kills the service after so many writes."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Killed


class BurningJournal(Journal):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__(":memory:")
        self._fuse = fuse

    def save(self, record: JobRecord) -> None:
        self._fuse.burn()
        super().save(record)

    def note(self, at_s: float, kind: str, job: str = "", user: str = "", **details: Any) -> None:
        self._fuse.burn()
        super().note(at_s, kind, job, user, **details)

    def open_lease(self, lease: Lease, tenant: str, bundle: Resources) -> None:
        self._fuse.burn()
        super().open_lease(lease, tenant, bundle)

    def end_lease(self, lease: Lease, now_s: float) -> None:
        self._fuse.burn()
        super().end_lease(lease, now_s)


class BurningCluster(TableCluster):
    """Lets actors leave first, as the service's cluster does; ``refusals`` plans are found to be stale."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse
        self.rest: Any = None
        self.refusals = 0

    def apply(self, plan: ClusterPlan, snapshot: ClusterSnapshot, within_s: float = 0.0) -> None:
        self.snapshot = snapshot
        if plan.revokes:
            self.rest(plan.revokes)
        for lease in plan.revokes:
            self.release(lease)
        if plan.grants and self.refusals:
            self.refusals -= 1
            raise StalePlanError("a node did not give a bundle", plan.revokes)
        for grant in plan.grants:
            self._fuse.burn()
            super().apply(ClusterPlan(plan.version, (grant,)), snapshot)

    def release(self, lease: Grant) -> None:
        self._fuse.burn()
        if lease in self._held:
            super().release(lease)

    def adopt(self, leases: Iterable[tuple[Lease, Resources]]) -> list[Lease]:
        known = [lease for lease, _ in leases]
        there = {one.grant for one in known if self._groups.get(one.grant) == one.group}
        for stray in [grant for grant in self._held if grant not in there]:
            super().release(stray)
        return [lease for lease in known if lease.grant not in self._held]

    @property
    def held(self) -> dict[Grant, str]:
        return {grant: self._groups[grant] for grant in self._held}

    def lose(self, node: str) -> None:
        """Take back whatever is held on a node, as where its host is gone."""
        for grant in [grant for grant in self._held if grant.node == node]:
            super().release(grant)


@dataclass
class Driver:
    """The process that drives a job: it has actors on the leases of its orders, and stops when it is told to."""

    job: str
    attempt: int
    holds: tuple[Grant, ...] = ()
    rounds: int = 0
    is_deaf: bool = False


@dataclass
class FakeDrivers:
    """Drivers by the name that Ray would know them by, those ever started or ended, and the clients that are gone."""

    alive: dict[str, Driver] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)

    def start(self, record: JobRecord) -> None:
        self.started.append(record.driver)
        self.alive[record.driver] = Driver(record.id, record.num_attempts)

    def stop(self, record: JobRecord) -> None:
        self.stopped.append(record.driver)
        self.alive.pop(record.driver, None)

    def ended(self, suspects: Sequence[str]) -> Mapping[str, str]:
        return {name: "its process has died" for name in suspects if name not in self.alive}

    def has_left(self, record: JobRecord) -> bool:
        return record.driver in self.gone

    def of(self, job: str) -> list[Driver]:
        return [one for one in self.alive.values() if one.job == job]

    def die(self, job: str) -> None:
        self.alive = {name: one for name, one in self.alive.items() if one.job != job}


class HeardDesk(Desk):
    """Whoever looks whether a driver has left lets it hear first."""

    def __init__(self, first: int, world: World) -> None:
        super().__init__(first)
        self._world = world

    def has_left(self, job: str, leases: Iterable[Grant]) -> bool:
        self._world.listen(job)
        return super().has_left(job, leases)


class World:
    """A service, its cluster and its drivers; only the service can be killed."""

    def __init__(self, policy: str | dict[str, Any] = DEFAULT_POLICY) -> None:
        self.fuse = Fuse()
        self.journal = BurningJournal(self.fuse)
        self.cluster = BurningCluster(self.fuse)
        self.drivers = FakeDrivers()
        self._tokens, self._services = count(), count(1)
        self.registry = Registry(self.journal)
        self.registry.set_policy(policy, self.now_s)
        self.begin()

    @property
    def now_s(self) -> float:
        return self.cluster.time_s

    @property
    def ledger(self) -> Ledger:
        return self.turns._ledger

    def begin(self) -> None:
        """Let a service begin, from the journal."""
        self.fuse.left = None
        self.registry = Registry(self.journal)
        self.registry.load(self.journal.jobs(), self.journal.tenants(), self.journal.setting("policy"))
        self.desk = HeardDesk(1000 * next(self._services), self)

        def cluster(rest: Any) -> BurningCluster:
            self.cluster.rest = rest
            return self.cluster

        self.turns = Turns(self.registry, self.desk, self.journal, cluster, self.drivers, RLock(), lambda job: None)
        self.turns.begin()

    def listen(self, job: str) -> None:
        """Let a job's drivers ask for their orders, and follow them, as ``SchedulerService.follow`` answers them."""
        for driver in self.drivers.of(job):
            record = self.registry[job]
            if driver.is_deaf:
                continue
            if record.state.has_ended or driver.attempt != record.num_attempts:
                del self.drivers.alive[f"apportion-{job}-{driver.attempt}"]
                continue
            orders = self.desk.orders(job)
            if orders.command is Command.STOP:
                del self.drivers.alive[record.driver]
                self.turns.watching.end(record, State.STOPPED, "stopped", self.now_s)
                continue
            driver.holds = tuple(one.grant for one in orders.leases)
            self.desk.hear(job, driver.holds)
            heard = Heard(driver.rounds, 1000)
            self.turns.watching.hear(record, heard, len(driver.holds), self.now_s)

    def turn(self, num: int = 2, after_s: float = 1.0) -> None:
        """Let turns pass, each after all drivers have asked for their orders."""
        for _ in range(num):
            for driver in list(self.drivers.alive.values()):
                self.listen(driver.job)
            self.cluster.time_s += after_s
            self.turns.turn()

    def submission(
        self, name: str, least: int = 1, most: int = 1, cpu: float = 1.0, gpu: float = 0.0, **wishes: Any
    ) -> Submission:
        bundle = {"cpu": cpu, "gpu": gpu}
        return Submission(
            token=f"{next(self._tokens):016x}",
            name=name,
            job={"workers": {"min": least, "max": most, "bundle": bundle}, "shards": 64},
            user="ada",
            wishes=Wishes(**wishes),
        )

    def hand_in(self, submission: Submission) -> JobRecord:
        return self.registry.submit(submission, self.now_s, self.turns.nodes)

    def submit(self, name: str, *bounds: int, **more: Any) -> JobRecord:
        """Hand in a job, and let two turns pass."""
        record = self.hand_in(self.submission(name, *bounds, **more))
        self.turn()
        return self.registry[record.id]

    def control(self, job: str, act: str) -> None:
        self.registry.control(job, act, "ada", False, self.now_s)

    def resize(self, job: str, least: int | None, most: int | None) -> None:
        self.registry.resize(job, least, most, "ada", False, self.now_s, self.turns.nodes)

    def finish(self, job: str) -> None:
        """Let a job's driver say that it is done."""
        self.drivers.die(job)
        self.turns.watching.end(self.registry[job], State.FINISHED, "", self.now_s)

    def num_held(self, job: str) -> int:
        return len(self.ledger.leases(job))


def check_books(world: World) -> None:
    """Journal, cluster and ledger tell the same of leases, and no node is over its capacity."""
    journal = {one.grant: one.group for one in world.journal.open_leases()}
    assert len(journal) == len(world.journal.open_leases())
    assert journal == world.cluster.held
    by_ledger = [lease for job in world.ledger.running for lease in world.ledger.leases(job.id)]
    assert sorted(journal, key=str) == sorted(by_ledger, key=str)
    nodes = world.cluster.observe()
    used = {name: [0.0, 0.0, 0.0] for name in nodes.ids}
    for grant in journal:
        for column, amount in enumerate(world.registry[grant.job].view.bundle.vector()):
            used[grant.node][column] += amount
    for row, name in enumerate(nodes.ids):
        assert (nodes.capacity[row] + 1e-6 >= used[name]).all()
        assert abs(nodes.capacity[row] - used[name] - nodes.free[row]).max() < 1e-6 * GIB
        assert (nodes.device_free[row] > -1e-6).all()


def check_jobs(world: World, excused: frozenset[str] = frozenset()) -> None:
    """Every job is in one state, here and on the disk; leases, orders and drivers are those of its state and bounds."""
    assert [untold(one) for one in world.journal.jobs()] == [untold(one) for one in world.registry.everyone]
    assert len(set(world.drivers.started)) == len(world.drivers.started)
    for record in world.registry.everyone:
        held, (least, most) = world.num_held(record.id), record.submission.gang
        orders = world.desk.orders(record.id)
        if record.state in (State.STARTING, State.RUNNING):
            assert 0 < held <= most
            assert held >= least or record.id in excused
            assert len(world.drivers.of(record.id)) <= 1
            assert record.num_attempts >= 1
        elif record.state is not State.STOPPING:
            assert held == 0
        if not record.state.has_ended:
            assert {one.grant for one in orders.leases} == set(world.ledger.leases(record.id))
        else:
            assert orders.leases == ()
        is_stopping = record.state is State.STOPPING and held > 0
        assert (record.id in world.ledger) == (record.state.wants_workers or is_stopping)


def untold(record: JobRecord) -> dict[str, Any]:
    """Return a record without what is not kept."""
    return {name: value for name, value in record.as_json().items() if name != "heard"}
