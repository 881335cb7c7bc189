"""Most of what each worker should do at once, the rest to whoever is idle."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from policies.balance.adaptive import Adaptive
from policies.balance.chunks import chunk, first_chunks
from policies.balance.division import totals
from policies.balance.filling import pace
from policies.balance.measuring import estimate, remembered
from policies.balance.moving import holders
from policies.balance.speculation import PATIENCE
from policies.interface import MEMORY, Assignment, Balance, Floats, Ints, RoundView, Unplaced
from policies.options import number

LATEST = 1.5
"""How much longer than all others together may take a worker may be busy with one last shard."""

BEHIND = 2.0
"""Whoever has work left is busy with its last chunk first, which was as large as what is left: half of all that was."""


class AdaptivePull(Balance):
    """Hand out most of each worker's part by its speed so far, and give the rest to whoever is idle.

    Use it when speeds change from round to round and within one: the first chunk needs no second call, the rest makes
    up for what the estimate got wrong. Parts are those of ``adaptive``. An idle worker gets half of its part of what
    is left, so chunks decrease, and are smaller for the slow, and none with which it would keep all others waiting.
    What it holds comes first; then it takes from whoever has most left to do, if it can bring and compute a shard
    before that one would be through. A worker that had nothing at first is tried again.
    Where idle workers cannot ask (the view does not pull), this is ``adaptive``.

    Parameters
    ----------
    first
        Which part of its work a worker is handed at first, over 0 and up to 1.
    smoothing, dead_band, patience
        As in ``adaptive``.

    Raises
    ------
    PolicyError
        If an option is out of bounds.

    Cost: O(s log s) a round, and O(s) a chunk.

    Source: the adaptive weighted factoring of Banicescu, Velusamy and Devaprasad, "On the scalability of dynamic
    scheduling scientific applications with adaptive weighted factoring", Cluster Computing 6(3), 2003, with a first
    chunk of free size.
    """

    name: ClassVar[str] = "adaptive-pull"
    source: ClassVar[str] = "Banicescu, Velusamy & Devaprasad, Cluster Computing 2003"
    promises: ClassVar[frozenset[str]] = frozenset({"monotone", "no-better-move", "stays-put"})
    redivides: ClassVar[bool] = True

    def __init__(
        self, first: float = 0.75, smoothing: float = 0.5, dead_band: float = 0.02, patience: float = PATIENCE
    ) -> None:
        self.first = number("first", first, over=0.0, at_most=1.0)
        self._whole = Adaptive(smoothing, dead_band, patience)
        self.patience = self._whole.patience

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every worker's first chunk, or where ``view.pulls`` is false everything; within memory (bytes)."""
        answer = self._whole.divide(view)
        if isinstance(answer, Unplaced) or not (view.pulls and len(view.workers)):
            return answer
        parts = totals(answer.worker_of, view.shards.work, len(view.workers))
        largest = np.zeros(len(parts))
        np.maximum.at(largest, answer.worker_of, view.shards.work)
        amounts = np.maximum(self.first * parts, largest)
        return Assignment(first_chunks(view, amounts, answer.worker_of), answer.state)

    def next(self, view: RoundView, worker: int) -> Ints:
        """Return the next chunk: of what ``worker`` or nobody holds, else of what somebody else is too slow for."""
        _, step, per_byte = pace(view, estimate(view, remembered(view, "s_per_work")))
        work, size = view.shards.work[view.pending], view.shards.bytes[view.pending]
        holder = holders(view)[view.pending]
        holder = np.where(size <= view.workers.bundle[holder, MEMORY], holder, -1)  # who lacks the memory never begins
        here = work * step[worker] + np.where(holder == worker, 0.0, size * per_byte[worker])
        wanted = here <= LATEST * _together(view, work, size, holder, step, per_byte)
        backlog = BEHIND * totals(holder, work, len(step)) * step
        own = wanted & ((holder == worker) | (holder < 0))
        amount = work.sum() / step[worker] / (2 * (1.0 / step).sum())
        if own.any():
            return chunk(view, worker, view.pending[own], amount)
        theirs = wanted & (here <= backlog[holder])
        if not theirs.any():
            return view.pending[:0]
        slowest = int(holder[theirs][backlog[holder[theirs]].argmax()])
        loot = theirs & (holder == slowest)
        dense = here[loot].sum() / work[loot].sum() if work[loot].sum() > 0 else step[worker]
        fair = backlog[slowest] / BEHIND / (dense + step[slowest])  # both are then done with it at the same time
        return chunk(view, worker, view.pending[loot], min(amount, fair))


def _together(view: RoundView, work: Floats, size: Floats, holder: Ints, step: Floats, per_byte: Floats) -> float:
    """Return when all would be done with pending shards if these could be split, and one more on whom it suits."""
    able = view.workers.bundle[:, MEMORY] >= size.max(initial=0.0)
    if not able.any():
        return np.inf
    fastest = int(np.where(able, step, np.inf).argmin())
    held = np.where((holder >= 0) & able[holder], work * step[holder], np.inf)
    best = np.minimum(work * step[fastest] + np.where(holder == fastest, 0.0, size * per_byte[fastest]), held)
    return float(work.sum() / (1.0 / step).sum() + best.max(initial=0.0))
