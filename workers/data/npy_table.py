"""A 2-D array in a NumPy file, read by rows with plain reads: the pages of a map would count as a worker's memory."""

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from workers.data.npy_file import UNREADABLE, fill, unreadable
from workers.errors import DataError


@dataclass(frozen=True)
class NpyTable:
    """Where an array of `shape` and `dtype` lies: in a `.npy` file, or as the `member` of a `.npz` (then by rows)."""

    path: str | Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    by_columns: bool = False
    member: str | None = None

    def read(self, spans: Iterable[tuple[int, int]]) -> Iterator[NDArray[Any]]:
        """Yield the rows of each span (first, last + 1), which must ascend; raise `DataError` if it cannot."""
        where = "" if self.member is None else f", array {self.member.removesuffix('.npy')!r}"
        try:
            if self.member is None:
                with Path(self.path).open("rb") as file:
                    yield from self._read(file, spans)
            else:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                    yield from self._read(file, spans)
        except UNREADABLE as error:
            if isinstance(error, DataError):
                raise
            raise unreadable(self.path, error, where) from error

    def _read(self, file: IO[bytes], spans: Iterable[tuple[int, int]]) -> Iterator[NDArray[Any]]:
        rows, columns = self.shape
        for first, last in spans:
            if self.by_columns:
                values = np.empty((columns, last - first), dtype=self.dtype)
                for column in range(columns):
                    self._fill(file, values[column], column * rows + first)
                yield values.T
            else:
                values = np.empty((last - first, columns), dtype=self.dtype)
                self._fill(file, values, first * columns)
                yield values

    def _fill(self, file: IO[bytes], values: NDArray[Any], first: int) -> None:
        """Read the values from number `first` on."""
        file.seek(self.offset + first * self.dtype.itemsize)
        fill(file, values)
