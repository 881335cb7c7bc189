"""The books of a simulation: what became of its jobs, and how the cluster was used. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection

from policies.interface import Floats
from scheduler.results.outcome import Interval, JobOutcome, Status, Use
from scheduler.simulation.cluster import SimulatedCluster
from scheduler.simulation.ideal import Ideal, lower_bound_s
from scheduler.simulation.recorder import Contention, Record, UseSeries, part_of
from scheduler.simulation.running import Running, Seat
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

    def collect(self, name: str, running: Running) -> None:
        """Take what a job has written down since the last time."""
        record = self.records[name]
        for done in running.rounds:
            record.bytes_moved += done.bytes_moved
            record.shards_moved += done.shards_moved
        if self._keeps:
            record.rounds += running.rounds
            self.intervals += running.intervals
        running.rounds.clear()
        running.intervals.clear()

    def seat(self, name: str, seats: Collection[Seat], now_s: float) -> None:
        """Note what a job holds from now on, and what that costs."""
        bundle = self.records[name].view.bundle.vector()
        price_per_s = sum(
            seat.machine.price_per_hour / 3600 * part_of(bundle, seat.machine.capacity.vector())
            for seat in seats
            if seat.machine.price_per_hour
        )
        self.records[name].hold(now_s, len(seats), price_per_s)

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

    def note_use(self, now_s: float, cluster: SimulatedCluster, waiting: int, running: int) -> None:
        """Note how the cluster is used from now on."""
        stranded = self._stranded.on(cluster.observe())
        self._uses.add(now_s, cluster.used, cluster.capacity, waiting, running, stranded)

    def uses(self) -> tuple[Use, ...]:
        """Return how the cluster was used."""
        return self._uses.uses()

    def ended_s(self) -> float:
        """Return when the last job finished, 0 before any has."""
        return max((record.ended_s for record in self.records.values() if record.ended_s >= 0), default=0.0)

    def outcomes(self) -> tuple[JobOutcome, ...]:
        """Return what became of every job, of those that never came, too."""
        views = [job.view for job in self._world.workload.jobs]
        return tuple((self.records.get(view.id) or Record(view, math.nan, 0.0)).outcome() for view in views)

    def lower_bound_s(self, ended_s: float) -> float:
        """Return before when no schedule of the jobs that can have their workers ends; see ``ideal.lower_bound_s``."""
        records = self.records
        jobs = [job for job in self._world.workload.jobs if job.view.id in records]
        fitting = [job for job in jobs if records[job.view.id].status is not Status.NEVER_FITS]
        return lower_bound_s(self._world, fitting, ended_s)
