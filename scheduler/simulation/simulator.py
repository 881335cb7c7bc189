"""The simulator: a virtual clock, and the loop's own step on a cluster that is not there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from policies.composed import demand_of
from policies.interface import ClusterPlan, Grant, Policy, Resources
from scheduler.errors import UserError
from scheduler.ledger import Ledger
from scheduler.loop import memo_for, step
from scheduler.results.outcome import RunOutcome, Status
from scheduler.simulation.agenda import Agenda, Rank
from scheduler.simulation.books import Books
from scheduler.simulation.cluster import SimulatedCluster
from scheduler.simulation.faults import Fault
from scheduler.simulation.fluid import FluidRun
from scheduler.simulation.learning import LearningRun
from scheduler.simulation.machines import Machines, Visit
from scheduler.simulation.running import Running, Seat
from scheduler.simulation.workload import SimulatedJob
from scheduler.simulation.world import World

Watch = Callable[[float, int], None]
"""Told the virtual time, and how many jobs have ended, now and then."""

WATCH_EVERY = 256

MOST_IDLE_TICKS = 1000
"""After so many decisions in a row with nothing else due, nothing ever will be: those that run make no progress."""


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
        self._world, self._policy, self._watch = world, policy, watch
        self._cluster, self._ledger = SimulatedCluster(world.fleet), Ledger(world.tenants)
        self._agenda, self._books = Agenda(), Books(world, keep_timeline)
        self._machines = Machines(world, self._cluster)
        self._memo = memo_for(policy)
        self._demand = demand_of(tuple(job.view for job in world.workload.jobs))
        self._running: dict[str, Running] = {}
        self._turn: dict[str, int] = {}  # of a job's next event: those of earlier turns are void
        self._seats: dict[str, dict[int, Seat]] = {}
        self._ending: dict[tuple[str, Grant], Resources] = {}  # what ended jobs held, until it may be granted again
        self._num_events = self._num_idle_ticks = 0
        self._changed = self._awaits_tick = False

    def run(self) -> RunOutcome:
        """Let everything happen, one moment after the other."""
        for at_s, what in self._machines.due():
            self._agenda.enter(at_s, Rank.FAULT, what)
        for job in self._world.workload.jobs:
            self._agenda.enter(job.view.submitted_s, Rank.ARRIVAL, job)
        num_jobs, until_s = len(self._world.workload), self._world.until_s
        while self._agenda and self._agenda.next_s() <= until_s and self._books.num_ended < num_jobs:
            at_s, rank, what = self._agenda.pop()
            self._cluster.clock_s = at_s
            self._happen(rank, what)
            if self._changed and not self._agenda.has_before(at_s, Rank.DECIDE):
                self._decide_or_wait(at_s)
        return self._outcome()

    def _happen(self, rank: Rank, what: Any) -> None:
        self._num_events += 1
        if self._watch is not None and self._num_events % WATCH_EVERY == 0:
            self._watch(self._cluster.clock_s, self._books.num_ended)
        if rank is Rank.PROGRESS:
            self._progress(*what)
        elif rank is Rank.RELEASE:
            self._release(what)
        elif rank is Rank.ARRIVAL:
            self._arrive(what)
        elif rank is Rank.FAULT:
            self._fail(what)
        elif rank is Rank.DECIDE:
            self._tick()
        else:
            self._give_up(what)

    def _arrive(self, job: SimulatedJob) -> None:
        """Let a job wait for its workers, unless it can never have them."""
        view, now_s = job.view, self._cluster.clock_s
        if not self._books.open(job, now_s, self._cluster.capacity):
            return
        if job.learning is None:
            self._running[view.id] = FluidRun(job)
        else:
            self._running[view.id] = LearningRun(job, self._policy.balance, self._world.costs)
        self._ledger.submit(view)
        if self._world.patience_s < math.inf:
            self._agenda.enter(now_s + self._world.patience_s, Rank.GIVE_UP, view.id)
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
        at_s = max(self._running[name].next_s(), self._cluster.clock_s)
        if at_s < math.inf:
            self._agenda.enter(at_s, Rank.PROGRESS, (name, turn))

    def _collect(self, name: str) -> None:
        """Take what a job has written down since the last time."""
        running = self._running[name]
        self._books.collect(name, running.rounds, running.intervals)
        running.rounds.clear()
        running.intervals.clear()

    def _end(self, name: str, status: Status, reason: str = "") -> None:
        """Let a job go, and take its leases back."""
        running, view, now_s = self._running[name], self._books.records[name].view, self._cluster.clock_s
        running.seat(now_s, ())
        self._collect(name)
        for lease in self._ledger.leases(name):
            self._ending[name, lease] = view.bundle
            if self._world.costs.release_s:
                self._agenda.enter(now_s + self._world.costs.release_s, Rank.RELEASE, (name, lease))
            else:
                self._release((name, lease))
        self._ledger.drop(name)
        self._books.close(name, status, reason, now_s, self._cluster.capacity)
        for known in (self._running, self._seats, self._turn):
            known.pop(name, None)
        self._changed = True

    def _release(self, ended: tuple[str, Grant]) -> None:
        """Let what an ended job held be granted again, unless its machine has left meanwhile."""
        bundle = self._ending.pop(ended, None)
        if bundle is not None:
            self._cluster.release(ended[1], bundle)
            self._changed = True

    def _give_up(self, name: str) -> None:
        """Let a job go that has not been placed in time."""
        if name in self._ledger and math.isnan(self._books.records[name].started_s):
            self._end(name, Status.FAILED, f"gave up after {self._world.patience_s:g} s")
            self._changed = False  # who leaves without ever having held anything makes no room

    def _fail(self, what: Fault | Visit) -> None:
        """Let something happen to a machine."""
        if self._machines.happen(what, self._cluster.clock_s):
            if not self._cluster.is_up(what.machine):
                self._lose_leases(what.machine)
            self._changed = True

    def _lose_leases(self, machine: str) -> None:
        """Take back what was held on a machine that has left; a gang below its minimum waits again."""
        for ended in [one for one in self._ending if one[1].node == machine]:
            self._release(ended)
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
            self._books.records[job.id].restarts += 1
            self._reseat(job.id)

    def _decide_or_wait(self, now_s: float) -> None:
        """Ask the policy now, or at the next tick where it is asked at ticks; others do not wait for it."""
        self._machines.let_others_in(now_s)
        every_s = self._world.every_s
        if not self._ledger.num_waiting and not self._policy.needs_running:  # there is nothing to decide
            self._changed = False
            self._note_use(now_s)
        elif not every_s:
            self._decide()
        elif not self._awaits_tick:
            self._awaits_tick = True
            self._agenda.enter(math.ceil(now_s / every_s) * every_s, Rank.DECIDE, None)

    def _tick(self) -> None:
        """Ask the policy, and again at the next tick where time itself may change its answer."""
        self._awaits_tick = False
        plan = self._decide()
        self._num_idle_ticks = 0 if self._agenda else self._num_idle_ticks + 1
        if self._num_idle_ticks > MOST_IDLE_TICKS:
            return
        moves = bool(plan.grants or plan.revokes or self._ledger.num_running or self._agenda)
        if self._policy.needs_running and moves and (self._ledger.num_running or self._ledger.num_waiting):
            self._awaits_tick = True
            self._agenda.enter(self._cluster.clock_s + self._world.every_s, Rank.DECIDE, None)

    def _decide(self) -> ClusterPlan:
        """Let the loop take a step, and carry out for the jobs what it did to the cluster."""
        self._changed = False
        now_s = self._cluster.clock_s
        if self._policy.needs_running:
            self._tell_progress(now_s)
        began_s = time.perf_counter()
        plan = step(self._cluster, self._policy, self._ledger, self._world.seed, self._memo, self._demand)
        for name in self._books.decide(plan, self._ledger, time.perf_counter() - began_s):
            self._reseat(name)
        self._machines.let_others_in(now_s)
        self._note_use(now_s)
        return plan

    def _note_use(self, now_s: float) -> None:
        cluster, ledger = self._cluster, self._ledger
        self._books.note_use(
            now_s, cluster.observe(), cluster.used, cluster.capacity, ledger.num_waiting, ledger.num_running
        )

    def _tell_progress(self, now_s: float) -> None:
        """Enter what has become known of the jobs: work done, service attained, the rates of now."""
        for view in (*self._ledger.running, *self._ledger.waiting):
            running, attained_s = self._running[view.id], self._books.attained_s(view.id, now_s)
            rates = view.rates if running.rates is None else running.rates
            done = running.done_by(now_s)
            if (attained_s, done) != (view.attained_s, view.done) or rates is not view.rates:
                self._ledger.note(replace(view, attained_s=attained_s, done=done, rates=rates))

    def _reseat(self, name: str) -> None:
        """Seat a job's workers where its leases are."""
        now_s, before = self._cluster.clock_s, self._seats.get(name, {})
        seats = {
            lease.worker: self._machines.seat(lease, before.get(lease.worker), now_s)
            for lease in self._ledger.leases(name)
        }
        self._seats[name] = seats
        self._books.seat(name, [seat.machine for seat in seats.values()], now_s)
        try:
            self._running[name].seat(now_s, tuple(seats.values()))
        except UserError as error:
            self._end(name, Status.FAILED, str(error))
            return
        self._collect(name)
        self._look_ahead(name)

    def _outcome(self) -> RunOutcome:
        """Close what is still open, and return what became of everything."""
        world, books = self._world, self._books
        ended_s = books.ended_s()
        if self._running:
            ended_s = max(ended_s, min(self._cluster.clock_s, world.until_s))
        for name, running in self._running.items():
            record = books.records[name]
            if self._seats.get(name) and running.next_s() == math.inf and not math.isnan(record.alone_s):
                record.reason = "makes no progress: it has no rate on the kinds of nodes where its workers are"
            running.seat(ended_s, ())
            self._collect(name)
            books.records[name].hold(ended_s, 0, 0.0)
        outcome = books.outcome(self._policy.name, live=False, ended_s=ended_s, dead=self._machines.dead(ended_s))
        return replace(outcome, num_events=self._num_events, faults=tuple(self._machines.faults))
