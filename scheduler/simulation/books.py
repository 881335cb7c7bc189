"""The books of a run, live or simulated: what became of its jobs, and how the cluster was used. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from policies.interface import ClusterPlan, Floats, NodeTable
from scheduler.ledger import Ledger
from scheduler.results.outcome import Interval, RoundOutcome, RunOutcome, Status
from scheduler.simulation.fleet import Machine
from scheduler.simulation.ideal import Ideal, lower_bound_s
from scheduler.simulation.recorder import Contention, Record, UseSeries, node_outcomes, part_of
from scheduler.simulation.stranded import Stranded
from scheduler.simulation.workload import SimulatedJob
from scheduler.simulation.world import World


class Books:
    """Records of jobs from their arrival to their end, with what happened at the same time.

    Attributes
    ----------
    records
        Of the jobs that have come, by their names.
    intervals
        What workers did; empty where timelines are not kept.
    num_ended
        How many jobs have ended, one way or another.
    """

    def __init__(self, world: World, keep_timeline: bool) -> None:
        self._world, self._keeps = world, keep_timeline
        self._ideal, self._contention = Ideal(world), Contention()
        self._stranded = Stranded()
        self.records: dict[str, Record] = {}
        self.intervals: list[Interval] = []
        self._uses = UseSeries()
        self._decisions_s: list[float] = []
        self._failed_placements = 0
        self.num_ended = 0

    def open(self, job: SimulatedJob, now_s: float, capacity: Floats) -> bool:
        """Open the record of a job that has come, and say whether it can ever have its workers."""
        view = job.view
        record = Record(view, self._ideal.alone_s(job), self._contention.at(now_s), since_s=now_s)
        self.records[view.id] = record
        num_slots = self._ideal.num_slots(view)
        if num_slots < view.min_workers:
            record.status, self.num_ended = Status.NEVER_FITS, self.num_ended + 1
            record.reason = (
                f"{view.min_workers} workers are needed at the least, the whole cluster has room for {num_slots}"
            )
            return False
        self._contention.change(now_s, view.bundle.vector() * view.max_workers, capacity)
        self._stranded.come(view)
        return True

    def collect(self, name: str, rounds: Sequence[RoundOutcome], intervals: Sequence[Interval]) -> None:
        """Enter rounds of a job, and what its workers did meanwhile."""
        record = self.records[name]
        for done in rounds:
            record.bytes_moved += done.bytes_moved
            record.shards_moved += done.shards_moved
        if self._keeps:
            record.rounds += rounds
            self.intervals += intervals

    def seat(self, name: str, machines: Sequence[Machine], now_s: float) -> None:
        """Note that a job has a worker on each of these machines from now on, and what that costs."""
        bundle = self.records[name].view.bundle.vector()
        price_per_s = sum(
            machine.price_per_hour / 3600 * part_of(bundle, machine.capacity.vector())
            for machine in machines
            if machine.price_per_hour
        )
        self.records[name].hold(now_s, len(machines), price_per_s)

    def attained_s(self, name: str, now_s: float) -> float:
        """Return the worker-seconds that a job has held until now."""
        record = self.records[name]
        return record.worker_s + record.holds * (now_s - record.since_s)

    def decide(self, plan: ClusterPlan, ledger: Ledger, took_s: float) -> tuple[str, ...]:
        """Enter a decision that is in the ledger already, and return the jobs that hold something else now."""
        self._decisions_s.append(took_s)
        self._failed_placements += len(plan.unplaced)
        revoked = {(lease.job, lease.worker): lease.node for lease in plan.revokes}
        for grant in plan.grants:
            before = revoked.get((grant.job, grant.worker))
            self.records[grant.job].moves += before is not None and before != grant.node
        changed = tuple(dict.fromkeys(lease.job for lease in (*plan.revokes, *plan.grants)))
        for name in changed:
            self.records[name].preemptions += not ledger.leases(name)
        return changed

    def close(self, name: str, status: Status, reason: str, now_s: float, capacity: Floats) -> None:
        """Close the record of a job that has ended."""
        record = self.records[name]
        record.hold(now_s, 0, 0.0)
        record.status, record.reason = status, reason
        if status is Status.FINISHED:
            record.ended_s = now_s
            lasted_s = now_s - record.view.submitted_s
            mean = (self._contention.at(now_s) - record.contended_s) / lasted_s if lasted_s else 1.0
            record.fair_s = record.alone_s * mean
        self._contention.change(now_s, -record.view.bundle.vector() * record.view.max_workers, capacity)
        self._stranded.go(record.view)
        self.num_ended += 1

    def note_use(
        self, now_s: float, nodes: NodeTable, used: Floats, capacity: Floats, waiting: int, running: int
    ) -> None:
        """Note how the cluster is used from now on: ``used`` of the ``capacity``, each of shape ``(3,)``."""
        self._uses.add(now_s, used, capacity, waiting, running, self._stranded.on(nodes))

    def ended_s(self) -> float:
        """Return when the last job finished, 0 before any has."""
        return max((record.ended_s for record in self.records.values() if record.ended_s >= 0), default=0.0)

    def outcome(self, policy: str, live: bool, ended_s: float, dead: Sequence[Interval] = ()) -> RunOutcome:
        """Return what became of everything, of jobs that never came, too; ``dead`` are intervals of machines."""
        world, records = self._world, self.records
        views = [job.view for job in world.workload.jobs]
        intervals = [*self.intervals, *dead]
        return RunOutcome(
            policy=policy,
            seed=world.seed,
            live=live,
            ended_s=ended_s,
            nodes=node_outcomes(world.fleet),
            jobs=tuple((records.get(view.id) or Record(view, math.nan, 0.0)).outcome() for view in views),
            uses=self._uses.uses(),
            intervals=tuple(sorted(intervals, key=lambda one: (one.from_s, one.job, one.worker))),
            decisions_s=tuple(self._decisions_s),
            failed_placements=self._failed_placements,
            lower_bound_s=self._lower_bound_s(ended_s),
        )

    def _lower_bound_s(self, ended_s: float) -> float:
        """Return before when no schedule of the jobs that can have their workers ends; see ``ideal.lower_bound_s``."""
        records = self.records
        jobs = [job for job in self._world.workload.jobs if job.view.id in records]
        fitting = [job for job in jobs if records[job.view.id].status is not Status.NEVER_FITS]
        return lower_bound_s(self._world, fitting, ended_s)
