"""What will be free on each node at which time from now on, with the ends of jobs and reservations in it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.feasibility import devices_for, selected, slots
from policies.interface import RESOURCES, Floats, Ints, JobView, NodeTable, Resources, Slot, frozen

LATE = 1e300
"""When what has no known end is taken to end, in seconds from now: after everything that has one."""

WIDTH = len(RESOURCES)


class _Pieces(NamedTuple):
    """Every node's time cut where something changes: row, start, end (seconds from now) and what is free then."""

    row: Ints
    start: Floats
    end: Floats
    free: Floats


class Timeline:
    """A piecewise constant table of free resources, node by node and device by device.

    Times are seconds from now. A piece lasts from its start up to, and without, its end.

    Parameters
    ----------
    nodes
        What is free now.
    releases
        What is held now: the job, its slot, and when it ends (``LATE`` where nobody knows).
    """

    def __init__(self, nodes: NodeTable, releases: Iterable[tuple[JobView, Slot, float]]) -> None:
        self._nodes = nodes
        self._now = np.hstack([nodes.free, nodes.device_free])
        self._starts: list[Floats] = [np.zeros(1)] * len(nodes)
        self._free: list[Floats] = [state[None].copy() for state in self._now]
        self._pieces: _Pieces | None = None
        ends: dict[int, list[tuple[float, Floats]]] = {}
        for job, slot, end in releases:
            ends.setdefault(slot.node, []).append((end, self._amount(job.bundle, slot.devices)))
        for row, found in ends.items():
            found.sort(key=lambda release: release[0])
            starts = np.array([0.0, *(end for end, _ in found)])
            free = np.cumsum([self._now[row], *(amount for _, amount in found)], axis=0)
            last = np.append(np.diff(starts) > 0, True)  # of what ends at the same time
            self._starts[row], self._free[row] = starts[last], free[last]

    def _amount(self, bundle: Resources, devices: tuple[int, ...]) -> Floats:
        amount = np.zeros(self._now.shape[1])
        amount[:WIDTH] = bundle.vector()
        amount[[WIDTH + device for device in devices]] = min(bundle.gpu, 1.0)
        return amount

    def hold(self, job: JobView, slot: Slot, start: float, end: float) -> None:
        """Take a bundle of ``job`` off a slot from ``start`` to ``end`` (may be infinite)."""
        self._move(job, slot, start, end, -1)

    def release(self, job: JobView, slot: Slot, start: float, end: float) -> None:
        """Give a bundle of ``job`` back that was held from ``start`` to ``end``."""
        self._move(job, slot, start, end, 1)

    def _move(self, job: JobView, slot: Slot, start: float, end: float, sign: int) -> None:
        row = slot.node
        first, last = self._cut(row, start), self._cut(row, end)
        self._free[row][first:last] += sign * self._amount(job.bundle, slot.devices)
        self._pieces = None

    def _cut(self, row: int, at: float) -> int:
        """Let a piece of a node begin at ``at``; return which."""
        starts, free = self._starts[row], self._free[row]
        index = int(np.searchsorted(starts, at))
        if index < len(starts) and starts[index] == at:
            return index
        if not math.isinf(at):
            self._starts[row] = np.insert(starts, index, at)
            self._free[row] = np.insert(free, index, free[index - 1], axis=0)
        return index

    def lowest(self, row: int, start: float, end: float) -> Floats:
        """Return what is free on a node all the time from ``start`` to ``end``; shape ``(3 + g,)``."""
        starts = self._starts[row]
        first, last = np.searchsorted(starts, start, side="right") - 1, np.searchsorted(starts, end)
        return np.asarray(self._free[row][first : max(last, first + 1)].min(axis=0), dtype=np.float64)

    def table(self, start: float, end: float) -> NodeTable:
        """Return the nodes with what is free on each all the time from ``start`` to ``end``."""
        pieces = self._all()
        there = np.flatnonzero(((pieces.start < end) | (pieces.start == start)) & (pieces.end > start))
        firsts = np.flatnonzero(np.diff(pieces.row[there], prepend=-1))
        free = np.minimum.reduceat(pieces.free[there], firsts, axis=0) if len(firsts) else self._now
        return replace(self._nodes, free=frozen(free[:, :WIDTH]), device_free=frozen(free[:, WIDTH:]))

    def earliest(self, job: JobView, workers: int, length: float) -> float | None:
        """Return when ``workers`` bundles of ``job`` fit for ``length`` seconds first; None if they never do."""
        for start in self._candidates(job, workers, length).tolist():
            counts = slots(job, self.table(start, ending(start, length)))
            if np.minimum(counts, workers).sum() >= workers:
                return float(start)
        return None

    def _candidates(self, job: JobView, workers: int, length: float) -> Floats:
        """Return the times at which ``workers`` bundles seem to fit for ``length`` seconds; ascending.

        None that does is missing. Of GPUs only their number is looked at, not which: some may not do.
        """
        pieces = self._all()
        counts = np.minimum(self._counts(job, pieces), workers)
        ends = pieces.start > length  # windows that begin ``length`` before a piece take it in as they move on
        row = np.concatenate([pieces.row, pieces.row[ends]])
        at = np.concatenate([pieces.start, pieces.start[ends] - length])
        moves_on = np.repeat([False, True], [len(pieces.row), len(row) - len(pieces.row)])
        end = np.concatenate([pieces.start + length, pieces.start[ends]])
        fit = _least(pieces, counts, row, at, end, moves_on)
        order = np.lexsort((moves_on, at, row))
        changes = np.diff(fit[order], prepend=0.0)
        first = np.diff(row[order], prepend=-1) != 0
        changes[first] = fit[order][first]
        by_time = np.lexsort((moves_on[order], at[order]))
        times, moved = at[order][by_time], moves_on[order][by_time]
        totals = np.cumsum(changes[by_time])
        known = np.append((np.diff(times) > 0) | np.diff(moved), np.ones(min(len(times), 1), dtype=bool)) & ~moved
        return np.asarray(times[known & (totals >= workers)], dtype=np.float64)

    def _counts(self, job: JobView, pieces: _Pieces) -> Floats:
        """Count how many bundles of ``job`` fit on its node during each piece."""
        free, names = pieces.free[:, :WIDTH], ("",) * len(pieces.row)
        blank = NodeTable.of(names, free, free, device_free=pieces.free[:, WIDTH:])
        able = selected(job.selector, self._nodes)[pieces.row]
        return np.where(able, slots(replace(job, selector={}), blank), 0.0)

    def _all(self) -> _Pieces:
        if self._pieces is None:
            lengths = np.array([len(starts) for starts in self._starts], dtype=np.int64)
            start = np.concatenate([np.zeros(0), *self._starts])
            end = np.append(start[1:], np.inf)[: len(start)]
            end[np.cumsum(lengths) - 1] = np.inf
            free = np.concatenate([self._now[:0], *self._free])
            self._pieces = _Pieces(np.repeat(np.arange(len(lengths)), lengths), start, end, free)
        return self._pieces

    def reserve(self, job: JobView, workers: int, start: float, end: float) -> list[Slot]:
        """Hold ``workers`` bundles of ``job`` from ``start`` to ``end``, where they fit; return the slots.

        What is not free now is taken first, so that as little as possible is kept from those who could use it.
        """
        then = np.minimum(slots(job, self.table(start, end)), workers)
        now = np.minimum(slots(job, self.table(0.0, 0.0)), then)
        by_id = sorted(range(len(self._nodes)), key=self._nodes.ids.__getitem__)
        chosen: list[Slot] = []
        for counts in (then - now, now):
            for row in by_id:
                for _ in range(int(min(counts[row], workers - len(chosen)))):
                    chosen.append(Slot(row, self._devices(job.bundle, row, start, end)))
                    self.hold(job, chosen[-1], start, end)
        return chosen

    def _devices(self, bundle: Resources, row: int, start: float, end: float) -> tuple[int, ...]:
        """Choose GPUs of a node, those that are least free now first."""
        order = np.argsort(self.lowest(row, 0.0, 0.0)[WIDTH:], kind="stable")
        free = self.lowest(row, start, end)[WIDTH:]
        return tuple(sorted(order[list(devices_for(bundle, free[order]))].tolist()))


def _least(pieces: _Pieces, counts: Floats, row: Ints, start: Floats, end: Floats, closed: NDArray[np.bool_]) -> Floats:
    """Return the least of ``counts`` (one a piece) on node ``row`` from ``start`` to ``end``, for many such windows.

    A ``closed`` window takes in a piece that begins at its end.
    """
    times = np.unique(pieces.start)
    width = len(times) + 1
    key = pieces.row * width + np.searchsorted(times, pieces.start)
    first = np.searchsorted(key, row * width + np.searchsorted(times, start, side="right")) - 1
    until = np.where(closed, np.searchsorted(times, end, side="right"), np.searchsorted(times, end))
    last = np.maximum(np.searchsorted(key, row * width + until), first + 1)
    bounds = np.column_stack([first, last]).ravel()
    return np.minimum.reduceat(np.append(counts, np.inf), bounds)[::2] if len(bounds) else counts


def ending(start: float, length: float) -> float:
    """Return when what begins at ``start`` and takes ``length`` seconds ends; never, if that makes no difference."""
    end = start + length
    return end if end > start or not length > 0 else math.inf
