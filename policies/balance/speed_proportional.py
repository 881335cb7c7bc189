"""By how fast each worker was measured to be."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from policies.balance.division import by_weight
from policies.interface import Assignment, Balance, Floats, RoundView, Unplaced


class SpeedProportional(Balance):
    """Give each worker work in proportion to its measured speed, so that all finish together.

    For machines of different speed that stays as it is: the speed is measured once, by a short probe of the job's own
    objective on each worker. A worker that was not measured counts as the mean of those that were; if none was, all
    count the same.

    Cost: O(s + w log w).

    Source: Beaumont, Boudet, Rastello and Robert, "Matrix multiplication on heterogeneous platforms", IEEE
    Transactions on Parallel and Distributed Systems 12(10), 2001.
    """

    name: ClassVar[str] = "speed-proportional"
    source: ClassVar[str] = "Beaumont et al., IEEE TPDS 2001"
    promises: ClassVar[frozenset[str]] = frozenset({"monotone", "within-one-shard"})

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard once, by ``1 / s_per_work``; within memory (bytes)."""
        return by_weight(view, relative_speeds(view.workers.s_per_work))


def relative_speeds(s_per_work: Floats) -> Floats:
    """Return speeds relative to the fastest, 0 to 1, shape ``(w,)``, from seconds per unit of work.

    What is NaN or not positive was not measured and gets the mean of the rest; if nothing was, all are 1.
    """
    measured = s_per_work > 0
    if not np.isfinite(s_per_work[measured]).any():
        return np.ones(len(s_per_work))
    speeds = np.ones(len(s_per_work))
    speeds[measured] = s_per_work[measured].min() / s_per_work[measured]
    speeds[~measured] = speeds[measured].mean()
    return speeds
