"""Lower bounds: what no policy can be better than, whatever it does."""

from __future__ import annotations

import numpy as np

from policies.tables import Floats

RANKS = 64
"""For so many numbers of largest shards it is counted whether there is room for them."""


def makespan_bound(work: Floats, s_per_work: Floats, s_fixed: Floats | None = None) -> float:
    """Return seconds that a round needs at least, however whole shards are divided over the workers.

    A time is too short if the workers could not do all work in it even if shards could be split; if for some k the k
    workers that can do most could not do the k largest shards; or if fewer than k shards as small as the k-th
    largest could be put, whole, into what the workers can do. The bound is the end of what is too short. For equal
    shards it is the optimum.

    Parameters
    ----------
    work
        Of each shard, shape ``(s,)``, at least 0.
    s_per_work, s_fixed
        What each worker takes for a unit of work (positive, infinite for one that cannot work), and before its first;
        shape ``(w,)``. A worker without shards takes no time.

    Returns
    -------
    float
        Seconds; 0 for no shards, infinite if nobody can work.

    Raises
    ------
    ValueError
        If an amount is negative or NaN, or a worker takes no time.

    Source: water filling, and the bounds of Gonzalez, Ibarra and Sahni, "Bounds for LPT schedules on uniform
    processors", SIAM Journal on Computing 6(1), 1977.
    """
    fixed = np.zeros(len(s_per_work)) if s_fixed is None else s_fixed
    if not ((work >= 0).all() and (s_per_work > 0).all() and (fixed >= 0).all()):
        raise ValueError("work and s_fixed must be at least 0, and s_per_work greater than 0")
    work = -np.sort(-work)
    able = np.isfinite(s_per_work)
    step, fixed = s_per_work[able], fixed[able]
    if not len(work) or not len(step):
        return 0.0 if not len(work) else np.inf
    low, high = float(fixed.min()), float((fixed + work.sum() * step).min())
    sums = np.cumsum(work)
    ranks = np.unique(np.linspace(1, len(work), min(RANKS, len(work))).round().astype(np.int64))

    def enough(time_s: float) -> bool:
        amounts = -np.sort(-np.maximum(time_s - fixed, 0.0) / step)
        reach, most = np.cumsum(amounts) * (1 + 1e-12), min(len(amounts), len(work))
        if reach[-1] < sums[-1] or (reach[:most] < sums[:most]).any():
            return False
        sizes = work[ranks - 1]
        return all(
            size <= 0 or np.floor(amounts / size * (1 + 1e-12)).sum() >= rank
            for rank, size in zip(ranks.tolist(), sizes.tolist(), strict=True)
        )

    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return low
