"""The simulator: a virtual clock, and the loop's own step on a cluster that is not there."""

from __future__ import annotations

import heapq
import inspect
import math
import time
from collections.abc import Callable
from dataclasses import replace
from enum import IntEnum
from itertools import count
from typing import Any

from policies.composed import demand_of
from policies.interface import ClusterPlan, Grant, Memo, Policy
from scheduler.errors import UserError
from scheduler.ledger import Ledger
from scheduler.loop import step
from scheduler.results.outcome import Interval, RunOutcome, Status
from scheduler.simulation.cluster import SimulatedCluster
from scheduler.simulation.faults import Fault, FaultKind
from scheduler.simulation.fluid import FluidRun
from scheduler.simulation.ideal import Ideal, lower_bound_s
from scheduler.simulation.learning import LearningRun
from scheduler.simulation.recorder import Contention, Record, UseSeries, dead, node_outcomes
from scheduler.simulation.running import Running, Seat
from scheduler.simulation.speeds import Steps
from scheduler.simulation.workload import SimulatedJob
from scheduler.simulation.world import World

Watch = Callable[[float, int], None]
"""Told the virtual time, and how many jobs have ended, now and then."""

WATCH_EVERY = 256


class _Rank(IntEnum):
    """What comes first of what happens at one moment."""

    FAULT = 0
    PROGRESS = 1
    ARRIVAL = 2
    DECIDE = 3
    GIVE_UP = 4


def simulate(world: World, policy: Policy, *, keep_timeline: bool = True, watch: Watch | None = None) -> RunOutcome:
    """Run a world under a policy to its end, and return what became of it; equal worlds come to equal outcomes.

    Parameters
    ----------
    keep_timeline
        Keep every worker's intervals and every round; they are most of what a large outcome weighs.

    Raises
    ------
    UserError
        If the policy raises, or breaks a rule; the referee judges every plan.
    """
    return _Simulation(world, policy, keep_timeline, watch).run()


