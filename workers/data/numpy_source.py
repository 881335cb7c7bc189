"""NumPy files: one table in a `.npy`, or features and target as two members of a `.npz`."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workers.data.array_source import ArrayMissing, Arrays, ArraySource, default_names
from workers.data.npy_file import Archive, file_header, opened_archive
from workers.data.npy_table import NpyTable
from workers.data.source import DtypeChoice
from workers.data.stamp import stamp
from workers.errors import DataError


@dataclass(frozen=True)
class NpySource(ArraySource):
    """A 2-D table in a `.npy` file, read block by block; `target` and `weight` are columns (negative: from the end).

    The weight is no feature. `dtype` and `missing` are explained at `ArraySource`.
    """

    path: str | Path
    target: int = -1
    weight: int | None = None
    dtype: DtypeChoice = "auto"
    missing: ArrayMissing = "error"

    def open(self) -> Arrays:
        """Look at the table; raise `DataError` for a file that is none, or a column that is not in it."""
        state = stamp(self.path)
        table = _npy_table(self.path)
        if len(table.shape) != 2:
            raise DataError(f"{self.path}: needs a table of shape (n, d + 1), got {table.shape}. Reshape it.")
        _check_not_empty(self.path, table.shape)
        width = table.shape[1]
        target = self._column("target", self.target, width)
        weight = None if self.weight is None else self._column("weight", self.weight, width)
        if weight == target:
            raise DataError(f"{self.path}: column {target} cannot be both target and weight. Name another.")
        positions = np.array([at for at in range(width) if at not in (target, weight)], dtype=np.int64)
        names = default_names(positions)
        return Arrays(str(self.path), table, positions, target, names, f"x{target}", weight, state)

    def _column(self, role: str, column: int, width: int) -> int:
        if not -width <= column < width:
            raise DataError(f"{self.path}: no {role} column {column} among {width}. Give {-width} to {width - 1}.")
        return column % width


@dataclass(frozen=True)
class NpzSource(ArraySource):
    """Arrays `features` (n, d) and `target` (n,) of a `.npz` file, perhaps with `feature_names` (d,), `weights` (n,).

    The features are read block by block. `dtype` and `missing` are explained at `ArraySource`.
    """

    path: str | Path
    features: str = "X"
    target: str = "y"
    dtype: DtypeChoice = "auto"
    missing: ArrayMissing = "error"

    def open(self) -> Arrays:
        """Load all but the features; raise `DataError` for a file that is no `.npz`, or an array that is not in it."""
        state = stamp(self.path)
        with opened_archive(self.path) as archive:
            table = _npz_table(archive, self.features)
            if len(table.shape) != 2:
                raise DataError(f"{self.path}, array {self.features!r}: needs shape (n, d), got {table.shape}.")
            _check_not_empty(self.path, table.shape)
            y = archive.array(self.target)
            positions = np.arange(table.shape[1])
            names = default_names(positions)
            if "feature_names" in archive.names:
                names = tuple(map(str, np.atleast_1d(archive.array("feature_names"))))
            weights = archive.array("weights") if "weights" in archive.names else None
        self._check_names(names, table.shape[1])
        return Arrays(str(self.path), table, positions, y, names, self.target, weights, state)

    def _check_names(self, names: tuple[str, ...], num_features: int) -> None:
        repeated = [name for name, times in Counter(names).items() if times > 1 or not name.strip()]
        if len(names) != num_features or repeated:
            raise DataError(
                f"{self.path}, array 'feature_names': needs {num_features} different names that are not "
                f"empty, got {len(names)}, of them wrong {repeated[:3]}. Mend the array or leave it out."
            )


def load_array(path: str | Path, name: str) -> NDArray[Any]:
    """Return the array of an `.npy` file, or the one called `name` of an `.npz`; raise `DataError` if there is none."""
    header = file_header(path)
    if header is None:
        with opened_archive(path) as archive:
            return archive.array(name)
    order: Literal["F", "C"] = "F" if header.by_columns else "C"
    if not header.nbytes:
        return np.empty(header.shape, dtype=header.dtype)
    return np.memmap(path, header.dtype, "r", header.offset, header.shape, order)


def _npy_table(path: str | Path) -> NpyTable:
    """Look at a file's header."""
    header = file_header(path)
    if header is None:
        raise DataError(f"{path} is an .npz file. Name it as npz, not npy.")
    return NpyTable(path, header.shape, header.dtype, header.offset, header.by_columns)


def _npz_table(archive: Archive, name: str) -> NDArray[Any] | NpyTable:
    """Look at the header of an array of an archive; load it where it does not lie row by row."""
    header = archive.header(name)
    if header.by_columns or len(header.shape) != 2:
        return archive.array(name)
    return NpyTable(archive.path, header.shape, header.dtype, header.offset, member=f"{name}.npy")


def _check_not_empty(path: str | Path, shape: tuple[int, ...]) -> None:
    """Refuse a table without values: however many rows or columns it claims, its file need not grow with them."""
    if 0 in shape:
        raise DataError(f"{path}: no rows, or no columns: got a table of shape {shape}. Store some.")
