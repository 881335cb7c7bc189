"""By how fast each worker was in the rounds before."""

from __future__ import annotations

from typing import ClassVar

from policies.balance.division import within_memory
from policies.balance.filling import pace
from policies.balance.measuring import average, estimate, memory
from policies.balance.moving import holders, near, pays
from policies.balance.speculation import PATIENCE
from policies.balance.speed_proportional import relative_speeds
from policies.interface import Assignment, Balance, RoundView, Unplaced
from policies.options import number

PAYS_BACK = 8
"""Within so many rounds a move must save what it costs: for so long a speed is expected to last."""


class Adaptive(Balance):
    """Let all be done at the same time, by their speed in the rounds before, and move shards only where that pays.

    Use it when speeds change over a run, or when a probe does not tell them. Each worker's seconds per unit of work
    are averaged over the rounds, the newer the heavier (EWMA). Shards move when the next round would be shorter by
    more than the dead band, and the next ``PAYS_BACK`` rounds by more than it takes to read them; and then few. A
    worker that had nothing keeps its estimate, so one that was too slow for a single shard is not tried again;
    ``adaptive-pull`` does.

    Parameters
    ----------
    smoothing
        How much the round before counts in the average, over 0 and up to 1.
    dead_band
        Which part of a round's time must be saved before anything moves, at least 0.
    patience
        How many times as long as expected a call may take before idle workers compute its shards too, at least 1; at
        once if all others together would be quicker by this factor.

    Raises
    ------
    PolicyError
        If an option is out of bounds.

    Cost: that of ``min-cost-move``.

    Source: Bull, "Feedback guided dynamic loop scheduling: algorithms and experiments", Euro-Par 1998, which takes
    the last round alone.
    """

    name: ClassVar[str] = "adaptive"
    source: ClassVar[str] = "Bull, Euro-Par 1998"
    promises: ClassVar[frozenset[str]] = frozenset({"monotone", "no-better-move", "stays-put"})
    redivides: ClassVar[bool] = True

    def __init__(self, smoothing: float = 0.5, dead_band: float = 0.02, patience: float = PATIENCE) -> None:
        self.smoothing = number("smoothing", smoothing, over=0.0, at_most=1.0)
        self.dead_band = number("dead_band", dead_band, at_least=0.0)
        self.patience = number("patience", patience, at_least=1.0)

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard once, by averaged speed; within memory (bytes)."""
        seconds = average(view, self.smoothing)
        s_per_work = estimate(view, seconds)
        ready, step, per_byte = pace(view, s_per_work)
        owner = near(view, ready, step, self.dead_band)
        if not pays(view, owner, ready, step, per_byte, PAYS_BACK):
            owner = holders(view)
        answer = within_memory(view, owner, relative_speeds(s_per_work))
        if isinstance(answer, Unplaced):
            return answer
        return Assignment(answer.worker_of, memory(view, s_per_work=seconds))
