"""Most of what each worker should do at once, the rest to whoever is idle."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from policies.balance.adaptive import Adaptive
from policies.balance.chunks import chunk, first_chunks
from policies.balance.division import totals
from policies.balance.filling import SLOWEST
from policies.balance.measuring import estimate, remembered
from policies.balance.speculation import PATIENCE
from policies.balance.speed_proportional import relative_speeds
from policies.interface import MEMORY, Assignment, Balance, Ints, RoundView, Unplaced
from policies.options import number

LATEST = 1.5
"""How much longer than all others together may take a worker may be busy with one last shard."""


class AdaptivePull(Balance):
    """Hand out most of each worker's part by its speed so far, and give the rest to whoever is idle.

    Use it when speeds change from round to round and within one: the first chunk needs no second call, the rest makes
    up for what the estimate got wrong. Parts are those of ``adaptive``. An idle worker gets half of its part of what
    is left, so chunks decrease, and are smaller for the slow, and none with which it would keep all others waiting. A
    worker that had nothing at first is tried again.
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
        """Return the next chunk: shards that ``worker`` holds, then those that nobody holds, then any."""
        speeds = np.maximum(relative_speeds(estimate(view, remembered(view, "s_per_work"))), SLOWEST)
        work, size = view.shards.work[view.pending], view.shards.bytes[view.pending]
        able = view.workers.bundle[:, MEMORY] >= size.max(initial=0.0)
        pending = view.pending
        if able.any():  # whoever is the fastest of them is never too late
            together = work.sum() / speeds.sum() + work.max(initial=0.0) / speeds[able].max()
            pending = pending[work / speeds[worker] <= LATEST * together]
        return chunk(view, worker, pending, work.sum() * speeds[worker] / (2 * speeds.sum()))
