"""Copies of calls that take too long, for idle workers. Pure: it is told the time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from policies.balance.speculation import hopeless, is_overdue, portion, remaining
from policies.interface import Call, Floats, RoundView, WorkerTable, frozen
from scheduler.rounds.flights import Flights
from scheduler.rounds.measurements import Measurements
from scheduler.rounds.pieces import Pieces

GROWTH = 1.25
"""A call that was overdue, and was not worth a copy, is looked at again when it has taken so many times as long."""

LOOK_AGAIN_S = 1e-3

ROUNDING = 1e-9
"""What is looked at when it is due is due then: times are rounded."""


class Speculation:
    """Finds calls that are too slow, and shares them among idle workers.

    A call is if it takes more than ``patience`` times what is expected, or if the others together would be done with
    it in that part of the time that it is likely to last.

    Attributes
    ----------
    num_copies
        How many copies there were.
    """

    def __init__(self, patience: float, flights: Flights, measurements: Measurements, pieces: Pieces) -> None:
        self._patience, self._flights, self._measurements, self._pieces = patience, flights, measurements, pieces
        self._looked_s = -math.inf
        self.num_copies = 0

    def expected_s(self, workers: WorkerTable | None = None) -> Floats:
        """Return how long each worker's first call should take, NaN where it has none or nothing was measured."""
        known = workers or self._measurements.table()
        found: Floats = known.s_fixed + self._flights.work * known.s_per_work
        return found

    def look_s(self) -> float:
        """Return when the next call is overdue; infinite where there is none, or nobody who could help."""
        if self._patience == math.inf or not len(self._flights.idle):
            return math.inf
        since_s = self._flights.since_s
        running_s = np.maximum(self._patience * self.expected_s(), GROWTH * (self._looked_s - since_s))
        return max(float(np.nanmin(since_s + running_s, initial=math.inf)), self._looked_s + LOOK_AGAIN_S)

    def look(self, view: RoundView, now_s: float) -> tuple[Call, ...]:
        """Return copies for all that are idle."""
        self._looked_s = now_s
        idle = self._flights.idle.tolist()
        return tuple(call for worker in idle for call in self.copy_for(worker, view, now_s))

    def copy_for(self, worker: int, view: RoundView, now_s: float) -> tuple[Call, ...]:
        """Give an idle worker some shards of the call that is likely to last longest, if that call is too slow."""
        if self._patience == math.inf:
            return ()
        measured = replace(view, workers=self._able())
        running_s = now_s - self._flights.since_s
        expected_s = self.expected_s(measured.workers) * (1 - ROUNDING)
        overdue = is_overdue(expected_s, running_s, self._patience)
        left_s = remaining(expected_s, running_s, self._patience)
        under_way = np.flatnonzero(left_s > 0)
        for slow in under_way[np.argsort(-left_s[under_way], kind="stable")].tolist():
            flight = self._flights.first(slow)
            if flight is None:
                raise AssertionError("a call that takes time is under way")
            asked = replace(measured, pending=frozen(flight.uncopied, np.int64))
            if overdue[slow] or hopeless(asked, slow, float(left_s[slow]), self._patience):
                shards = portion(asked, worker, self._flights.idle, float(left_s[slow]))
                if len(shards):
                    copy = self._pieces.first(Call(worker, shards))
                    self._flights.copy(flight, copy)
                    self.num_copies += 1
                    return (copy,)
        return ()

    def _able(self) -> WorkerTable:
        """Return the workers with all that was measured; who was lost computes nothing any more."""
        workers, living = self._measurements.table(), self._flights.living
        if len(living) == len(workers):
            return workers
        s_per_work = np.full(len(workers), np.inf)
        s_per_work[living] = workers.s_per_work[living]
        return replace(workers, s_per_work=frozen(s_per_work))
