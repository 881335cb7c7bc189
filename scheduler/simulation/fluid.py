"""A fluid job: so much work, at a rate that depends on the number and kind of its workers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from policies.interface import Floats
from scheduler.results.outcome import Activity, Interval
from scheduler.simulation.running import Running, Seat
from scheduler.simulation.speeds import Steps, slowest
from scheduler.simulation.workload import SimulatedJob


class FluidRun(Running):
    """Work flows at the rate of the whole gang: the slowest kind's for so many workers, times the slowest speed."""

    def __init__(self, job: SimulatedJob) -> None:
        super().__init__()
        self._name = job.view.id
        self._phases = list(job.parts)
        self._done = 0.0
        self._left = self._phases[0].work
        self._seats: tuple[Seat, ...] = ()
        self._since_s = 0.0
        self._flows_s = 0.0
        self._rate = Steps((-inf,), (1.0,))
        self._factor = 0.0

    def done_by(self, now_s: float) -> float:
        """Return what has flowed until now."""
        self._flow(now_s)
        return self._done

    @property
    def is_done(self) -> bool:
        """Whether all phases are over."""
        return not self._phases

    @property
    def rates(self) -> Mapping[str, Floats] | None:
        """The rates of the phase that runs now."""
        return self._phases[0].rates if self._phases else None

    def seat(self, now_s: float, seats: tuple[Seat, ...]) -> None:
        """Go on with these workers, once the last of them is ready."""
        self._flow(now_s)
        self._close(now_s)
        self._seats, self._since_s = seats, now_s
        self._open(now_s)

    def next_s(self) -> float:
        """Return when the phase ends."""
        if not self._phases or not self._seats or self._factor <= 0 or self._left == inf:
            return inf
        return self._rate.until_done_s(self._flows_s, self._left / self._factor)

    def happen(self, now_s: float) -> None:
        """End the phase."""
        self._flow(now_s)
        self._done += max(self._left, 0.0)
        self._phases.pop(0)
        self._left = self._phases[0].work if self._phases else 0.0
        if self._phases:
            self._open(now_s)
        else:
            self._close(now_s)

    def _open(self, now_s: float) -> None:
        """Work out the rate from now on."""
        seats = self._seats
        if not seats or not self._phases:
            self._factor = 0.0
            return
        self._flows_s = max(now_s, *(seat.ready_s for seat in seats))
        self._rate = slowest([seat.speed for seat in seats])
        kinds = {seat.machine.kind for seat in seats}
        self._factor = min(self._phases[0].rate(len(seats), kind) for kind in kinds)

    def _flow(self, now_s: float) -> None:
        """Let work flow until now."""
        if self._factor > 0 and self._left < inf and now_s > self._flows_s:
            amount = min(self._factor * self._rate.amount(self._flows_s, now_s), self._left)
            self._left -= amount
            self._done += amount
            self._flows_s = now_s

    def _close(self, now_s: float) -> None:
        """Write down what the workers did since they were seated."""
        for seat in self._seats:
            ready_s = min(max(seat.ready_s, self._since_s), now_s)
            for activity, from_s, to_s in (
                (Activity.STARTING, self._since_s, ready_s),
                (Activity.BUSY, ready_s, now_s),
            ):
                if to_s > from_s:
                    self.intervals.append(Interval(seat.machine.id, self._name, seat.worker, activity, from_s, to_s))
        self._since_s = now_s
