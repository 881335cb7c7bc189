"""Which rows are for training and which for testing, and where a shard of them begins."""

from functools import lru_cache
from math import ceil

import numpy as np

from workers.data.source import Ints
from workers.errors import DataError


@lru_cache(maxsize=4)
def train_test(num_rows: int, test_fraction: float, seed: int) -> tuple[Ints, Ints]:
    """Return (train_rows, test_rows), shuffled as scikit-learn's `train_test_split(random_state=seed)` does.

    A `test_fraction` of 0 tests nothing. The arrays are shared and read-only. Raise `DataError` if a fraction
    does not lie in [0, 1) or leaves no training row, or the seed does not lie in 0..2**32-1.
    """
    if not 0 <= test_fraction < 1:
        raise DataError(f"the test fraction must lie in [0, 1), got {test_fraction}.")
    if not 0 <= seed < 1 << 32:
        raise DataError(f"the seed must lie in 0..4294967295, got {seed}.")
    num_test = ceil(test_fraction * num_rows)
    if num_test >= num_rows:
        raise DataError(f"a test fraction of {test_fraction} of {num_rows} rows leaves none for training. Lower it.")
    shuffled: Ints = np.random.RandomState(seed).permutation(num_rows).astype(np.int64, copy=False)
    shuffled.flags.writeable = False
    return shuffled[num_test:], shuffled[:num_test]


def shard_ranges(num_rows: int, num_shards: int) -> Ints:
    """Return boundaries (num_shards + 1,): shard s has rows [b[s], b[s + 1]); sizes differ by one at most."""
    if num_shards < 1:
        raise DataError(f"the number of shards must be at least 1, got {num_shards}.")
    return np.arange(num_shards + 1, dtype=np.int64) * num_rows // num_shards
