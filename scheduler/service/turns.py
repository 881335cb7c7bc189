"""The service's loop: registry and ledger are brought together, the policy decides, drivers are told and watched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from threading import RLock
from typing import Any, Protocol

from policies.interface import (
    ClusterPlan,
    ClusterSnapshot,
    Floats,
    Grant,
    JobView,
    NodeTable,
    Policy,
    PolicyError,
    Resources,
    Unplaced,
)
from policies.presets import resolve
from scheduler.errors import UserError
from scheduler.ledger import Ledger
from scheduler.loop import Cluster, StalePlanError, memo_for, plan_more, step
from scheduler.service.decisions import DecisionLog, nodes_json
from scheduler.service.journal import Journal
from scheduler.service.orders import Command, Desk
from scheduler.service.records import Lease, State
from scheduler.service.registry import Registry
from scheduler.service.watching import Drivers, Watching

REST_S = 3.0
"""How long a driver has to let its actors leave before their leases are gone: then they end with them."""

TICK_S = 5.0
"""How often a policy is asked whose answer time itself may change."""


class Leasing(Cluster, Protocol):
    """What the turns need of a cluster beside what the loop needs."""

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


class Turns:
    """Lets everybody have what the cluster's policy gives them, turn by turn.

    Only ``turn`` touches the ledger; registry, desk and journal are shared, under ``lock``.

    Parameters
    ----------
    cluster
        Made with the function that lets actors leave (``_let_leave``).
    tell
        Called with a job whose orders have changed.
    ask_for_nodes
        Called at the end of each turn, with the nodes as they were before it: an autoscaler is to know what is wanted.

    Attributes
    ----------
    refusals
        Why jobs wait, as the last plan has it.
    trouble
        Why the policy decides nothing, empty if it does.
    """

    def __init__(
        self,
        registry: Registry,
        desk: Desk,
        journal: Journal,
        cluster: Callable[[Callable[[Sequence[Grant]], None]], Leasing],
        drivers: Drivers,
        lock: RLock,
        tell: Callable[[str], None],
        ask_for_nodes: Callable[[Ledger, NodeTable, Mapping[str, Unplaced]], None] = lambda *_: None,
    ) -> None:
        self._ask_for_nodes = ask_for_nodes
        self._registry, self._desk, self._journal, self._lock, self._tell = registry, desk, journal, lock, tell
        self._cluster = cluster(self._let_leave)
        self._ledger = Ledger()
        self._leases: dict[Grant, Lease] = {}
        self._asked_to_leave: set[str] = set()
        self.watching = Watching(registry, desk, drivers, journal)
        self._log = DecisionLog()
        self._dirty = True
        self._seen: tuple[tuple[str, ...], Floats] | None = None
        self._due_s = 0.0
        self._spec: Any = None
        self._policy: Policy = resolve("fifo+spread+equal")
        self._memo = memo_for(self._policy)
        self.refusals: Mapping[str, Unplaced] = {}
        self.trouble = ""
        self.nodes: NodeTable = NodeTable.of([], [])

    def begin(self) -> None:
        """Take up the jobs and leases of the service before this one."""
        now_s = self._cluster.now_s()
        self.nodes = self._cluster.observe()
        with self._lock:
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
                self.watching.note_leases(record, len(mine), now_s)
            self.watching.begin(now_s)

    def touch(self) -> None:
        """Let the policy be asked at the next turn, whether anything seems to have changed or not."""
        self._dirty = True

    def turn(self) -> None:
        """Take whatever has happened, and let the policy decide if its answer may be another now."""
        now_s = self._cluster.now_s()
        with self._lock:
            self._registry.admit(now_s)
            leaving = self._reconcile()
        for job in leaving:
            self._take_back(job)
        self._strike_bad_nodes()
        with self._lock:
            self.watching.look(now_s)
        self.nodes = self._cluster.observe()
        if self._is_due(now_s):
            self._decide(now_s)
        with self._lock:
            self.watching.start(now_s)
        self._ask_for_nodes(self._ledger, self.nodes, self.refusals)

    def _reconcile(self) -> list[str]:
        """Let the ledger have the jobs that want workers, as they want them; return those that are to leave it."""
        ledger = self._ledger
        for record in self._registry.live:
            if not record.state.wants_workers:
                if record.state is State.STOPPING and self._desk.orders(record.id).command is not Command.STOP:
                    self._desk.tell(record.id, self._desk.orders(record.id).leases, Command.STOP)
                    self._tell(record.id)
            elif record.id not in ledger:
                ledger.submit(replace(record.view, started_s=record.started_s))
                self._dirty = True
            else:
                view, (least, most) = ledger.job(record.id), record.submission.gang
                if (view.min_workers, view.max_workers) != (least, most):
                    ledger.note(replace(view, min_workers=least, max_workers=most))
                    self._dirty = True
        tenants = tuple(one.tenant for one in self._registry.tenants.values())
        self._dirty |= tenants != ledger.tenants
        ledger.tenants = tenants
        return [job.id for job in (*ledger.running, *ledger.waiting) if not self._stays(job.id)]

    def _stays(self, job: str) -> bool:
        """Say whether a job may keep what it holds; one that is to stop does until its driver has stopped."""
        state = self._registry[job].state
        return state.wants_workers or (state is State.STOPPING and bool(self._ledger.leases(job)))

    def _take_back(self, job: str) -> None:
        """Let a job that pauses or has ended give back what it holds."""
        leases = self._ledger.leases(job)
        if not self._registry[job].state.has_ended:
            self._let_leave(leases)
        for lease in leases:
            self._cluster.release(lease)
        with self._lock, self._journal.together():
            for lease in leases:
                self._end_lease(lease)
            self._ledger.drop(job)
            self._note_leases(job)
        self._dirty = True

    def _let_leave(self, leases: Sequence[Grant]) -> None:
        """Tell drivers that these leases are to go, and wait until their actors have left, for a while."""
        jobs = {lease.job for lease in leases}
        self._asked_to_leave |= jobs
        with self._lock:
            for job in jobs:
                orders = self._desk.orders(job)
                self._desk.tell(job, [one for one in orders.leases if one.grant not in leases], orders.command)
        for job in jobs:
            self._tell(job)
        until_s = time.monotonic() + REST_S
        while time.monotonic() < until_s:
            with self._lock:
                if all(self._desk.has_left(job, leases) or not self.watching.is_alive(job) for job in jobs):
                    return
            time.sleep(0.005)

    def _end_lease(self, lease: Grant) -> None:
        if known := self._leases.pop(lease, None):
            self._journal.end_lease(known, self._cluster.now_s())

    def _strike_bad_nodes(self) -> None:
        """Take back what is held on nodes that are gone, or are to go: others are found."""
        ledger = self._ledger
        bad = self._cluster.bad_nodes() if ledger.num_running else set()
        for job in ledger.running if bad else ():
            lost = [lease for lease in ledger.leases(job.id) if lease.node in bad]
            if not lost:
                continue
            self._let_leave(lost)
            for lease in lost:
                ledger.lose(lease)
                self._cluster.release(lease)
            with self._lock, self._journal.together():
                for lease in lost:
                    self._end_lease(lease)
                self._journal.note(self._cluster.now_s(), "nodes lost", job.id, nodes=[one.node for one in lost])
                self._note_leases(job.id)
            self._dirty = True

    def _is_due(self, now_s: float) -> bool:
        """Say whether the policy's answer may be another now."""
        ledger, nodes = self._ledger, self.nodes
        before, self._seen = self._seen, (nodes.ids, nodes.free)
        if not ledger.num_waiting and not ledger.num_running:
            return False
        changed = before is None or before[0] != nodes.ids or bool((before[1] != nodes.free).any())
        with self._lock:
            if self._registry.policy != self._spec and not self._take_policy():
                return False
        return self._dirty or changed or (self._policy.needs_running and now_s >= self._due_s)

    def _take_policy(self) -> bool:
        """Say whether there is such a policy: the journal may be of a program that had another choice."""
        try:
            self._policy = resolve(self._registry.policy)
        except PolicyError as error:
            self.trouble = str(error)
            return False
        self._spec, self._memo, self._dirty = self._registry.policy, memo_for(self._policy), True
        return True

    def _decide(self, now_s: float) -> None:
        """Let the loop take a step, and let everybody know whom it has changed."""
        self._dirty, self._due_s = False, now_s + TICK_S
        with self._lock:
            for view in (*self._ledger.running, *self._ledger.waiting):
                if (after := self.watching.progress(view, self._held(view.id), now_s)) is not view:
                    self._ledger.note(after)
        began_s = time.perf_counter()
        self._asked_to_leave.clear()
        try:
            plan = step(self._cluster, self._policy, self._ledger, seed=0, memo=self._memo)
        except (StalePlanError, UserError) as error:
            self._dirty, self.trouble = isinstance(error, StalePlanError), str(error)
            with self._lock, self._journal.together():
                self._settle(self._asked_to_leave)
            return
        took_s, self.trouble = time.perf_counter() - began_s - self._cluster.applied_s, ""
        log, self._log = self._log, DecisionLog()  # if this is not written, the next one tells everything anew
        with self._lock, self._journal.together():
            self._write_down(plan, took_s, log)
            self._settle(self._asked_to_leave.union(lease.job for lease in (*plan.revokes, *plan.grants)))
            self.refusals = {one.what: one for one in plan.unplaced}
        self._log = log
        self._keep_bounds()

    def _settle(self, jobs: Set[str]) -> None:
        """Let everybody know what these jobs hold: plans that could not be carried out took leases back, too."""
        ledger = self._ledger
        for lease in [one for one in self._leases if one.job in jobs and one not in ledger.leases(one.job)]:
            self._end_lease(lease)
        for job in sorted(jobs):
            self._note_leases(job)

    def _held(self, job: str) -> list[Lease]:
        return [self._leases[lease] for lease in self._ledger.leases(job)]

    def _write_down(self, plan: ClusterPlan, took_s: float, log: DecisionLog) -> None:
        """Let the journal have the decision, and the leases that came and went with it."""
        snapshot, now_s = self._cluster.snapshot, self._cluster.now_s()
        if snapshot is None:
            raise AssertionError("a plan was carried out on one")
        since = log.since(snapshot)
        self._journal.add_decision(
            at_s=snapshot.now_s,
            version=plan.version,
            policy=self._policy.name,
            seed=snapshot.seed,
            nodes=self._journal.add_nodes(*nodes_json(snapshot.nodes)),
            num_jobs=len(snapshot.jobs),
            took_s=took_s,
            applied_s=self._cluster.applied_s,
            since=since,
            **log.enter(plan),
        )
        for lease in plan.revokes:
            self._end_lease(lease)
        self._open_leases(plan.grants, now_s)

    def _open_leases(self, grants: Iterable[Grant], now_s: float) -> None:
        for grant in grants:
            self._end_lease(grant)  # the same, of a plan before this one that could not be carried out
            lease = self._leases[grant] = Lease(grant, self._cluster.group_of(grant), now_s)
            view = self._ledger.job(grant.job)
            self._journal.open_lease(lease, view.tenant, view.bundle)

    def _note_leases(self, job: str) -> None:
        """Let a job's record and its driver know what it holds now."""
        leases = self._held(job) if job in self._ledger else []
        record = self._registry[job]
        self.watching.note_leases(record, len(leases), self._cluster.now_s())
        if not record.state.has_ended and self._desk.tell(job, leases, self._desk.orders(job).command):
            self._tell(job)

    def _keep_bounds(self) -> None:
        """Bring running jobs within their bounds that the policy leaves beyond: resized, or without a node they had."""
        for job in self._ledger.running:
            held = self._ledger.leases(job.id)
            if len(held) > job.max_workers:
                self._carry_out(job, ClusterPlan(self._ledger.version, revokes=held[job.max_workers :]))
            elif len(held) < job.min_workers:
                self._top_up(job, held)

    def _top_up(self, job: JobView, held: Sequence[Grant]) -> None:
        """Place what a running job lacks of its least number, as many as fit."""
        taken, missing = {lease.worker for lease in held}, job.min_workers - len(held)
        free = [number for number in range(job.min_workers + len(held)) if number not in taken][:missing]
        try:
            plan, _ = plan_more(self._cluster, self._policy, job, 0, free)
        except UserError as error:
            self.trouble = str(error)
            return
        if plan.grants:
            self._carry_out(job, ClusterPlan(self._ledger.version, plan.grants))

    def _carry_out(self, job: JobView, plan: ClusterPlan) -> None:
        snapshot = self._ledger.snapshot(self._cluster.observe(), self._cluster.now_s(), 0)
        try:
            self._cluster.apply(plan, snapshot)
        except StalePlanError:
            self._dirty = True
            return
        now_s = self._cluster.now_s()
        self._ledger.record(plan, now_s)
        with self._lock, self._journal.together():
            for lease in plan.revokes:
                self._end_lease(lease)
            self._open_leases(plan.grants, now_s)
            self._note_leases(job.id)
