"""Most of what each worker should do at once, the rest to whoever is idle."""

from __future__ import annotations

from typing import ClassVar

from policies.balance.adaptive import steady
from policies.balance.division import totals
from policies.balance.measuring import average, estimate, memory, remembered
from policies.balance.pull import chunk, first_chunks
from policies.balance.speed_proportional import relative_speeds
from policies.interface import Assignment, Balance, Ints, RoundView, Unplaced
from policies.options import number


class AdaptivePull(Balance):
    """Hand out most of each worker's part by its speed so far, and give the rest to whoever is idle.

    Use it when speeds change from round to round and within one: the first chunk needs no second call, the rest makes
    up for what the estimate got wrong. Parts are those of ``adaptive``. An idle worker gets half of its part of what
    is left, so chunks decrease, and are smaller for the slow. A worker that had nothing at first is tried again.
    Where idle workers cannot ask (the view does not pull), this is ``adaptive``.

    Parameters
    ----------
    first
        Which part of its work a worker is handed at first, over 0 and up to 1.
    smoothing, dead_band
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
    promises: ClassVar[frozenset[str]] = frozenset({"monotone", "within-one-shard", "stays-put"})
    redivides: ClassVar[bool] = True

    def __init__(self, first: float = 0.75, smoothing: float = 0.5, dead_band: float = 0.02) -> None:
        self.first = number("first", first, over=0.0, at_most=1.0)
        self.smoothing = number("smoothing", smoothing, over=0.0, at_most=1.0)
        self.dead_band = number("dead_band", dead_band, at_least=0.0)

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every worker's first chunk, or where ``view.pulls`` is false everything; within memory (bytes)."""
        seconds = average(view, self.smoothing)
        answer = steady(view, estimate(view, seconds), self.dead_band)
        if view.pulls and isinstance(answer, Assignment) and len(view.workers):
            parts = totals(answer.worker_of, view.shards.work, len(view.workers))
            answer = first_chunks(view, self.first * parts, answer.worker_of)
        if isinstance(answer, Unplaced):
            return answer
        return Assignment(answer.worker_of, memory(view, s_per_work=seconds))

    def next(self, view: RoundView, worker: int) -> Ints:
        """Return the next chunk: shards that ``worker`` holds, then those that nobody holds, then any."""
        speeds = relative_speeds(estimate(view, remembered(view, "s_per_work")))
        left = view.shards.work[view.pending].sum()
        return chunk(view, worker, left * speeds[worker] / (2 * speeds.sum()))
