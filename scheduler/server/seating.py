"""Who is to work for a job, as the driver says, and who gives signs of life."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

from scheduler.run import Seat


class Seating:
    """Who is to work for a job: changed by one thread, while another drives the rounds.

    Word of a change may be overtaken by that of a later one, which then stands: changes are numbered.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._number = 0
        self._seats: tuple[Seat, ...] = ()

    def change(self, number: int, seats: Sequence[Seat]) -> None:
        """Let others work from now on; nobody, and the job rests."""
        with self._changed:
            if number > self._number:
                self._number, self._seats = number, tuple(seats)
                self._changed.notify_all()

    @property
    def seats(self) -> tuple[Seat, ...]:
        """Who is to work now; another object whenever that changes."""
        return self._seats

    def someone_but(self, lost: Collection[str]) -> tuple[Seat, ...]:
        """Return the seats, and wait until some are of other actors than those that are lost."""
        with self._changed:
            self._changed.wait_for(lambda: any(seat.id not in lost for seat in self._seats))
            return self._seats


class Beats:
    """The last sign of life of each worker: noted by one thread, read by another."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int]] = {}

    def note(self, worker: str, now_s: float, num_done: int) -> None:
        """Note that a worker lives, and how many shards it has finished so far."""
        self._last[worker] = (now_s, num_done)

    def take(self) -> dict[str, tuple[float, int]]:
        """Return what is new: worker -> (when, how many shards)."""
        last, self._last = self._last, {}
        return last
