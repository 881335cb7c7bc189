"""Each shard to anyone."""

from __future__ import annotations

from hashlib import blake2b
from typing import ClassVar

import numpy as np

from policies.balance.division import within_memory
from policies.interface import Assignment, Balance, RoundView, Unplaced


class UniformRandom(Balance):
    """Give each shard to a worker drawn uniformly: the baseline that any policy should beat.

    For comparisons only: with many shards (s) the fullest of w workers has about sqrt(2 (s / w) ln w) shards more
    than the mean. The draw is keyed by the round's seed and the job's name, and does not change with NumPy's version.

    Cost: O(s + w).

    Source: Raab and Steger, "Balls into bins: a simple and tight analysis", RANDOM 1998.
    """

    name: ClassVar[str] = "random"
    source: ClassVar[str] = "Raab & Steger, RANDOM 1998"
    wants_speeds: ClassVar[bool] = False

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard once, each to a random worker; within memory (bytes)."""
        num_workers = len(view.workers)
        key = int.from_bytes(blake2b(f"{view.seed}/{view.job}".encode(), digest_size=16).digest(), "little")
        raw = np.random.Philox(key=key).random_raw(len(view.shards))
        worker_of = (raw % np.uint64(max(num_workers, 1))).astype(np.int64)
        return within_memory(view, worker_of, np.ones(num_workers))
