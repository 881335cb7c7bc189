"""A job's data, cut into shards that depend on the data and the job, never on the workers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workers.data.rows import Rows
from workers.data.source import DataInfo, Ints, Source, aligned_copy
from workers.data.split import shard_ranges, train_test
from workers.errors import DataError

NO_ROWS = Rows(np.zeros((0, 0)), np.zeros(0))


@dataclass(frozen=True, eq=False)
class Shard:
    """A fixed range of the training rows, and the same share of the test and validation rows."""

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

    Raise `DataError` for more shards than training rows, or a split that leaves none.
    """

    source: Source
    info: DataInfo
    test_fraction: float
    seed: int
    num_shards: int

    def __post_init__(self) -> None:
        if self.num_shards > self.num_train:
            raise DataError(
                f"{self.num_shards} shards of {self.num_train} training rows would leave some empty. "
                f"Ask for at most {self.num_train} shards."
            )
        shard_ranges(self.num_train, self.num_shards)

    @property
    def num_train(self) -> int:
        """The number of training rows."""
        return len(self._split[0])

    @property
    def num_test(self) -> int:
        """The number of test rows."""
        return len(self._split[1])

    @property
    def work(self) -> Ints:
        """The training rows (num_shards,) of each shard."""
        return np.diff(shard_ranges(self.num_train, self.num_shards))

    @property
    def nbytes(self) -> Ints:
        """The bytes (num_shards,) that each shard takes in memory."""
        rows = self.work + np.diff(shard_ranges(self.num_test, self.num_shards))
        return rows * (8 * (self.info.num_features + 1))

    def rows(self, shard: int) -> tuple[Ints, Ints]:
        """Return the shard's (train_rows, test_rows), as numbers of the source's rows."""
        if not 0 <= shard < self.num_shards:
            raise DataError(f"shards are numbered 0..{self.num_shards - 1}, got {shard}.")
        train, test = (
            rows[len(rows) * shard // self.num_shards : len(rows) * (shard + 1) // self.num_shards]
            for rows in self._split
        )
        return train, test

    def load(self, shards: Sequence[int]) -> list[Shard]:
        """Return these shards, in this order, read in one pass over the source."""
        if not len(shards):
            return []
        parts = [rows for shard in shards for rows in self.rows(shard)]
        read = self.source.read(np.concatenate(parts), self.info)
        ends = np.cumsum([len(part) for part in parts])[:-1]
        pieces = zip(np.split(read.X, ends), np.split(read.y, ends), strict=True)
        rows = [Rows(aligned_copy(X), aligned_copy(y)) for X, y in pieces]
        return [Shard(int(shard), rows[2 * place], rows[2 * place + 1]) for place, shard in enumerate(shards)]

    @property
    def _split(self) -> tuple[Ints, Ints]:
        return train_test(self.info.num_rows, self.test_fraction, self.seed)
