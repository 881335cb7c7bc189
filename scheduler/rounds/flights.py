"""Calls under way: who computes what since when, and copies of those that are overdue. Pure: it is told the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from policies.interface import Call, Floats, Ints
from workers.update import CallSums


@dataclass(eq=False)
class Flight:
    """A call of this attempt at a round, whose shards are not in yet.

    Attributes
    ----------
    uncopied
        Which of its shards nobody else was given too.
    copies
        What came of them: put aside until the copies together have all that the call has.
    """

    call: Call
    uncopied: Ints
    copies: list[tuple[Call, CallSums]] = field(default_factory=list)

    @property
    def is_replaced(self) -> bool:
        """Whether the copies that are in have all of its shards."""
        return sum(len(call.shards) for call, _ in self.copies) == len(self.call.shards)


class Flights:
    """The calls of one job that are under way, of this attempt and of those before it, which are stale.

    A worker computes its calls in the order in which it was sent them.

    Parameters
    ----------
    work
        Of each shard of the job.

    Attributes
    ----------
    since_s
        Since when each worker has been at its first call of this attempt, or was to be; NaN where it has none. Shape
        ``(w,)``.
    work
        Of that call, NaN where there is none or all of its shards were given to others too.
    """

    def __init__(self, num_workers: int, work: Floats) -> None:
        self._work = work
        self._out: dict[int, Call] = {}  # by identity
        self._num_out = np.zeros(num_workers, dtype=np.int64)
        self._flights: list[list[Flight]] = [[] for _ in range(num_workers)]
        self._copied: dict[int, Flight] = {}  # by the identity of the copy
        self._waiting: list[Call] = []
        self.since_s: Floats = np.full(num_workers, np.nan)
        self.work: Floats = np.full(num_workers, np.nan)

    @property
    def idle(self) -> Ints:
        """The workers that compute nothing, ascending."""
        return np.flatnonzero(self._num_out == 0)

    def is_idle(self, worker: int) -> bool:
        """Whether a worker computes nothing."""
        return bool(self._num_out[worker] == 0)

    def begin(self, calls: Sequence[Call], now_s: float) -> tuple[Call, ...]:
        """Take all that is under way for stale, and begin an attempt; return those of its calls that are sent now.

        Who is at a stale call cannot be told to stop: its calls wait until it has answered, or a straggler would have
        more before it in every round.
        """
        for flights in self._flights:
            flights.clear()
        self._copied.clear()
        self.since_s[:] = np.nan
        self.work[:] = np.nan
        late = self._num_out > 0
        self._waiting = [call for call in calls if late[call.worker]]
        for call in self._waiting:
            self._enter(call, now_s)
        at_once = tuple(call for call in calls if not late[call.worker])
        self.depart(at_once, now_s)
        return at_once

    def depart(self, calls: Sequence[Call], now_s: float) -> None:
        """Send calls of this attempt."""
        for call in calls:
            self._send(call)
            self._enter(call, now_s)

    def released(self, worker: int) -> tuple[Call, ...]:
        """Send what has waited for a worker, as far as its shards are not in."""
        mine = [call for call in self._waiting if call.worker == worker]
        self._waiting = [call for call in self._waiting if call.worker != worker]
        wanted = tuple(call for call in mine if any(flight.call is call for flight in self._flights[worker]))
        for call in wanted:
            self._send(call)
        return wanted

    def _enter(self, call: Call, now_s: float) -> None:
        self._flights[call.worker].append(Flight(call, call.shards))
        if len(self._flights[call.worker]) == 1:
            self._is_at_first(call.worker, now_s)

    def copy(self, flight: Flight, copy: Call) -> None:
        """Send a copy of some shards of a call."""
        self._send(copy)
        self._copied[id(copy)] = flight
        flight.uncopied = flight.uncopied[~np.isin(flight.uncopied, copy.shards)]
        if not len(flight.uncopied):
            self.work[flight.call.worker] = np.nan

    def _send(self, call: Call) -> None:
        self._out[id(call)] = call
        self._num_out[call.worker] += 1

    def land(self, call: Call) -> Flight | None:
        """Note an answer to a call; return the flight whose copy it is, or None."""
        if self._out.get(id(call)) is not call:
            return None
        del self._out[id(call)]
        self._num_out[call.worker] -= 1
        return self._copied.pop(id(call), None)

    def first(self, worker: int) -> Flight | None:
        """Return the call that a worker is at, of this attempt; None where it has none."""
        flights = self._flights[worker]
        return flights[0] if flights else None

    def close(self, call: Call, now_s: float) -> None:
        """Note that the shards of a call are in."""
        flights = self._flights[call.worker]
        first = self.first(call.worker)
        flights[:] = [flight for flight in flights if flight.call is not call]
        if self.first(call.worker) is not first:
            self._is_at_first(call.worker, now_s)

    def _is_at_first(self, worker: int, now_s: float) -> None:
        """Note that a worker begins with the first of its calls now, if it has any."""
        first = self.first(worker)
        self.since_s[worker] = np.nan if first is None else now_s
        self.work[worker] = np.nan if first is None else self._work[first.call.shards].sum()
