"""What a simulation writes down as it goes, and makes an outcome of. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from policies.interface import Floats, JobView, Resources
from scheduler.results.outcome import Activity, Interval, JobOutcome, NodeOutcome, RoundOutcome, Status, Use
from scheduler.simulation.fleet import Fleet

MOST_USES = 4096
"""How many entries the series of use has at most; then neighbours are merged, by their means over time."""


@dataclass
class Record:
    """What is known of a job so far; as in ``JobOutcome``."""

    view: JobView
    alone_s: float
    contended_s: float
    status: Status = Status.UNFINISHED
    reason: str = ""
    started_s: float = math.nan
    ended_s: float = math.nan
    fair_s: float = math.nan
    workers: int = 0
    since_s: float = 0.0
    holds: int = 0
    price_per_s: float = 0.0
    worker_s: float = 0.0
    cost: float = 0.0
    preemptions: int = 0
    moves: int = 0
    restarts: int = 0
    bytes_moved: float = 0.0
    shards_moved: int = 0
    rounds: list[RoundOutcome] = field(default_factory=list)

    def hold(self, now_s: float, workers: int, price_per_s: float) -> None:
        """Count what was held until now, and note what is held from now on."""
        self.worker_s += self.holds * (now_s - self.since_s)
        self.cost += self.price_per_s * (now_s - self.since_s)
        self.since_s, self.holds, self.price_per_s = now_s, workers, price_per_s
        self.workers = max(self.workers, workers)
        if workers and math.isnan(self.started_s):
            self.started_s = now_s

    def outcome(self) -> JobOutcome:
        """Return the record as it is reported."""
        view = self.view
        return JobOutcome(
            id=view.id,
            submitted_s=view.submitted_s,
            bundle=view.bundle,
            workers=self.workers,
            status=self.status,
            started_s=self.started_s,
            ended_s=self.ended_s,
            tenant=view.tenant,
            deadline_s=view.deadline_s,
            alone_s=self.alone_s,
            fair_s=self.fair_s,
            worker_s=self.worker_s,
            cost=self.cost,
            preemptions=self.preemptions,
            moves=self.moves,
            restarts=self.restarts,
            bytes_moved=self.bytes_moved,
            shards_moved=self.shards_moved,
            rounds=tuple(self.rounds),
            reason=self.reason,
        )


class UseSeries:
    """The use of a cluster over time, in a bounded number of steps whose integrals are exact.

    Where two steps become one, stranded GPUs are counted only if they were in both.
    """

    def __init__(self) -> None:
        self._at_s: list[float] = []
        self._rows: list[tuple[float, ...]] = []

    def add(
        self,
        at_s: float,
        used: Floats,
        capacity: Floats,
        waiting: int,
        running: int,
        stranded_gpus: float = math.nan,
    ) -> None:
        """Note what holds from now on."""
        row = (*used.tolist(), *capacity.tolist(), float(waiting), float(running), stranded_gpus)
        if self._at_s and self._at_s[-1] == at_s:
            self._rows[-1] = row
            return
        self._at_s.append(at_s)
        self._rows.append(row)
        if len(self._at_s) > MOST_USES:
            self._merge()

    def _merge(self) -> None:
        """Merge neighbours, all but the last, which still lasts."""
        at_s, rows = np.array(self._at_s), np.array(self._rows)
        num = (len(at_s) - 1) // 2 * 2
        lasts = np.diff(at_s)[:num].reshape(-1, 2, 1)
        means = (rows[:num].reshape(-1, 2, rows.shape[1]) * lasts).sum(axis=1) / lasts.sum(axis=1)
        self._at_s = [*at_s[:num:2].tolist(), *at_s[num:].tolist()]
        self._rows = [*map(tuple, means.tolist()), *self._rows[num:]]

    def uses(self) -> tuple[Use, ...]:
        """Return the series."""
        return tuple(
            Use(at_s, Resources(*row[:3]), Resources(*row[3:6]), *row[6:])
            for at_s, row in zip(self._at_s, self._rows, strict=True)
        )


class Contention:
    """How much more is asked for than there is, integrated over time: at least 1 at every moment."""

    def __init__(self) -> None:
        self._asked = np.zeros(3)
        self._since_s = 0.0
        self._integral_s = 0.0
        self._level = 1.0

    def at(self, now_s: float) -> float:
        """Return the integral until now."""
        return self._integral_s + self._level * (now_s - self._since_s)

    def change(self, now_s: float, more: Floats, capacity: Floats) -> None:
        """Let jobs that ask for ``more`` come (or go, where it is negative)."""
        self._integral_s, self._since_s = self.at(now_s), now_s
        self._asked = self._asked + more
        self._level = max(1.0, part_of(self._asked, capacity))


def part_of(amounts: Floats, capacity: Floats) -> float:
    """Return ``amounts`` as a part of ``capacity``, both (3,), of the resource of which it is most."""
    pairs: list[tuple[float, float]] = list(zip(amounts.tolist(), capacity.tolist(), strict=True))
    return max((amount / there for amount, there in pairs if there > 0), default=0.0)


def node_outcomes(fleet: Fleet) -> tuple[NodeOutcome, ...]:
    """Return the machines as reports show them."""
    return tuple(
        NodeOutcome(machine.id, machine.kind, machine.capacity, machine.speed, machine.price_per_hour)
        for machine in fleet.machines
    )


def dead(machine: str, from_s: float, to_s: float) -> Interval:
    """Return the interval of a machine that was not there."""
    return Interval(machine, "", -1, Activity.DEAD, from_s, to_s)
