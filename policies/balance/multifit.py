"""The shortest time for which first fit decreasing packs all shards."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import ClassVar

import numpy as np

from policies.balance.division import within_memory, work_limit
from policies.balance.filling import SLOWEST, Filling, makespan, pace, water_level
from policies.balance.speed_proportional import relative_speeds
from policies.interface import Assignment, Balance, Floats, Ints, RoundView, Unplaced
from policies.options import whole


class Multifit(Balance):
    """Search for the shortest time in which all shards can be packed into the workers, largest first (MULTIFIT).

    Use it instead of ``lpt`` when there are few shards a worker and they differ in work. It begins with the hand-out
    of ``lpt``, so it is never worse, and searches by bisection below its makespan; a try packs each worker, the one
    that can do least first, with the largest shards that still fit. On equal workers its makespan is at most
    13/11 + 2^-k times the best after k tries (Yue, Annals of Operations Research 24, 1990), on workers of different
    speed 1.4 + 2^-k times.

    Parameters
    ----------
    tries
        How often a time is tried at most, at least 1. The search ends before when it is known to 2^-tries.

    Raises
    ------
    PolicyError
        If ``tries`` is out of bounds.

    Cost: that of ``lpt``, and up to ``tries`` packings of O(s + w log s).

    Source: Coffman, Garey and Johnson, "An application of bin-packing to multiprocessor scheduling", SIAM Journal on
    Computing 7(1), 1978; workers of different speed: Friesen and Langston, SIAM Journal on Computing 12(1), 1983;
    LPT as the first upper bound: Lee and Massey, Discrete Applied Mathematics 20(3), 1988.
    """

    name: ClassVar[str] = "multifit"
    source: ClassVar[str] = "Coffman, Garey & Johnson, SIAM J. Computing 1978"

    def __init__(self, tries: int = 10) -> None:
        self.tries = whole("tries", tries, at_least=1)

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard once, in the shortest time that is found; within memory (bytes)."""
        s_per_work = view.workers.s_per_work
        owner = Filling.of(view, s_per_work).place(view.shards.work, view.shards.bytes)
        if (
            len(owner) and np.ptp(view.shards.work) > 0 and (owner >= 0).all()
        ):  # for equal shards, LPT is the best there is
            owner = self._search(view, owner)
        return within_memory(view, owner, relative_speeds(s_per_work))

    def _search(self, view: RoundView, owner: Ints) -> Ints:
        """Return the best packing that is found, ``owner`` if none is better."""
        ready, step, _ = pace(view, view.workers.s_per_work)
        work, room = view.shards.work, work_limit(view)
        low = max(water_level(float(work.sum()), ready, step, room)[0], float((ready + work.max() * step).min()))
        high = makespan(owner, work, ready, step)
        for _ in range(self.tries):
            if not high - low > low * 2.0**-self.tries:
                break
            middle = (low + high) / 2
            packed = first_fit_decreasing(work, np.minimum(np.maximum(middle - ready, 0.0) / step, room))
            if packed is None:
                low = middle
            else:
                owner, high = packed, min(middle, makespan(packed, work, ready, step))
        return owner


def first_fit_decreasing(sizes: Floats, capacity: Floats) -> Ints | None:
    """Put each of ``sizes``, largest first, into the first bin with room, the bins with least ``capacity`` first.

    Bin after bin is filled with runs of neighbours in the sorted sizes, which comes to the same and costs a few
    bisections a bin.

    Returns
    -------
    Ints or None
        The bin of each, shape ``(s,)``; None if one did not fit.
    """
    order = np.argsort(-sizes, kind="stable")
    heights = np.maximum(sizes[order], sizes.sum() * SLOWEST or 1.0)
    rows = _Rows(heights)
    bins = np.argsort(capacity, kind="stable")
    rooms = capacity[bins] * (1 + 1e-12)
    behind = np.cumsum(rooms[::-1])[::-1].tolist()  # what this bin and all later ones hold
    owner = np.empty(len(sizes), dtype=np.int64)
    for bin_, room, rest in zip(bins.tolist(), rooms.tolist(), behind, strict=True):
        if rows.left > rest * (1 + 1e-9):
            return None
        for start, end in rows.take(room):
            owner[order[start:end]] = bin_
    return None if rows.taken < len(sizes) else owner


class _Rows:
    """Sizes in descending order, of which runs have been taken."""

    def __init__(self, heights: Floats) -> None:
        self._sums = np.concatenate([[0.0], np.cumsum(heights)]).tolist()
        self._falling = (-heights).tolist()
        self._starts: list[int] = []  # the runs that were taken, in order, none next to another
        self._ends: list[int] = []
        self.left = float(self._sums[-1])
        self.taken = 0

    def take(self, room: float) -> list[tuple[int, int]]:
        """Take the largest that fits, then the largest that fits beside it, and so on; return the runs taken."""
        found, at, num = [], 0, len(self._falling)
        while True:
            at = bisect_left(self._falling, -room, at)
            run = bisect_right(self._starts, at) - 1
            if run >= 0 and self._ends[run] > at:
                at = self._ends[run]
            stop = self._starts[run + 1] if run + 1 < len(self._starts) else num
            if at >= num:
                break
            end = max(bisect_right(self._sums, self._sums[at] + room, at, stop + 1) - 1, at + 1)
            room -= self._sums[end] - self._sums[at]
            found.append((at, end))
            at = end
        for start, end in found:
            self._mark(start, end)
        return found

    def _mark(self, start: int, end: int) -> None:
        """Note that a run is taken, and join it to its neighbours."""
        self.left -= self._sums[end] - self._sums[start]
        self.taken += end - start
        run = bisect_right(self._starts, start)
        if run and self._ends[run - 1] == start:
            run -= 1
            start = self._starts.pop(run)
            self._ends.pop(run)
        if run < len(self._starts) and self._starts[run] == end:
            self._starts.pop(run)
            end = self._ends.pop(run)
        self._starts.insert(run, start)
        self._ends.insert(run, end)
