"""Which workers are to be given up: those that are silent, and those that are stuck. Pure: it is told the time.

Source: that a limit follows from the times between heartbeats seen so far is from Hayashibara, Defago, Yared and
Katayama, "The phi accrual failure detector", SRDS 2004; here with median and median absolute deviation (MAD), which a
few late beats do not move, in place of mean and variance.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

SILENT_S = 10.0
"""Nobody is given up for a shorter silence: a worker may hold its interpreter for seconds, or its node may swap."""

STUCK_S = 60.0
"""Nobody is given up for a shorter standstill: the first call may import a library, or wait for a disk."""

SPREADS = 8.0
"""How many MADs above the median are too many: of normal times one in 10**8 is later (phi = 8 in the paper)."""

LEAST_SPREAD = 0.25
"""The MAD counts as this part of the median at least: times that were all equal are not so for ever."""

SLACK = 10.0
"""A shard may take so many times what is too long by that: in all at least 30 medians. 20 times slower is not stuck."""

FIRST_S = 3600.0
"""How long a shard may take while nothing tells how long one takes: nobody has answered a call of this stage yet."""

LOOK_S, LOOKS = 1.0, 8
"""How often to look at most, and how often at least in the time in which somebody may be silent."""

NUM_KEPT = 64
"""How many of the last times count, of each worker: what changes is forgotten after a while."""

NUM_KEPT_OF_ALL = 256
"""And of all workers together."""


class Reason(Enum):
    """Why a worker is given up."""

    SILENT = "silent"
    STUCK = "stuck"


@dataclass(frozen=True)
class GivenUp:
    """A worker that is given up, and why: it has not been heard of, or has finished nothing, for ``for_s`` seconds."""

    worker: int
    reason: Reason
    for_s: float
    limit_s: float

    def __str__(self) -> str:
        """Say it in one line."""
        what = "no sign of life" if self.reason is Reason.SILENT else "no progress in its call"
        return f"{what} for {self.for_s:.1f} s (the limit is {self.limit_s:.1f} s)"


@dataclass
class _Seen:
    """What is known of one worker: times in seconds, NaN where there was nothing yet."""

    beat_s: float = math.nan
    gaps_s: deque[float] = field(default_factory=lambda: deque(maxlen=NUM_KEPT))
    num_done: int = 0
    moved_s: float = math.nan
    largest: deque[float] = field(default_factory=deque)
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=NUM_KEPT))


class Watch:
    """Decides who is to be given up, from heartbeats and calls.

    A worker is *silent* if the last heartbeat is longer ago than the limit: ``silent_s``, or the median of its times
    between heartbeats and ``SPREADS`` times their MAD, if that is more. It is *stuck* if it has a call, and has
    finished no shard for longer than the limit: ``stuck_s``, or ``SLACK`` times what the largest shard of its call
    takes at most, if that is more: by the median and the MAD of all workers' calls, or by its own if it is slower.

    Parameters
    ----------
    silent_s, stuck_s
        The least limits.
    first_s
        The limit of a standstill while nobody has answered a call.
    before
        The watch over those who worked before, if there were any: how long calls took is known from it.
    """

    def __init__(
        self,
        num_workers: int,
        silent_s: float = SILENT_S,
        stuck_s: float = STUCK_S,
        first_s: float = FIRST_S,
        before: Watch | None = None,
    ) -> None:
        self._silent_s, self._stuck_s, self._first_s = silent_s, stuck_s, first_s
        self._seen: dict[int, _Seen] = {worker: _Seen() for worker in range(num_workers)}
        self._rates: deque[float] = deque(() if before is None else before._rates, maxlen=NUM_KEPT_OF_ALL)
        self._looked_s = math.nan

    def beat(self, worker: int, now_s: float, num_done: int) -> None:
        """Note a heartbeat, and how many shards its worker has finished since it began."""
        seen = self._seen.get(worker)
        if seen is None:
            return
        if now_s > seen.beat_s:
            seen.gaps_s.append(now_s - seen.beat_s)
        seen.beat_s = now_s
        if num_done != seen.num_done:
            seen.num_done, seen.moved_s = num_done, now_s

    def began(self, worker: int, now_s: float, work: float) -> None:
        """Note that a worker was sent a call; ``work`` is that of the largest of its shards."""
        seen = self._seen.get(worker)
        if seen is None:
            return
        if not seen.largest:
            seen.moved_s = now_s
        seen.largest.append(work)

    def answered(self, worker: int, now_s: float, work: float, busy_s: float) -> None:
        """Note the answer to the oldest call of a worker, which had ``work`` in all and took it ``busy_s``."""
        seen = self._seen.get(worker)
        if seen is None:
            return
        if seen.largest:
            seen.largest.popleft()
        seen.moved_s = now_s
        if work > 0:
            seen.rates.append(busy_s / work)
            self._rates.append(busy_s / work)

    def forget_computing(self) -> None:
        """Forget how long computing takes: something else is computed from now on."""
        self._rates.clear()
        for seen in self._seen.values():
            seen.rates.clear()

    @property
    def look_s(self) -> float:
        """When to look next; NaN before the first look."""
        return self._looked_s + min(LOOK_S, self._silent_s / LOOKS)

    def given_up(self, now_s: float) -> tuple[GivenUp, ...]:
        """Return who is to be given up now, each worker once.

        Whoever looks must look at least every ``silent_s / 2`` seconds: in a longer pause it was itself that slept,
        and what it has not heard meanwhile tells nothing, so that time does not count.
        """
        paused_s = now_s - self._looked_s
        if paused_s > self._silent_s / 2:
            for seen in self._seen.values():
                seen.beat_s, seen.moved_s = min(seen.beat_s + paused_s, now_s), min(seen.moved_s + paused_s, now_s)
        self._looked_s = now_s
        found = [one for worker, seen in self._seen.items() if (one := self._judged(worker, seen, now_s)) is not None]
        for one in found:
            del self._seen[one.worker]
        return tuple(found)

    def _judged(self, worker: int, seen: _Seen, now_s: float) -> GivenUp | None:
        silent_s, still_s = now_s - seen.beat_s, now_s - seen.moved_s
        if silent_s > self._silent_s and silent_s > (limit_s := max(self._silent_s, _limit(seen.gaps_s))):
            return GivenUp(worker, Reason.SILENT, silent_s, limit_s)
        if seen.largest and still_s > self._stuck_s and still_s > (limit_s := self._standstill_s(seen)):
            return GivenUp(worker, Reason.STUCK, still_s, limit_s)
        return None

    def _standstill_s(self, seen: _Seen) -> float:
        """Return for how long a worker that has a call may finish nothing."""
        if not self._rates:
            return max(self._stuck_s, self._first_s)
        return max(self._stuck_s, SLACK * seen.largest[0] * max(_limit(self._rates), _limit(seen.rates)))


def _limit(times_s: Collection[float]) -> float:
    """Return what is too long by times seen before: the median, and ``SPREADS`` deviations; 0 if there were none."""
    if not times_s:
        return 0.0
    values = np.fromiter(times_s, dtype=np.float64)
    median = float(np.median(values))
    spread = float(np.median(np.abs(values - median)))
    return median + SPREADS * max(spread, LEAST_SPREAD * median)
