"""What no schedule can beat: how long a job takes alone, and how much of the cluster it needs at the least. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import inf, isnan, nan

import numpy as np

from policies.feasibility import slots
from policies.interface import Floats, JobView
from scheduler.simulation.workload import Learning, Phase, SimulatedJob
from scheduler.simulation.world import World

_MANY = 2**31
"""As good as any number of workers: what fits of a bundle of nothing."""


class Ideal:
    """Answers for one world, with every machine there and nobody on it.

    Parameters
    ----------
    until_s
        Machines are as fast as they ever are until then; by default, as they are where nothing changes their speed.
    """

    def __init__(self, world: World, until_s: float = -inf) -> None:
        self._world = world
        self._nodes = world.fleet.table()
        self._slots: dict[Hashable, tuple[Floats, int]] = {}
        self._ordered: dict[Hashable, tuple[Floats, Floats]] = {}
        machines = world.fleet.machines
        self._speeds = np.array([world.speed(machine).most(until_s) for machine in machines])
        self._order = np.argsort(-self._speeds, kind="stable")
        self._s_per_byte = min(
            (machine.s_per_byte / world.bandwidth(machine).most(until_s) for machine in machines), default=0.0
        )
        best: dict[str, float] = {}
        for machine, speed in zip(machines, self._speeds.tolist(), strict=True):
            best[machine.kind] = max(best.get(machine.kind, 0.0), speed)
        self._best = best

    def num_slots(self, view: JobView) -> int:
        """Return how many workers of a job fit at a time."""
        return self._slots_of(view)[1]

    def _slots_of(self, view: JobView) -> tuple[Floats, int]:
        """Return how many workers of a job fit on each machine, and on all."""
        known = self._slots.get(view.bundle_class)
        if known is None:
            room = np.asarray(slots(view, self._nodes), dtype=np.float64)
            known = self._slots[view.bundle_class] = room, int(min(room.sum(), _MANY))
        return known

    def _fastest_first(self, view: JobView) -> tuple[Floats, Floats]:
        """Return how many workers of a job fit on each machine, the fastest first, and on all those before it."""
        if view.bundle_class not in self._ordered:
            room = self._slots_of(view)[0][self._order]
            self._ordered[view.bundle_class] = (room, np.cumsum(room) - room)
        return self._ordered[view.bundle_class]

    def alone_s(self, job: SimulatedJob) -> float:
        """Return the seconds that a job takes with the best of the cluster to itself; NaN where it has no end."""
        if job.learning is not None:
            return self._learning_s(job.view, job.learning)
        if _has_no_end(job):
            return nan
        workers = max(min(job.view.max_workers, self.num_slots(job.view)), 1)
        return sum(_over(phase.work, self._rate(phase, workers)) for phase in job.parts)

    def least_worker_s(self, job: SimulatedJob) -> float:
        """Return the worker-seconds that a job takes where they bring most; NaN where it has no end."""
        view, learning = job.view, job.learning
        if learning is not None:
            best = max(self._best.values(), default=nan)
            return learning.rounds * learning.work * learning.s_per_work / best
        if _has_no_end(job):
            return nan
        most = [
            max(self._rate(phase, num) / num for num in range(view.min_workers, view.max_workers + 1))
            for phase in job.parts
        ]
        return sum(_over(phase.work, rate) for phase, rate in zip(job.parts, most, strict=True))

    def _rate(self, phase: Phase, workers: int) -> float:
        """Return the best rate of so many workers on machines of one kind."""
        return max((phase.rate(workers, kind) * best for kind, best in self._best.items()), default=0.0)

    def _learning_s(self, view: JobView, learning: Learning) -> float:
        room, before = self._fastest_first(view)
        num = np.clip(view.max_workers - before, 0.0, room)
        together = float(np.dot(num, self._speeds[self._order]))
        if not together:
            return nan
        costs = self._world.costs
        fixed_s = learning.s_per_call / float(self._speeds.max()) + costs.call_s + costs.round_s
        travels_s = (learning.message_bytes + learning.update_bytes) * self._s_per_byte
        work = learning.work * learning.s_per_work
        return learning.rounds * (work / together + fixed_s + travels_s)


def _has_no_end(job: SimulatedJob) -> bool:
    return any(phase.work == inf for phase in job.parts)


def lower_bound_s(world: World, jobs: Sequence[SimulatedJob], ended_s: float) -> float:
    """Return before when no schedule of these jobs can end, given one that ended at ``ended_s``.

    The longest job, alone, and the area of all of them, on machines that are as fast as they ever are until then: what
    ends later is no better, what ends before knows no higher speeds.
    """
    ideal = Ideal(world, ended_s)
    alone_s = [(job.view.submitted_s, ideal.alone_s(job)) for job in jobs]
    ends_s = [submitted_s + takes_s for submitted_s, takes_s in alone_s if not isnan(takes_s)]
    if not ends_s:
        return nan
    worker_s = [ideal.least_worker_s(job) for job in jobs]
    area = sum(
        (takes_s * job.view.bundle.vector() for job, takes_s in zip(jobs, worker_s, strict=True) if not isnan(takes_s)),
        np.zeros(3),
    )
    capacity = world.fleet.table().capacity.sum(axis=0)
    there = capacity > 0
    first_s = min(job.view.submitted_s for job in jobs)
    return max(*ends_s, first_s + float((area[there] / capacity[there]).max(initial=0.0)))


def _over(work: float, rate: float) -> float:
    return nan if rate <= 0 else work / rate
