"""Calls under way: who computes what since when, and copies of those that are overdue. Pure: it is told the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from policies.interface import Call, Floats, Ints
from workers.worker_state import CallResult


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
    copies: list[tuple[Call, CallResult]] = field(default_factory=list)

    @property
    def is_replaced(self) -> bool:
        """Whether the copies that are in have all of its shards."""
        return sum(len(call.shards) for call, _ in self.copies) == len(self.call.shards)


class Flights:
    """The calls of one job that are under way, of this attempt and of those before it, which are stale.

    A worker computes its calls in the order in which it was sent them. Calls are known by their identity: whoever
    sends the same shards again makes another call of them.

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
        self._lives = np.ones(num_workers, dtype=np.bool_)
        self._late = np.zeros(num_workers, dtype=np.bool_)  # who is at calls of an attempt before this
        self._flights: list[list[Flight]] = [[] for _ in range(num_workers)]
        self._copied: dict[int, Flight] = {}  # by the identity of the copy
        self._waiting: list[Call] = []
        self.since_s: Floats = np.full(num_workers, np.nan)
        self.work: Floats = np.full(num_workers, np.nan)

    @property
    def living(self) -> Ints:
        """The workers that were not lost, ascending."""
        return np.flatnonzero(self._lives)

    def lives(self, worker: int) -> bool:
        """Whether this is a worker that was not lost; -1 is none."""
        return worker >= 0 and bool(self._lives[worker])

    @property
    def idle(self) -> Ints:
        """The living workers that compute nothing, ascending."""
        return np.flatnonzero(self._lives & (self._num_out == 0))

    def is_idle(self, worker: int) -> bool:
        """Whether a living worker computes nothing."""
        return self.lives(worker) and bool(self._num_out[worker] == 0)

    def begin(self, calls: Sequence[Call], now_s: float) -> tuple[Call, ...]:
        """Take all that is under way for stale, and begin an attempt; return those of its calls that are sent now.

        Who is at a stale call cannot be told to stop: its calls wait until it has answered, or a straggler would have
        more before it in every round.
        """
        for flights in self._flights:
            flights.clear()
        self._copied.clear()
        self._waiting.clear()
        self.since_s[:] = np.nan
        self.work[:] = np.nan
        self._late = self._num_out > 0
        return self.depart(calls, now_s)

    def depart(self, calls: Sequence[Call], now_s: float) -> tuple[Call, ...]:
        """Enter calls of this attempt, and return those that are sent now: all but those for who is late."""
        for call in calls:
            self._enter(call, now_s)
        self._waiting += [call for call in calls if self._late[call.worker]]
        at_once = tuple(call for call in calls if not self._late[call.worker])
        for call in at_once:
            self._send(call)
        return at_once

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
        self._weigh(flight.call.worker)

    def _send(self, call: Call) -> None:
        self._out[id(call)] = call
        self._num_out[call.worker] += 1

    def land(self, call: Call) -> Flight | None:
        """Note an answer to a call; return the flight whose copy it is, or None."""
        if self._out.get(id(call)) is not call:
            return None
        del self._out[id(call)]
        self._num_out[call.worker] -= 1
        self._late[call.worker] &= self._num_out[call.worker] > 0
        return self._copied.pop(id(call), None)

    def awaits(self, call: Call) -> bool:
        """Whether this very call is one of this attempt whose shards are not in yet."""
        return call.worker >= 0 and any(flight.call is call for flight in self._flights[call.worker])

    def within(self, shards: Ints) -> list[Flight] | None:
        """Return the calls that have no shards but some of these; None if another has some of them."""
        found = []
        for flight in (flight for flights in self._flights for flight in flights):
            mine = np.isin(flight.call.shards, shards)
            if mine.all():
                found.append(flight)
            elif mine.any():
                return None
        return found

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

    def lose(self, worker: int) -> list[Flight]:
        """Forget a worker for good, and return its calls of this attempt; whom it helped is alone with all again."""
        for call in [call for call in self._out.values() if call.worker == worker]:
            helped = self.land(call)
            if helped is not None:
                helped.uncopied = np.union1d(helped.uncopied, call.shards)
                if self.first(helped.call.worker) is helped:
                    self._weigh(helped.call.worker)
        self._lives[worker] = False
        self._waiting = [call for call in self._waiting if call.worker != worker]
        lost = self._flights[worker].copy()
        self._flights[worker].clear()
        self.since_s[worker] = self.work[worker] = np.nan
        return lost

    def promote(self, flight: Flight, now_s: float) -> tuple[Call, ...]:
        """Let the copies that are under way of a call that has ended be calls of their own, and return them."""
        found = tuple(self._out[number] for number, copied in self._copied.items() if copied is flight)
        for copy in found:
            del self._copied[id(copy)]
            self._enter(copy, now_s)
        return found

    def _is_at_first(self, worker: int, now_s: float) -> None:
        """Note that a worker begins with the first of its calls now, if it has any."""
        self.since_s[worker] = np.nan if self.first(worker) is None else now_s
        self._weigh(worker)

    def _weigh(self, worker: int) -> None:
        """Note the work of the first of a worker's calls, if there is something of it that nobody else was given."""
        first = self.first(worker)
        alone = first is not None and len(first.uncopied)
        self.work[worker] = self._work[first.call.shards].sum() if first is not None and alone else np.nan
