"""A job's data, cut into shards that depend on the data and the job, never on the workers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workers.data.class_weight import ClassWeight, class_weights
from workers.data.rows import Floats, Rows
from workers.data.source import DataInfo, Ints, Source, aligned_empty
from workers.data.split import Counts, Split, checked, count_rows, ranges, shuffled, shuffled_range
from workers.errors import DataError

_INDEX_BYTES = 4  # of sparse rows: int32


NO_ROWS = Rows(np.zeros((0, 0)), np.zeros(0))


@dataclass(frozen=True, eq=False)
class Shard:
    """A fixed range of the training rows, and the same share of the test and validation rows (perhaps none)."""

    index: int
    train: Rows
    test: Rows
    validation: Rows = NO_ROWS

    @property
    def nbytes(self) -> int:
        """The memory that the rows take."""
        return self.train.nbytes + self.test.nbytes + self.validation.nbytes


@dataclass(frozen=True)
class DataSet:
    """A described source, split and cut; small and picklable: a worker loads from it what it needs.

    `split` says which rows go together. `shuffled`: all rows are shuffled, the first are for testing, then those for
    validation, and a shard is a range of each kind. `contiguous`: a shard is a range of the source's rows, so that
    reading it touches nothing else, and is shuffled and split within itself. `class_weight` multiplies the weights of
    the training rows, and of no others: scores are of the data as they are. Raise `DataError` for shards without
    training rows, a split that leaves none, or class weights that do not fit.
    """

    source: Source
    info: DataInfo
    test_fraction: float
    seed: int
    num_shards: int
    split: Split = "shuffled"
    validation_fraction: float = 0.0
    class_weight: ClassWeight | None = None

    def __post_init__(self) -> None:
        checked(self.seed)
        if self.class_weight is not None:
            class_weights(self.class_weight, self.info)
        if self.num_shards > self.num_train:
            raise DataError(
                f"{self.num_shards} shards of {self.num_train} training rows would leave some empty. "
                f"Ask for at most {self.num_train} shards."
            )
        if not self.work.min():
            raise DataError(
                f"{self.num_shards} contiguous shards of {self.info.num_rows} rows would leave some without training "
                "rows. Ask for fewer shards."
            )

    @property
    def num_train(self) -> int:
        """The number of training rows."""
        return int(self._counts.train)

    @property
    def num_test(self) -> int:
        """The number of test rows."""
        return int(self._counts.test)

    @property
    def num_validation(self) -> int:
        """The number of validation rows."""
        return int(self._counts.validation)

    @property
    def weighted(self) -> bool:
        """Whether training rows have weights: their own, or those of their classes."""
        return self.info.weighted or self.class_weight is not None

    @property
    def work(self) -> Ints:
        """The training rows (num_shards,) of each shard."""
        work: Ints = np.diff(self._starts(np.arange(self.num_shards + 1)).train)
        return work

    @property
    def nbytes(self) -> Ints:
        """The bytes (num_shards,) that each shard takes in memory."""
        info, starts = self.info, self._starts(np.arange(self.num_shards + 1))
        train, others = np.diff(starts.train), np.diff(starts.test) + np.diff(starts.validation)
        item_bytes = np.dtype(info.dtype).itemsize
        weights: Ints = 8 * (train * self.weighted + others * info.weighted)
        if info.row_values is None:
            dense: Ints = (train + others) * (item_bytes * (info.num_features + 1)) + weights
            return dense
        pointers = _INDEX_BYTES * (train + others + len(Counts._fields))
        values = self._stored_values(info.row_values, starts) * (item_bytes + _INDEX_BYTES)
        sparse: Ints = values + pointers + (train + others) * item_bytes + weights
        return sparse

    def rows(self, shard: int) -> tuple[Ints, Ints, Ints]:
        """Return the shard's (train_rows, test_rows, validation_rows), as numbers of the source's rows."""
        if not 0 <= shard < self.num_shards:
            raise DataError(f"shards are numbered 0..{self.num_shards - 1}, got {shard}.")
        starts = self._starts(np.array([shard, shard + 1]))
        if self.split == "contiguous":
            first, last = ranges(self.info.num_rows, self.num_shards, np.array([shard, shard + 1])).tolist()
            order: NDArray[np.int64] = shuffled_range(first, last, self.seed, shard)
            test, validation = (int(np.diff(part)[0]) for part in (starts.test, starts.validation))
            return order[test + validation :], order[:test], order[test : test + validation]
        train, test_rows, validation_rows = (
            rows[begin:end].astype(np.int64) for rows, (begin, end) in zip(self._shuffled_parts(), starts, strict=True)
        )
        return train, test_rows, validation_rows

    def load(self, shards: Sequence[int]) -> list[Shard]:
        """Return these shards, in this order: shuffled ones in one pass over the source, contiguous ones each alone."""
        if not len(shards):
            return []
        if self.split == "contiguous":
            return [self._load([int(shard)])[0] for shard in shards]
        return self._load([int(shard) for shard in shards])

    def _load(self, shards: list[int]) -> list[Shard]:
        parts = [rows for shard in shards for rows in self.rows(shard)]
        read = self.source.read_parts(parts, self.info)
        if self.class_weight is not None:
            of_class = class_weights(self.class_weight, self.info)
            read[0::3] = [_times_class(rows, of_class) for rows in read[0::3]]
        return [Shard(shard, *read[3 * place : 3 * place + 3]) for place, shard in enumerate(shards)]

    @property
    def _counts(self) -> Counts:
        return count_rows(self.info.num_rows, self.test_fraction, self.validation_fraction)

    def _starts(self, shards: Ints) -> Counts:
        """Return where the training, test and validation rows of these shards begin among all of their kind."""
        counts = self._counts
        if self.split == "shuffled":
            return Counts(*(ranges(count, self.num_shards, shards) for count in counts))
        rows = ranges(self.info.num_rows, self.num_shards, shards)
        test = rows * counts.test // self.info.num_rows
        validation = (rows - test) * counts.validation // (self.info.num_rows - counts.test)
        return Counts(rows - test - validation, test, validation)

    def _shuffled_parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        order, test, kept = shuffled(self.info.num_rows, self.seed), self.num_test, self.num_test + self.num_validation
        return order[kept:], order[:test], order[test:kept]

    def _stored_values(self, row_values: Ints, starts: Counts) -> Ints:
        """Return how many values (num_shards,) the sparse rows of each shard hold."""
        if self.split == "contiguous":
            parts = [(row_values, ranges(self.info.num_rows, self.num_shards, np.arange(self.num_shards + 1)))]
        else:
            parts = [(row_values[rows], at) for rows, at in zip(self._shuffled_parts(), starts, strict=True)]
        sums = [np.diff(np.concatenate([[0], np.cumsum(values, dtype=np.int64)])[at]) for values, at in parts]
        stored: Ints = np.sum(sums, axis=0, dtype=np.int64)
        return stored


def _times_class(rows: Rows, of_class: Floats) -> Rows:
    weights = aligned_empty((len(rows),))
    np.take(of_class, rows.y.astype(np.int64), out=weights)
    if rows.weights is not None:
        weights *= rows.weights
    return replace(rows, weights=weights)
