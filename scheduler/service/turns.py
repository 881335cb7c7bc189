"""The service's loop: registry and ledger are brought together, the policy decides, drivers are told and watched."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import RLock
from typing import Any

from policies.interface import ClusterPlan, Floats, Grant, NodeTable, Policy, PolicyError, Unplaced
from policies.presets import resolve
from scheduler.errors import UserError
from scheduler.ledger import Ledger
from scheduler.loop import StalePlanError, memo_for, step
from scheduler.service.bounds import KEEPING, all_within, keep_bounds
from scheduler.service.holdings import Holdings, Leasing
from scheduler.service.journal import Journal
from scheduler.service.orders import Command, Desk
from scheduler.service.records import JobRecord, State
from scheduler.service.registry import Registry
from scheduler.service.watching import Drivers, Watching

REST_S = 3.0
"""How long a driver has to let its actors leave before their leases are gone: then they end with them."""

TICK_S = 5.0
"""How often a policy is asked whose answer time itself may change."""


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
        self._asked_to_leave: set[str] = set()
        self.watching = Watching(registry, desk, drivers, journal)
        self._holdings = Holdings(registry, desk, journal, self._cluster, self._ledger, self.watching, tell)
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
        with self._lock, self._registry.together():
            self.watching.begin(now_s)
            self._holdings.adopt(now_s)

    def touch(self) -> None:
        """Let the policy be asked at the next turn, whether anything seems to have changed or not."""
        self._dirty = True

    def turn(self) -> None:
        """Take whatever has happened, and let the policy decide if its answer may be another now."""
        now_s = self._cluster.now_s()
        self._strike_bad_nodes()
        with self._lock, self._registry.together():
            self._registry.admit(now_s)
            leaving = self._reconcile()
        for job in leaving:
            self._take_back(job)
        with self._lock, self._registry.together():
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
            if record.state is State.STOPPING and self._desk.orders(record.id).command is not Command.STOP:
                self._desk.tell(record.id, self._desk.orders(record.id).leases, Command.STOP)
                self._tell(record.id)
            if record.id in ledger:
                self._bound(record)
            elif record.state.wants_workers:
                ledger.submit(replace(record.view, started_s=record.started_s))
                self._dirty = True
        tenants = tuple(one.tenant for one in self._registry.tenants.values())
        self._dirty |= tenants != ledger.tenants
        ledger.tenants = tenants
        return [job.id for job in (*ledger.running, *ledger.waiting) if not self._stays(job.id)]

    def _bound(self, record: JobRecord) -> None:
        """Let the ledger have a job's present bounds; one that is to stop may only lose workers."""
        ledger, view, (least, most) = self._ledger, self._ledger.job(record.id), record.gang
        if record.state is State.STOPPING and (held := ledger.num_leases(record.id)):
            least, most = min(least, held), held
        if (view.min_workers, view.max_workers) != (least, most):
            ledger.note(replace(view, min_workers=least, max_workers=most))
            self._dirty = True

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
        self._ledger.drop(job)
        with self._lock, self._registry.together():
            self._holdings.end(leases, job)
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
            with self._lock, self._registry.together():
                self._journal.note(self._cluster.now_s(), "nodes lost", job.id, nodes=[one.node for one in lost])
                self._holdings.end(lost, job.id)
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
        """Let the policy decide, and whoever it leaves beyond his bounds be brought within them."""
        self._dirty, self._due_s = False, now_s + TICK_S
        with self._lock:
            for view in (*self._ledger.running, *self._ledger.waiting):
                if (after := self.watching.progress(view, self._ledger.num_leases(view.id), now_s)) is not view:
                    self._ledger.note(after)
        cluster, ledger, policy = self._cluster, self._ledger, self._policy
        plan = self._step(policy.name, lambda: step(cluster, policy, ledger, seed=0, memo=self._memo))
        if plan is None:
            return
        self.refusals = {one.what: one for one in plan.unplaced}
        if not all_within(ledger):
            self._step(f"{KEEPING}{policy.name}", lambda: keep_bounds(cluster, policy, ledger, seed=0))

    def _step(self, name: str, take: Callable[[], ClusterPlan]) -> ClusterPlan | None:
        """Take a step of the loop, and let everybody know whom it has changed; None if it could not be taken."""
        began_s = time.perf_counter()
        self._asked_to_leave.clear()
        try:
            plan = take()
        except (StalePlanError, UserError) as error:
            self._dirty, self.trouble = isinstance(error, StalePlanError), str(error)
            with self._lock:
                self._holdings.settle(self._asked_to_leave)
            return None
        took_s, self.trouble = time.perf_counter() - began_s - self._cluster.applied_s, ""
        with self._lock:
            self._holdings.enter(name, plan, took_s, self._asked_to_leave)
        return plan
