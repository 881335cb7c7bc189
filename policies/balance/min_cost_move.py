"""A good hand-out that moves the fewest bytes from the last one."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from policies.balance.division import fits, within_memory
from policies.balance.filling import Filling, makespan, pace
from policies.balance.measuring import estimate
from policies.balance.moving import holders, keep
from policies.balance.speed_proportional import relative_speeds
from policies.interface import MEMORY, Assignment, Balance, Floats, Ints, RoundView, Unplaced
from policies.options import number

LEVELS = (1.0, 0.97, 0.9, 0.7)
"""Up to which part of the target workers keep what they hold, tried in this order until the target is met."""


class MinCostMove(Balance):
    """Move the fewest bytes from the last hand-out that bring the round down to a target time.

    Use it when reading a shard is dear, beside computing it: what is in place stays. The target is ``1 + slack`` times
    the best known makespan, that of ``lpt``, or of the last hand-out if that is better. Workers that are over it give
    away what has least bytes for its work, and that goes to whoever is done with it first. For equal shards no
    hand-out within the target moves fewer; for others this is a heuristic, as the problem is NP-hard. Speeds are those
    measured in the round before, so ``slack`` is also what noise must exceed before anything moves. The first
    hand-out is that of ``lpt``.

    Parameters
    ----------
    slack
        How much longer than the best a round may take, at least 0.

    Raises
    ------
    PolicyError
        If ``slack`` is out of bounds.

    Cost: that of two hand-outs of ``lpt``, of up to five where the target is hard to meet.

    Source: Aggarwal, Motwani and Zhu, "The load rebalancing problem", SPAA 2003 and Journal of Algorithms 60(1), 2006
    (the problem; their algorithm minimises the time for a number of moves, this the bytes for a time).
    """

    name: ClassVar[str] = "min-cost-move"
    source: ClassVar[str] = "Aggarwal, Motwani & Zhu, SPAA 2003"
    promises: ClassVar[frozenset[str]] = frozenset({"monotone", "stays-put"})
    redivides: ClassVar[bool] = True

    def __init__(self, slack: float = 0.05) -> None:
        self.slack = number("slack", slack, at_least=0.0)

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard once, near to where it is; within memory (bytes)."""
        s_per_work = estimate(view)
        best = Filling.of(view, s_per_work).place(view.shards.work, view.shards.bytes)
        owner = best if not len(best) or (best < 0).any() else self._near(view, s_per_work, best)
        return within_memory(view, owner, relative_speeds(s_per_work))

    def _near(self, view: RoundView, s_per_work: Floats, best: Ints) -> Ints:
        """Return the hand-out that is nearest to the last one, or ``best``."""
        ready, step, _ = pace(view, s_per_work)
        work, holder = view.shards.work, holders(view)
        if (holder < 0).all():
            return best
        shortest = makespan(best, work, ready, step)
        if fits(view, holder):
            shortest = min(shortest, makespan(holder, work, ready, step))
        target = (1 + self.slack) * shortest
        for level in LEVELS:
            owner = keep(view, np.maximum(level * target - ready, 0.0) / step)
            filling = Filling(ready, step, view.workers.bundle[:, MEMORY])
            filling.hold(owner, work, view.shards.bytes)
            left = np.flatnonzero(owner < 0)
            owner[left] = filling.place(work[left], view.shards.bytes[left])
            if (owner >= 0).all() and makespan(owner, work, ready, step) <= target * (1 + 1e-9):
                return owner
        return best
