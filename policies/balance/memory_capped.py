"""By speed, up to what each worker's memory holds."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from policies.balance.division import by_weight, even, within_memory, work_limit
from policies.balance.filling import SLOWEST, Filling, water_level
from policies.balance.speed_proportional import relative_speeds
from policies.interface import MEMORY, Assignment, Balance, RoundView, Unplaced


class MemoryCapped(Balance):
    """Give each worker work in proportion to its speed up to what its memory holds; the others share the rest.

    Use it when fast workers are short of memory: whoever is not full finishes at the same time as all others that
    are not full. The fractional optimum is exact (water filling); even shards are rounded by largest remainders,
    others go, the one with most work first, to whoever then has least of its part. There memory is taken to be full
    at the mean bytes per unit of work.

    Cost: O(s log s + w log w).

    Source: Lastovetsky and Reddy, "Data partitioning with a realistic performance model of networks of heterogeneous
    computers with task size limits", ISPDC 2004; their speeds may depend on the size of the task, these do not.
    """

    name: ClassVar[str] = "memory-capped"
    source: ClassVar[str] = "Lastovetsky & Reddy, ISPDC 2004"
    promises: ClassVar[frozenset[str]] = frozenset({"monotone", "within-one-shard"})

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard once, by capped speed; within memory (bytes)."""
        s_per_work = 1.0 / np.maximum(relative_speeds(view.workers.s_per_work), SLOWEST)
        work, size, memory = view.shards.work, view.shards.bytes, view.workers.bundle[:, MEMORY]
        total, limit = float(work.sum()), work_limit(view)
        if even(work):  # the unit is a shard, so that no part that is rounded up is over a limit
            total, most = float(len(work)), float(size.max(initial=0.0))
            limit = np.floor(memory / most) if most else np.full(len(limit), np.inf)
        _, amounts = water_level(total, np.zeros(len(limit)), s_per_work, limit)
        if even(work):
            return by_weight(view, amounts)
        owner = Filling(np.zeros(len(limit)), 1.0 / np.maximum(amounts, SLOWEST * total), memory).place(work, size)
        return within_memory(view, owner, amounts)
