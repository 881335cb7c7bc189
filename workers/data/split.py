"""Which rows are for training, testing and validation, and which of them a shard has."""

from functools import lru_cache
from math import ceil
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.data.source import Ints
from workers.errors import DataError

Split = Literal["shuffled", "contiguous"]
_STREAM = 0x53504C4954  # keeps the streams of the split apart from all others of the same seed


class Counts(NamedTuple):
    """How many rows are for what: numbers, or arrays (num_shards,)."""

    train: Any
    test: Any
    validation: Any


def count_rows(num_rows: int, test_fraction: float, validation_fraction: float = 0.0) -> Counts:
    """Return how many rows are for what; a `validation_fraction` is one of the rows that are not for testing.

    Both numbers are rounded up, as scikit-learn does. Raise `DataError` if a fraction does not lie in [0, 1) or
    leaves no training row.
    """
    for name, fraction in (("test", test_fraction), ("validation", validation_fraction)):
        if not 0 <= fraction < 1:
            raise DataError(f"the {name} fraction must lie in [0, 1), got {fraction}.")
    num_test = ceil(test_fraction * num_rows)
    if num_test >= num_rows:
        raise DataError(f"a test fraction of {test_fraction} of {num_rows} rows leaves none for training. Lower it.")
    num_validation = ceil(validation_fraction * (num_rows - num_test))
    if num_test + num_validation >= num_rows:
        raise DataError(
            f"a validation fraction of {validation_fraction} of {num_rows - num_test} rows leaves none for training. "
            "Lower it."
        )
    return Counts(num_rows - num_test - num_validation, num_test, num_validation)


@lru_cache(maxsize=1)
def shuffled(num_rows: int, seed: int) -> NDArray[Any]:
    """Return the rows (num_rows,), shuffled as scikit-learn's `train_test_split(random_state=seed)` does.

    The first of them are its test rows, the others its training rows. The array is shared and read-only, and of int32
    where that holds every number: a worker of a large job keeps it. Raise `DataError` for a seed not in 0..2**32-1.
    """
    rows = np.arange(num_rows, dtype=np.int32 if num_rows <= 1 << 31 else np.int64)
    np.random.RandomState(checked(seed)).shuffle(rows)
    rows.flags.writeable = False
    return rows


def shuffled_range(start: int, stop: int, seed: int, shard: int) -> Ints:
    """Return the rows `start` to `stop` in a random order that belongs to this seed and shard."""
    stream = np.random.MT19937(np.random.SeedSequence([checked(seed), shard, _STREAM]))
    rows = np.arange(start, stop, dtype=np.int64)
    np.random.RandomState(stream).shuffle(rows)  # of the legacy kind: its order never changes between versions
    return rows


def ranges(num_rows: int, num_shards: int, shards: Ints) -> Ints:
    """Return where these shards begin among `num_rows` rows; sizes differ by one at most.

    Shard s has rows [b[s], b[s + 1]). Raise `DataError` for less than one shard.
    """
    if num_shards < 1:
        raise DataError(f"the number of shards must be at least 1, got {num_shards}.")
    return shards * num_rows // num_shards


def checked(seed: int) -> int:
    """Return the seed; raise `DataError` if it does not lie in 0..2**32-1."""
    if not 0 <= seed < 1 << 32:
        raise DataError(f"the seed must lie in 0..4294967295, got {seed}.")
    return seed
