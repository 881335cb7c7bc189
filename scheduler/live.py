"""A workload on the connected cluster: jobs come, wait, run and end, by the loop's own step, as in the simulator."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from policies.composed import demand_of
from policies.interface import ClusterPlan, Floats, Grant, JobView, NodeTable, Policy
from scheduler.errors import RunFailedError
from scheduler.gangs import Gangs
from scheduler.inventory import bad_nodes, logical_views
from scheduler.ledger import Ledger
from scheduler.live_fleet import fleet_like
from scheduler.loop import StalePlanError, memo_for, step
from scheduler.outputs import model_of
from scheduler.placing import FREED_LATE_S
from scheduler.preparation import Prepared
from scheduler.ray_cluster import RayCluster
from scheduler.results.outcome import RunOutcome, Status
from scheduler.run import RunResult
from scheduler.simulation.books import Books
from scheduler.simulation.scenario import ON_RAY
from scheduler.simulation.workload import SimulatedJob, Workload
from scheduler.simulation.world import World

LOOK_S = 0.05
"""How often to look whether a job has come or ended, or the cluster has changed."""

TEND_S = 0.25
"""How often to look how jobs go on, and whether they have lost workers."""


@dataclass(frozen=True)
class LiveJob:
    """A job that can be trained, and what policies are to know of it: what a trial of it has shown."""

    prepared: Prepared
    profile: SimulatedJob

    @property
    def view(self) -> JobView:
        """The job as policies see it."""
        return self.profile.view


def run_workload(jobs: Sequence[LiveJob], policy: Policy, seed: int, every_s: float = 0.0) -> RunOutcome:
    """Run jobs on the connected cluster under a policy until the last has ended; it is left as it was.

    Parameters
    ----------
    jobs
        They come when their views say so, in seconds from now.
    every_s
        The policy is asked at multiples of this; 0: after every event that may change its answer.

    Raises
    ------
    UserError
        If the policy raises, or breaks a rule; the referee judges every plan. A job that fails is part of the outcome.
    """
    queue = _Queue(jobs, policy, seed, every_s)
    try:
        while not queue.is_done:
            queue.turn()
        return queue.outcome()
    finally:
        queue.close()


class _Queue:
    """One run: what is to come, the ledger, the books, the gangs of the jobs that have begun."""

    def __init__(self, jobs: Sequence[LiveJob], policy: Policy, seed: int, every_s: float) -> None:
        self._policy, self._seed, self._every_s = policy, seed, every_s
        self._jobs = {job.view.id: job for job in jobs}
        self._coming = deque(sorted(jobs, key=lambda job: job.view.submitted_s))
        self._memo = memo_for(policy)
        self._demand = demand_of(tuple(job.view for job in jobs))
        fleet = fleet_like(logical_views())
        world = World(fleet, Workload(tuple(job.profile for job in jobs)), seed=seed, costs=ON_RAY)
        self._machines, self._capacity = world.machines, fleet.table().capacity.sum(axis=0)
        self._books, self._ledger = Books(world, keep_timeline=True), Ledger()
        self._began_s = time.time()
        self._cluster = RayCluster(self._began_s, self._rest)
        self._resting: set[str] = set()
        self._gangs = Gangs(self._cluster, policy, self._began_s)
        self._tend_s = 0.0
        self._hashes: dict[str, str] = {}
        self._seen_free: Floats | None = None
        self._due_s = 0.0
        self._stuck_since_s: float | None = None
        self._changed = False

    @property
    def is_done(self) -> bool:
        """Whether nobody is to come, waits or runs."""
        return self._books.num_ended == len(self._jobs)

    def turn(self) -> None:
        """Take whatever has happened, and let the policy decide if its answer may be another now."""
        self._admit()
        self._collect()
        self._tend()
        now_s = self._cluster.now_s()
        if not self._ledger.num_waiting and not self._ledger.num_running:
            if self._changed:
                self._note_use()
                self._changed = False
            return
        if self._every_s and now_s < self._due_s:
            return
        nodes = self._cluster.observe() if self._ledger.num_waiting else None
        if self._changed or (nodes is not None and self._looks_different(nodes)) or self._every_s:
            self._due_s = (math.floor(now_s / self._every_s) + 1) * self._every_s if self._every_s else 0.0
            self._decide()

    def _looks_different(self, nodes: NodeTable) -> bool:
        """Say whether others have taken or given back something since the last decision, or a node has come or gone."""
        before, self._seen_free = self._seen_free, nodes.free
        return before is None or before.shape != nodes.free.shape or bool((before != nodes.free).any())

    def _admit(self) -> None:
        """Let those that have come wait for their workers, unless they can never have them."""
        now_s = self._cluster.now_s()
        while self._coming and self._coming[0].view.submitted_s <= now_s:
            job = self._coming.popleft()
            if self._books.open(job.profile, now_s, self._capacity):
                self._ledger.submit(job.view)
                self._changed = True

    def _collect(self) -> None:
        """Wait a moment, and take the results of the jobs that have ended."""
        if not self._gangs.anyone_runs:
            time.sleep(LOOK_S)
            return
        for name, brought in self._gangs.ended(LOOK_S):
            self._take(name, brought)

    def _take(self, name: str, brought: RunResult | Exception) -> None:
        """Enter what a job has brought, or why it failed."""
        if isinstance(brought, Exception):
            self._end(name, Status.FAILED, str(brought))
            return
        self._books.collect(name, brought.rounds, brought.intervals)
        self._end(name, Status.FINISHED)
        self._hashes[name] = model_of(self._jobs[name].prepared, self._policy.name, brought).sha256

    def _end(self, name: str, status: Status, reason: str = "") -> None:
        """Let a job go, and give its leases back."""
        self._gangs.end(name)
        for lease in self._ledger.leases(name):
            self._cluster.release(lease)
        self._ledger.drop(name)
        self._books.close(name, status, reason, self._cluster.now_s(), self._capacity)
        self._changed = True

    def _decide(self) -> None:
        """Let the loop take a step, and seat the workers of every job that it has changed."""
        self._changed = False
        if self._policy.needs_running:
            self._tell_progress()
        began_s = time.perf_counter()
        try:
            plan = step(self._cluster, self._policy, self._ledger, self._seed, self._memo, self._demand)
        except StalePlanError:
            changed: tuple[str, ...] = ()
            self._changed = True
        else:
            changed = self._books.decide(plan, self._ledger, time.perf_counter() - began_s)
            self._give_up_if_stuck(plan)
        resting, self._resting = self._resting, set()
        for name in dict.fromkeys((*resting, *changed)):
            self._seat(name)
        self._note_use()

    def _note_use(self) -> None:
        held = [(job.bundle.vector(), len(self._ledger.leases(job.id))) for job in self._ledger.running]
        used = sum((bundle * num for bundle, num in held), np.zeros(3))
        waiting, running = self._ledger.num_waiting, self._ledger.num_running
        self._books.note_use(self._cluster.now_s(), self._cluster.observe(), used, self._capacity, waiting, running)

    def _give_up_if_stuck(self, plan: ClusterPlan) -> None:
        """Let jobs go that a policy does not place although nobody else is there, and nobody will be."""
        now_s, ledger = self._cluster.now_s(), self._ledger
        is_stuck = ledger.num_waiting and not ledger.num_running and not self._coming
        if not is_stuck or self._others_are_there():  # they may leave
            self._stuck_since_s = None
            return
        self._changed = True
        self._stuck_since_s = now_s if self._stuck_since_s is None else self._stuck_since_s
        if now_s - self._stuck_since_s > FREED_LATE_S:
            reasons = {unplaced.what: str(unplaced) for unplaced in plan.unplaced}
            for view in ledger.waiting:
                self._end(view.id, Status.UNFINISHED, reasons.get(view.id, "the policy does not place it"))

    def _others_are_there(self) -> bool:
        nodes = self._cluster.observe()
        return bool((nodes.free < nodes.capacity).any())

    def _tend(self) -> None:
        """Replace workers that are gone, and strike leases on nodes that are gone, or are to go: others are found."""
        now_s = self._cluster.now_s()
        if now_s < self._tend_s or not self._gangs.names:
            return
        self._tend_s = now_s + TEND_S
        bad = bad_nodes()
        for name in self._gangs.names if bad else ():
            if lost := [lease for lease in self._ledger.leases(name) if lease.node in bad]:
                for lease in lost:
                    self._ledger.lose(lease)
                self._seat(name)
                for lease in lost:
                    self._cluster.release(lease)
                self._changed = True
        for name, error in self._gangs.tend():
            self._take(name, error)

    def _tell_progress(self) -> None:
        """Enter what has become known of the jobs: rounds done, service attained."""
        now_s = self._cluster.now_s()
        for view in (*self._ledger.running, *self._ledger.waiting):
            learning, done = self._jobs[view.id].profile.learning, view.done
            if learning is not None:
                done = max(done, self._gangs.num_rounds.get(view.id, 0) * learning.work)
            self._ledger.note(replace(view, attained_s=self._books.attained_s(view.id, now_s), done=done))

    def _rest(self, leases: Sequence[Grant]) -> None:
        """Tell the servers of jobs that workers are about to go."""
        for name in dict.fromkeys(lease.job for lease in leases):
            self._resting.add(name)
            self._gangs.rest(name)

    def _seat(self, name: str) -> None:
        """Seat a job's workers where its leases are; its server begins when it has some for the first time."""
        leases = self._ledger.leases(name)
        there = [self._machines[lease.node] for lease in leases if lease.node in self._machines]
        self._books.seat(name, there, self._cluster.now_s())
        try:
            self._gangs.seat(name, self._jobs[name].view, self._jobs[name].prepared, leases)
        except RunFailedError as error:
            self._take(name, error)

    def outcome(self) -> RunOutcome:
        """Return what became of everything; nodes go by the first letters of their ids."""
        outcome = self._books.outcome(self._policy.name, live=True, ended_s=self._books.ended_s())
        return replace(
            outcome,
            nodes=tuple(replace(node, id=node.id[:8]) for node in outcome.nodes),
            intervals=tuple(replace(interval, node=interval.node[:8]) for interval in outcome.intervals),
            jobs=tuple(replace(job, model_sha256=self._hashes.get(job.id, "")) for job in outcome.jobs),
        )

    def close(self) -> None:
        """End all actors, and give every lease back."""
        self._gangs.close()
        self._cluster.release_all()