class _Simulation:
    """One run: what is due, the cluster, the ledger, and the jobs' progress."""

    def __init__(self, world: World, policy: Policy, keep_timeline: bool, watch: Watch | None) -> None:
        self._world, self._policy, self._keeps, self._watch = world, policy, keep_timeline, watch
        self._cluster, self._ledger = SimulatedCluster(world.fleet), Ledger()
        takes_memo = "memo" in inspect.signature(policy.plan).parameters  # a user's own need not
        self._memo = Memo() if takes_memo else None
        self._ideal = Ideal(world)
        self._demand = demand_of(tuple(job.view for job in world.workload.jobs))
        self._due: list[tuple[float, _Rank, int, Any]] = []
        self._numbers = count()
        self._running: dict[str, Running] = {}
        self._turn: dict[str, int] = {}  # of a job's next event: those of earlier turns are void
        self._seats: dict[str, dict[int, Seat]] = {}
        self._steps: dict[str, tuple[Steps, Steps]] = {}
        self._records: dict[str, Record] = {}
        self._intervals: list[Interval] = []
        self._uses, self._contention = UseSeries(), Contention()
        self._decisions_s: list[float] = []
        self._faults: list[tuple[float, str]] = []
        self._down_since_s = {machine.id: 0.0 for machine in world.fleet.machines if machine.joins_s > 0}
        self._failed_placements = self._num_events = self._num_ended = 0
        self._changed = self._awaits_tick = False

    def run(self) -> RunOutcome:
        """Let everything happen, one moment after the other."""
        self._foresee()
        num_jobs = len(self._world.workload)
        while self._due and self._due[0][0] <= self._world.until_s and self._num_ended < num_jobs:
            at_s, rank, _, what = heapq.heappop(self._due)
            self._cluster.clock_s = at_s
            self._happen(rank, what)
            if self._changed and (not self._due or self._due[0][:2] >= (at_s, _Rank.DECIDE)):
                self._decide_or_wait(at_s)
        return self._outcome()

    def _foresee(self) -> None:
        """Put down what is known from the start."""
        for machine in self._world.fleet.machines:
            if machine.joins_s > 0:
                self._plan(machine.joins_s, _Rank.FAULT, Fault(machine.joins_s, machine.id, FaultKind.JOIN))
        for fault in self._world.faults:
            if fault.kind in (FaultKind.LEAVE, FaultKind.JOIN):  # the others are in the machines' steps
                self._plan(fault.at_s, _Rank.FAULT, fault)
        for job in self._world.workload.jobs:
            self._plan(job.view.submitted_s, _Rank.ARRIVAL, job)

    def _plan(self, at_s: float, rank: _Rank, what: Any) -> None:
        heapq.heappush(self._due, (at_s, rank, next(self._numbers), what))

    def _happen(self, rank: _Rank, what: Any) -> None:
        self._num_events += 1
        if self._watch is not None and self._num_events % WATCH_EVERY == 0:
            self._watch(self._cluster.clock_s, self._num_ended)
        if rank is _Rank.PROGRESS:
            self._progress(*what)
        elif rank is _Rank.ARRIVAL:
            self._arrive(what)
        elif rank is _Rank.FAULT:
            self._fail(what)
        elif rank is _Rank.DECIDE:
            self._tick()
        else:
            self._give_up(what)

    def _arrive(self, job: SimulatedJob) -> None:
        """Let a job wait for its workers, unless it can never have them."""
        view, now_s = job.view, self._cluster.clock_s
        record = Record(view, self._ideal.alone_s(job), self._contention.at(now_s), since_s=now_s)
        self._records[view.id] = record
        num_slots = self._ideal.num_slots(view)
        if num_slots < view.min_workers:
            record.status, self._num_ended = Status.NEVER_FITS, self._num_ended + 1
            record.reason = (
                f"{view.min_workers} workers are needed at the least, the whole cluster has room for {num_slots}"
            )
            return
        if job.learning is None:
            self._running[view.id] = FluidRun(job)
        else:
            self._running[view.id] = LearningRun(job, self._policy.balance, self._world.costs)
        self._ledger.submit(view)
        self._contention.change(now_s, view.bundle.vector() * view.max_workers, self._cluster.capacity)
        if self._world.patience_s < math.inf:
            self._plan(now_s + self._world.patience_s, _Rank.GIVE_UP, view.id)
        self._changed = True

    def _progress(self, name: str, turn: int) -> None:
        """Let the next thing in a job's life happen."""
        if self._turn.get(name) != turn:
            return
        running, now_s = self._running[name], self._cluster.clock_s
        try:
            running.happen(now_s)
        except UserError as error:  # its shards cannot be dealt: that job fails, the others go on
            self._end(name, Status.FAILED, str(error))
            return
        self._collect(name)
        if running.is_done:
            self._end(name, Status.FINISHED)
        else:
            self._look_ahead(name)

    def _look_ahead(self, name: str) -> None:
        """Put down a job's next event; what was put down before is void."""
        turn = self._turn[name] = self._turn.get(name, 0) + 1
        at_s = self._running[name].next_s()
        if at_s < math.inf:
            self._plan(at_s, _Rank.PROGRESS, (name, turn))

    def _collect(self, name: str) -> None:
        """Take what a job has written down since the last time."""
        running, record = self._running[name], self._records[name]
        for done in running.rounds:
            record.bytes_moved += done.bytes_moved
            record.shards_moved += done.shards_moved
        if self._keeps:
            record.rounds += running.rounds
            self._intervals += running.intervals
        running.rounds.clear()
        running.intervals.clear()

    def _end(self, name: str, status: Status, reason: str = "") -> None:
        """Let a job go, and take its leases back."""
        record, now_s = self._records[name], self._cluster.clock_s
        self._running[name].seat(now_s, ())
        self._collect(name)
        for lease in self._ledger.leases(name):
            self._cluster.release(lease, record.view.bundle)
        self._ledger.drop(name)
        record.hold(now_s, 0, 0.0)
        record.status, record.reason = status, reason
        if status is Status.FINISHED:
            record.ended_s = now_s
            lasted_s = now_s - record.view.submitted_s
            mean = (self._contention.at(now_s) - record.contended_s) / lasted_s if lasted_s else 1.0
            record.fair_s = record.alone_s * mean
        self._contention.change(now_s, -record.view.bundle.vector() * record.view.max_workers, self._cluster.capacity)
        for known in (self._running, self._seats, self._turn):
            known.pop(name, None)
        self._num_ended += 1
        self._changed = True

    def _give_up(self, name: str) -> None:
        """Let a job go that has not been placed in time."""
        if name in self._ledger and math.isnan(self._records[name].started_s):
            self._end(name, Status.FAILED, f"gave up after {self._world.patience_s:g} s")
            self._changed = False  # who leaves without ever having held anything makes no room

    def _fail(self, fault: Fault) -> None:
        """Let something happen to a machine."""
        now_s, name = self._cluster.clock_s, fault.machine
        if fault.kind is FaultKind.LEAVE and self._cluster.is_up(name):
            self._cluster.set_up(name, up=False)
            self._down_since_s[name] = now_s
            self._lose_leases(name)
        elif fault.kind is FaultKind.JOIN and not self._cluster.is_up(name):
            self._cluster.set_up(name, up=True)
            self._intervals.append(dead(name, self._down_since_s.pop(name), now_s))
        else:
            return
        self._faults.append((now_s, f"{name}: {fault.kind.value}"))
        self._changed = True

    def _lose_leases(self, machine: str) -> None:
        """Take back what was held on a machine that has left; a gang below its minimum waits again."""
        for job in self._ledger.running:
            leases = self._ledger.leases(job.id)
            lost = [lease for lease in leases if lease.node == machine]
            if not lost:
                continue
            if len(leases) - len(lost) < job.min_workers:
                lost = list(leases)
            for lease in lost:
                self._ledger.lose(lease)
                self._cluster.release(lease, job.bundle)
            self._records[job.id].restarts += 1
            self._reseat(job.id)

    def _decide_or_wait(self, now_s: float) -> None:
        """Ask the policy now, or at the next tick where it is asked at ticks."""
        every_s = self._world.every_s
        if not self._ledger.num_waiting and not self._policy.needs_running:  # there is nothing to decide
            self._changed = False
            self._note_use(now_s)
        elif not every_s:
            self._decide()
        elif not self._awaits_tick:
            self._awaits_tick = True
            self._plan(math.ceil(now_s / every_s) * every_s, _Rank.DECIDE, None)

    def _tick(self) -> None:
        """Ask the policy, and again at the next tick where time itself may change its answer."""
        self._awaits_tick = False
        plan = self._decide()
        moves = bool(plan.grants or plan.revokes or self._ledger.num_running or self._due)
        if self._policy.needs_running and moves and (self._ledger.num_running or self._ledger.num_waiting):
            self._awaits_tick = True
            self._plan(self._cluster.clock_s + self._world.every_s, _Rank.DECIDE, None)

    def _decide(self) -> ClusterPlan:
        """Let the loop take a step, and carry out for the jobs what it did to the cluster."""
        self._changed = False
        now_s = self._cluster.clock_s
        if self._policy.needs_running:
            self._tell_progress(now_s)
        began_s = time.perf_counter()
        plan = step(self._cluster, self._policy, self._ledger, self._world.seed, self._memo, self._demand)
        self._decisions_s.append(time.perf_counter() - began_s)
        self._failed_placements += len(plan.unplaced)
        revoked = {(lease.job, lease.worker): lease.node for lease in plan.revokes}
        for grant in plan.grants:
            before = revoked.get((grant.job, grant.worker))
            self._records[grant.job].moves += before is not None and before != grant.node
        for name in dict.fromkeys(lease.job for lease in (*plan.revokes, *plan.grants)):
            self._records[name].preemptions += not self._ledger.leases(name)
            self._reseat(name)
        self._note_use(now_s)
        return plan

    def _note_use(self, now_s: float) -> None:
        cluster, ledger = self._cluster, self._ledger
        self._uses.add(now_s, cluster.used, cluster.capacity, ledger.num_waiting, ledger.num_running)

    def _tell_progress(self, now_s: float) -> None:
        """Enter what has become known of the jobs: work done, service attained, the rates of now."""
        for view in (*self._ledger.running, *self._ledger.waiting):
            running, record = self._running[view.id], self._records[view.id]
            attained_s = record.worker_s + record.holds * (now_s - record.since_s)
            rates = view.rates if running.rates is None else running.rates
            done = running.done_by(now_s)
            if (attained_s, done) != (view.attained_s, view.done) or rates is not view.rates:
                self._ledger.note(replace(view, attained_s=attained_s, done=done, rates=rates))

    def _reseat(self, name: str) -> None:
        """Seat a job's workers where its leases are; who stays where it was need not start again."""
        now_s, before = self._cluster.clock_s, self._seats.get(name, {})
        leases = self._ledger.leases(name)
        seats = {lease.worker: self._seat(lease, before.get(lease.worker), now_s) for lease in leases}
        self._seats[name] = seats
        machines = [seat.machine for seat in seats.values()]
        bundle = self._records[name].view.bundle.vector()
        price_per_s = sum(
            machine.price_per_hour / 3600 * _part(bundle, machine.capacity.vector()) for machine in machines
        )
        self._records[name].hold(now_s, len(seats), price_per_s)
        try:
            self._running[name].seat(now_s, tuple(seats.values()))
        except UserError as error:
            self._end(name, Status.FAILED, str(error))
            return
        self._collect(name)
        self._look_ahead(name)

    def _seat(self, lease: Grant, before: Seat | None, now_s: float) -> Seat:
        if before is not None and before.machine.id == lease.node:
            return before
        machine = self._world.machines[lease.node]
        if machine.id not in self._steps:
            self._steps[machine.id] = (self._world.speed(machine), self._world.bandwidth(machine))
        return Seat(lease.worker, machine, *self._steps[machine.id], now_s + self._world.costs.start_s)

    def _outcome(self) -> RunOutcome:
        """Close what is still open, and return what became of everything."""
        world = self._world
        ended_s = max((record.ended_s for record in self._records.values() if record.ended_s >= 0), default=0.0)
        if self._running:
            ended_s = max(ended_s, min(self._cluster.clock_s, world.until_s))
        for name in self._running:
            self._running[name].seat(ended_s, ())
            self._collect(name)
            self._records[name].hold(ended_s, 0, 0.0)
        self._intervals += [
            dead(name, from_s, ended_s) for name, from_s in self._down_since_s.items() if from_s < ended_s
        ]
        jobs = world.workload.jobs
        views = [job.view for job in jobs]
        return RunOutcome(
            policy=self._policy.name,
            seed=world.seed,
            live=False,
            ended_s=ended_s,
            nodes=node_outcomes(world.fleet),
            jobs=tuple((self._records.get(view.id) or Record(view, math.nan, 0.0)).outcome() for view in views),
            uses=self._uses.uses(),
            intervals=tuple(sorted(self._intervals, key=lambda one: (one.from_s, one.job, one.worker))),
            decisions_s=tuple(self._decisions_s),
            failed_placements=self._failed_placements,
            lower_bound_s=lower_bound_s(world, [job for job in jobs if self._fits(job.view.id)], ended_s),
            num_events=self._num_events,
            faults=tuple(self._faults),
        )

    def _fits(self, name: str) -> bool:
        return name in self._records and self._records[name].status is not Status.NEVER_FITS


def _part(bundle: Any, capacity: Any) -> float:
    """Return which part of a machine a bundle takes: of the resource of which it takes most."""
    there = capacity > 0
    return float((bundle[there] / capacity[there]).max(initial=0.0))
