"""The common part of every source whose data are NumPy arrays, in memory or mapped from a file."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.data.rows import Floats, Rows
from workers.data.source import DataInfo, Ints, Source, Task, aligned_empty, check_rows
from workers.data.tally import Tally, class_numbers
from workers.errors import DataError, Problems

BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class Arrays:
    """An opened table: values (n, c), the positions (d,) of its features in it, y (n,), and the names."""

    file: str
    values: NDArray[Any]
    positions: Ints
    y: NDArray[Any]
    feature_names: tuple[str, ...]
    target_name: str

    @property
    def block_rows(self) -> int:
        """How many rows to take at a time."""
        return max(1, BLOCK_BYTES // (8 * max(1, int(self.values.shape[1]))))

    def features(self, rows: slice | Ints) -> Floats:
        """Return X (n, d) of these rows."""
        return np.asarray(self.values[rows], dtype=np.float64)[:, self.positions]


class ArraySource(Source):
    """A source that opens as `Arrays`."""

    @abstractmethod
    def open(self) -> Arrays:
        """Return the arrays; raise `DataError` if they cannot be had."""

    def describe(self, task: Task) -> DataInfo:
        """Check every value in blocks; raise `DataError` on NaN, infinity, unfit types or shapes, no rows."""
        arrays = self.open()
        tally = Tally(task, arrays.file, arrays.target_name)
        _check_types(arrays, task)
        problems = Problems(arrays.file)
        for start in range(0, len(arrays.values), arrays.block_rows):
            rows = slice(start, start + arrays.block_rows)
            X, y = arrays.features(rows), arrays.y[rows]
            _check_values(X, y, start, arrays, problems)
            tally.add(X, y.tolist() if task == "classification" else y.astype(np.float64))
        problems.check()
        return tally.info(arrays.feature_names)

    def read(self, rows: Ints, info: DataInfo) -> Rows:
        """Return the n `rows`; only these are touched in a mapped file."""
        check_rows(rows, info)
        arrays = self.open()
        if (len(arrays.values), arrays.feature_names) != (info.num_rows, info.feature_names):
            raise DataError(f"{arrays.file} has changed since it was described. Describe it again.")
        X, y = aligned_empty((len(rows), info.num_features)), aligned_empty((len(rows),))
        for start in range(0, len(rows), arrays.block_rows):
            block = slice(start, start + arrays.block_rows)
            X[block] = arrays.features(rows[block])
            targets = arrays.y[rows[block]]
            y[block] = class_numbers(targets.tolist(), info.classes) if info.classes else targets
        return Rows(X, y)


def default_names(positions: Ints) -> tuple[str, ...]:
    """Return `x0`, `x1`, ... for columns that have no names."""
    return tuple(f"x{position}" for position in positions)


def _check_types(arrays: Arrays, task: Task) -> None:
    values, y = arrays.values, arrays.y
    if values.ndim != 2 or y.ndim != 1 or len(values) != len(y):
        raise DataError(
            f"{arrays.file}: needs features of shape (n, d) and a target of shape (n,), "
            f"got {values.shape} and {y.shape}. Reshape them."
        )
    if values.dtype.kind not in "biuf":
        raise DataError(f"{arrays.file}: got features of type {values.dtype}. Store them as numbers.")
    if y.dtype.kind not in ("biufU" if task == "classification" else "biuf"):
        raise DataError(
            f"{arrays.file}, target {arrays.target_name!r}: got type {y.dtype} for {task}. "
            "Store numbers, or text labels for classification."
        )


def _check_values(X: Floats, y: NDArray[Any], start: int, arrays: Arrays, problems: Problems) -> None:
    hint = "Mend the values, or leave the rows out (rows count from 0)."
    bad_y = y == "" if y.dtype.kind == "U" else ~np.isfinite(y)
    bad_X = ~np.isfinite(X)
    for row in np.flatnonzero(bad_X.any(axis=1) | bad_y):
        place = f"row {start + row}"
        for column in np.flatnonzero(bad_X[row]):
            problems.add(place, f"column {arrays.feature_names[column]!r}", f"got {X[row, column]}", hint)
        if bad_y[row]:
            problems.add(place, f"target {arrays.target_name!r}", f"got {y[row].item()!r}", hint)
