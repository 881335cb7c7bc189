"""By how fast each worker was in the rounds before."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from policies.balance.division import fits
from policies.balance.filling import makespan, pace
from policies.balance.measuring import average, estimate, memory
from policies.balance.moving import holders, toward
from policies.balance.speed_proportional import relative_speeds
from policies.interface import Assignment, Balance, Floats, RoundView, Unplaced, frozen
from policies.options import number


class Adaptive(Balance):
    """Give each worker work in proportion to its speed in the rounds before, and move shards only where that pays.

    Use it when speeds change over a run, or when a probe does not tell them. Each worker's seconds per unit of work
    are averaged over the rounds, the newer the heavier (EWMA). Shards move when the next round would be shorter by
    more than the dead band, and then as few as possible. A worker that had nothing keeps its estimate, so one that
    was too slow for a single shard is not tried again; ``adaptive-pull`` does.

    Parameters
    ----------
    smoothing
        How much the round before counts in the average, over 0 and up to 1.
    dead_band
        Which part of a round's time must be saved before anything moves, at least 0.

    Raises
    ------
    PolicyError
        If an option is out of bounds.

    Cost: O(s log s) a round.

    Source: Bull, "Feedback guided dynamic loop scheduling: algorithms and experiments", Euro-Par 1998, which takes
    the last round alone.
    """

    name: ClassVar[str] = "adaptive"
    source: ClassVar[str] = "Bull, Euro-Par 1998"
    promises: ClassVar[frozenset[str]] = frozenset({"monotone", "within-one-shard", "stays-put"})
    redivides: ClassVar[bool] = True

    def __init__(self, smoothing: float = 0.5, dead_band: float = 0.02) -> None:
        self.smoothing = number("smoothing", smoothing, over=0.0, at_most=1.0)
        self.dead_band = number("dead_band", dead_band, at_least=0.0)

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard once, by averaged speed; within memory (bytes)."""
        seconds = average(view, self.smoothing)
        answer = steady(view, estimate(view, seconds), self.dead_band)
        if isinstance(answer, Unplaced):
            return answer
        return Assignment(answer.worker_of, memory(view, s_per_work=seconds))


def steady(view: RoundView, s_per_work: Floats, dead_band: float) -> Assignment | Unplaced:
    """Divide in proportion to speed, or as in the last round where that takes at most ``dead_band`` longer."""
    answer, last = toward(view, relative_speeds(s_per_work)), holders(view)
    if isinstance(answer, Unplaced) or not fits(view, last):
        return answer
    ready, step, _ = pace(view, s_per_work)
    lasts, would_last = (makespan(owner, view.shards.work, ready, step) for owner in (last, answer.worker_of))
    return Assignment(frozen(last, np.int64)) if lasts <= (1 + dead_band) * would_last else answer
