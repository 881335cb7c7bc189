"""The same number of shards for everyone, in runs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from policies.balance.division import contiguous, largest_remainder, within_memory
from policies.interface import Assignment, Balance, RoundView, Unplaced


class Equal(Balance):
    """Give every worker the same number of consecutive shards; the first ones get what is left over.

    For workers that are equally fast and shards of equal work, and as the baseline of other balances: the slowest
    worker sets the pace. Neighbouring shards stay together, which suits ``split: contiguous``.

    Cost: O(s + w).

    Source: Zinkevich, Weimer, Smola and Li, "Parallelized stochastic gradient descent", NIPS 2010.
    """

    name: ClassVar[str] = "equal"
    source: ClassVar[str] = "Zinkevich et al., NIPS 2010"
    wants_speeds: ClassVar[bool] = False

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard once, by count and not by work; within memory (bytes)."""
        weights = np.ones(len(view.workers))
        counts = largest_remainder(weights, len(view.shards) if len(weights) else 0)
        return within_memory(view, contiguous(counts), weights)
