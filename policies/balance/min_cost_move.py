"""A good hand-out that moves the fewest bytes from the last one."""

from __future__ import annotations

from typing import ClassVar

from policies.balance.division import within_memory
from policies.balance.filling import pace
from policies.balance.measuring import estimate
from policies.balance.moving import near
from policies.balance.speed_proportional import relative_speeds
from policies.interface import Assignment, Balance, RoundView, Unplaced
from policies.options import number


class MinCostMove(Balance):
    """Move the fewest bytes from the last hand-out that bring the round down to a target time.

    Use it when reading a shard is dear, beside computing it: what is in place stays. The target is ``1 + slack`` times
    the time that shards which can be split would take, or where that cannot be met, the best known hand-out: that of
    ``lpt``, or the last one if it is better. Workers that are over it give
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

    Cost: that of ``lpt``, six times that where the target is hard to meet.

    Source: Aggarwal, Motwani and Zhu, "The load rebalancing problem", SPAA 2003 and Journal of Algorithms 60(1), 2006
    (the problem; their algorithm minimises the time for a number of moves, this the bytes for a time).
    """

    name: ClassVar[str] = "min-cost-move"
    source: ClassVar[str] = "Aggarwal, Motwani & Zhu, SPAA 2003"
    promises: ClassVar[frozenset[str]] = frozenset({"monotone", "no-better-move", "stays-put"})
    redivides: ClassVar[bool] = True

    def __init__(self, slack: float = 0.05) -> None:
        self.slack = number("slack", slack, at_least=0.0)

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard once, near to where it is; within memory (bytes)."""
        s_per_work = estimate(view)
        ready, step, _ = pace(view, s_per_work)
        return within_memory(view, near(view, ready, step, self.slack), relative_speeds(s_per_work))
