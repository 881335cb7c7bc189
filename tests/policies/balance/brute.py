"""Every hand-out of a few shards, to compare policies with the best there is."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import strategies as st

from policies.interface import Balance, RoundView
from policies.strategies import round_view, shard_table, worker_table


def view_of(work: list[float], s_per_work: list[float], **prices: list[float]) -> RoundView:
    """Build a round on workers with memory for all; a shard has 8 bytes per unit of work."""
    workers = worker_table([(1.0, 0.0, 1e12)] * len(s_per_work), s_per_work, **prices)
    return round_view(workers, shard_table(work, 8 * np.array(work, dtype=float)))


def hand_outs(num_shards: int, num_workers: int) -> np.ndarray:
    """Return every assignment of shards to workers, a row each."""
    return np.array(list(product(range(num_workers), repeat=num_shards)), dtype=np.int64).reshape(-1, num_shards)


def times(view: RoundView, owners: np.ndarray, resident: np.ndarray | None = None) -> np.ndarray:
    """Return how long each hand-out (a row) takes, with reading what is not ``resident`` where that is given."""
    workers, longest = view.workers, np.zeros(len(owners))
    for w in range(len(workers)):
        mine = owners == w
        took = workers.s_fixed[w]
        took = took + mine @ view.shards.work * workers.s_per_work[w]
        if resident is not None:
            took = took + (mine & (resident != w)) @ view.shards.bytes * workers.s_per_byte[w]
        longest = np.maximum(longest, np.where(mine.any(axis=1), took, 0.0))
    return longest


def best_s(view: RoundView) -> float:
    """Return the shortest time of all hand-outs."""
    return float(times(view, hand_outs(len(view.shards), len(view.workers))).min())


def takes_s(balance: Balance, view: RoundView) -> float:
    """Return how long the policy's hand-out takes."""
    return float(times(view, owners_of(balance, view)[None])[0])


def owners_of(balance: Balance, view: RoundView) -> np.ndarray:
    """Return the policy's hand-out."""
    return np.asarray(balance.divide(view).worker_of)  # type: ignore[union-attr]


works = st.lists(st.integers(1, 20).map(float), min_size=1, max_size=7)
speeds = st.lists(st.integers(1, 6).map(lambda speed: 1.0 / speed), min_size=1, max_size=3)
