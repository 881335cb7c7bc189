"""Filling workers with shards: the exact fractional optimum, and whole shards by earliest completion.

Seconds are counted in any one unit. A worker is done with work ``x`` of ``b`` bytes, of which it holds nothing yet,
``x * s_per_work + b * s_per_byte`` after it was ready.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from policies.balance.division import totals
from policies.balance.speed_proportional import relative_speeds
from policies.interface import MEMORY, Floats, Ints, RoundView

SLOWEST = 1e-12
"""A worker that is slower than this, relative to the fastest, counts as this fast: sums stay finite."""

LATEST = 1e30
"""The latest start, in seconds per unit of work of the fastest worker."""

EXACT = 2048
"""So many of the largest shards are placed one by one, whatever their work."""

BATCHES = 64
"""All others are placed in at most so many batches of shards of nearly equal work."""


def pace(view: RoundView, s_per_work: Floats) -> tuple[Floats, Floats, Floats]:
    """Return what a round costs on each worker, in the unit of the fastest worker's seconds per unit of work.

    Parameters
    ----------
    view
        The round, with ``s_fixed`` and ``s_per_byte`` of its workers.
    s_per_work
        Shape ``(w,)``, seconds; what is NaN or not positive was not measured and gets the mean of the rest.

    Returns
    -------
    ready, s_per_work, s_per_byte
        Shape ``(w,)``, finite: when a worker can begin (the first one at 0), and what it takes from then on.
    """
    speeds = np.maximum(relative_speeds(s_per_work), SLOWEST)
    measured = s_per_work[(s_per_work > 0) & np.isfinite(s_per_work)]
    unit = measured.min() if len(measured) else 1.0
    start = view.workers.s_fixed
    with np.errstate(over="ignore"):
        ready = np.minimum((start - start.min(initial=np.inf)) / unit, LATEST)
        per_byte = np.minimum(view.workers.s_per_byte / unit, LATEST)
    return ready, 1.0 / speeds, per_byte


def water_level(total: float, ready: Floats, s_per_work: Floats, limit: Floats) -> tuple[float, Floats]:
    """Return the earliest time at which ``total`` work can be done if it may be split at will, and who does how much.

    Everyone who is used and not full is done at the same time.

    Parameters
    ----------
    total
        Work, at least 0.
    ready, s_per_work
        Shape ``(w,)``, finite; ``s_per_work`` positive.
    limit
        How much work each may have at most, shape ``(w,)``, may be infinite.

    Returns
    -------
    level, amounts
        Seconds, and work of each worker, shape ``(w,)``. If the limits are too low for ``total``, amounts are the
        limits and the level is infinite.
    """
    if total >= limit.sum():
        return np.inf, limit.astype(np.float64)
    full = ready + limit * s_per_work
    times = np.concatenate([ready, full])
    order = np.argsort(times)
    times = times[order]
    slopes = np.cumsum(np.concatenate([1.0 / s_per_work, -1.0 / s_per_work])[order])
    done = np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(np.minimum(times, LATEST)))])
    begin = times[max(int(np.searchsorted(done, total)) - 1, 0)]
    busy, over = (ready <= begin) & (full > begin), full <= begin
    if not busy.any():  # to the last digit, the total is what some limits add up to
        return float(begin), np.clip((begin - ready) / s_per_work, 0.0, limit)
    left = total - limit[over].sum() + (ready[busy] / s_per_work[busy]).sum()  # anew: cumulated slopes lose digits
    level = float(left / (1.0 / s_per_work[busy]).sum())
    parts = np.clip((level - ready) / s_per_work, 0.0, limit)
    if not ((parts > 0) & (parts < limit)).any():  # as above: whoever is to begin at this level has nothing to do
        level = float(full[parts > 0].max(initial=0.0))
    return level, parts


class Filling:
    """Workers that are being filled: when each will be done with what it has, and how many bytes still fit.

    Parameters
    ----------
    ready
        When each can begin, shape ``(w,)``, ``w >= 1``.
    s_per_work, s_per_byte
        What a shard adds per unit of its work and of its bytes, shape ``(w,)``, finite.
    room
        Bytes, shape ``(w,)``.

    Attributes
    ----------
    done
        When each worker will be done.
    """

    def __init__(self, ready: Floats, s_per_work: Floats, room: Floats, s_per_byte: Floats | None = None) -> None:
        self.done = ready.astype(np.float64)
        self._s_per_work = s_per_work
        self._s_per_byte = np.zeros(len(ready)) if s_per_byte is None else s_per_byte
        self._room = room.astype(np.float64)

    @classmethod
    def of(cls, view: RoundView, s_per_work: Floats) -> Filling:
        """Return the workers of a round while they have nothing; ``s_per_work`` in seconds, NaN where not known."""
        ready, step, _ = pace(view, s_per_work)
        return cls(ready, step, view.workers.bundle[:, MEMORY])

    def hold(self, worker_of: Ints, work: Floats, size: Floats) -> None:
        """Let workers have shards that they need not read; -1 is nobody."""
        self.done += totals(worker_of, work, len(self.done)) * self._s_per_work
        self._room -= totals(worker_of, size, len(self.done))

    def place(self, work: Floats, size: Floats) -> Ints:
        """Give every shard to whoever would be done with it first, the one with most work first.

        Equal shards of one worker are neighbours. Of more than ``EXACT`` different ones, the smaller are placed in
        batches, as if all of a batch had its mean.

        Parameters
        ----------
        work, size
            Work and bytes of each shard, shape ``(s,)``.

        Returns
        -------
        Ints
            The worker of each shard, or -1 where none had room; shape ``(s,)``.
        """
        owner = np.full(len(work), -1, dtype=np.int64)
        if not len(self.done):
            return owner
        work = np.maximum(work, work.sum() * SLOWEST or 1.0)  # what takes no time would all go to one worker
        order = np.argsort(-work, kind="stable")
        work, size = work[order], size[order]
        for start, end in _runs(work):
            one = self._one if end - start == 1 else self._many
            owner[order[start:end]] = one(work[start:end], size[start:end])
        return owner

    def _one(self, work: Floats, size: Floats) -> int:
        done = self.done + work * self._s_per_work + size * self._s_per_byte
        done[self._room < size] = np.inf
        first = int(done.argmin())
        if done[first] == np.inf:
            return -1
        self.done[first] = done[first]
        self._room[first] -= size[0]
        return first

    def _many(self, work: Floats, size: Floats) -> Ints:
        """Place shards of nearly equal work: the first slots in time, the first slot to the largest shard."""
        num, num_workers, largest, equal = len(work), len(self.done), size.max(), work[0] == work[-1]
        step = work.mean() * self._s_per_work + size.mean() * self._s_per_byte
        most = np.floor(self._room / largest) if largest > 0 else np.full(num_workers, float(num))
        most = np.clip(most, 0.0, num)

        def slots_until(level: float, slack: float) -> Ints:
            parts: Floats = np.floor(np.clip((level - self.done) / step + slack, 0.0, most))
            return parts.astype(np.int64)

        more, _ = water_level(num + num_workers, self.done, step, most)  # so that all parts rounded down suffice
        counts, sure = slots_until(more, 1e-6), np.zeros(num_workers, dtype=np.int64)
        if equal:  # whoever is done by the level of all has its slots for sure, and in any order
            sure = slots_until(water_level(num, self.done, step, most)[0], -1e-6)
            sure *= sure.sum() <= num  # not so where a shard takes less than the rounding of when a worker is done
        rest = counts - sure
        worker = np.repeat(np.arange(num_workers), rest)
        nth = sure[worker] + np.arange(1, len(worker) + 1) - np.repeat(np.cumsum(rest) - rest, rest)
        first = np.argsort(self.done[worker] + nth * step[worker], kind="stable")[: num - int(sure.sum())]
        chosen = worker[first]
        if equal:
            chosen = np.repeat(np.arange(num_workers), sure + np.bincount(chosen, minlength=num_workers))
        owner = np.full(num, -1, dtype=np.int64)
        owner[: len(chosen)] = chosen
        self.hold(owner, work, size)
        self.done += totals(owner, size, num_workers) * self._s_per_byte
        return owner


def makespan(worker_of: Ints, work: Floats, ready: Floats, s_per_work: Floats) -> float:
    """Return when the last worker that has a shard is done; 0 if there are no shards."""
    num = len(ready)
    done = ready + totals(worker_of, work, num) * s_per_work
    return float(done[np.bincount(worker_of, minlength=num) > 0].max(initial=0.0))


def _runs(work: Floats) -> list[tuple[int, int]]:
    """Cut descending work into runs: of equal shards if they are few, else the first alone and the rest in batches."""
    edges = np.flatnonzero(np.diff(work, prepend=np.inf))
    if len(edges) > BATCHES and len(work) > EXACT:
        rest = np.linspace(EXACT, len(work), min(BATCHES, len(work) - EXACT) + 1).astype(np.int64)
        edges = np.concatenate([np.arange(EXACT), rest[:-1]])
    return list(pairwise([*edges.tolist(), len(work)]))
