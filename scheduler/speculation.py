"""Copies of calls that are overdue, for idle workers. Pure: it is told the time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from policies.balance.speculation import portion
from policies.interface import Call, Floats, RoundView, frozen
from scheduler.flights import Flights
from scheduler.measurements import Measurements

GROWTH = 1.25
"""A call that was overdue, and was not worth a copy, is looked at again when it has taken so many times as long."""

LOOK_AGAIN_S = 1e-3

ROUNDING = 1e-9
"""What is looked at when it is due is due then: times are rounded."""


class Speculation:
    """Finds calls that take longer than ``patience`` times what is expected, and shares them among idle workers.

    Attributes
    ----------
    num_copies
        How many copies there were.
    """

    def __init__(self, patience: float, flights: Flights, measurements: Measurements) -> None:
        self._patience, self._flights, self._measurements = patience, flights, measurements
        self._looked_s = -math.inf
        self.num_copies = 0

    def expected_s(self) -> Floats:
        """Return how long each worker's first call should take, NaN where it has none or nothing was measured."""
        workers = self._measurements.table()
        found: Floats = workers.s_fixed + self._flights.work * workers.s_per_work
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
        """Give an idle worker some shards of the call that has been overdue for the longest time."""
        if self._patience == math.inf:
            return ()
        running_s = now_s - self._flights.since_s
        due_s = self._patience * self.expected_s() * (1 - ROUNDING)
        overdue = np.flatnonzero((running_s >= due_s) & (running_s > 0))
        measured = replace(view, workers=self._measurements.table()) if len(overdue) else view
        for slow in overdue[np.argsort(-running_s[overdue], kind="stable")].tolist():
            flight = self._flights.first(slow)
            if flight is None:
                raise AssertionError("an overdue call is under way")
            asked = replace(measured, pending=frozen(flight.uncopied, np.int64))
            shards = portion(asked, worker, self._flights.idle, float(running_s[slow]))
            if len(shards):
                copy = Call(worker, shards)
                self._flights.copy(flight, copy)
                self.num_copies += 1
                return (copy,)
        return ()
