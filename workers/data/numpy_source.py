"""NumPy files: one table in a `.npy`, or features and target as two members of a `.npz`."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from workers.data.array_source import ArrayMissing, Arrays, ArraySource, default_names
from workers.data.npy_table import UNREADABLE, NpyTable, unreadable
from workers.data.source import DtypeChoice
from workers.data.stamp import stamp
from workers.errors import DataError, did_you_mean


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
        archive = load_numpy(self.path, mapped=False)
        if not isinstance(archive, NpzFile):
            raise DataError(f"{self.path} is not an .npz file. Name it as npy, not npz.")
        with archive:
            table = _npz_table(self.path, archive, self.features)
            y = _member(self.path, archive, self.target)
            if len(table.shape) != 2:
                raise DataError(f"{self.path}, array {self.features!r}: needs shape (n, d), got {table.shape}.")
            positions = np.arange(table.shape[1])
            names = default_names(positions)
            if "feature_names" in archive:
                names = tuple(map(str, np.atleast_1d(_member(self.path, archive, "feature_names"))))
            weights = _member(self.path, archive, "weights") if "weights" in archive else None
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
    loaded = load_numpy(path, mapped=True)
    if not isinstance(loaded, NpzFile):
        return loaded
    with loaded:
        return _member(path, loaded, name)


def load_numpy(path: str | Path, *, mapped: bool) -> NDArray[Any] | NpzFile:
    """Return what `numpy.load` does, without pickles; raise `DataError` if it cannot be read."""
    try:
        loaded: NDArray[Any] | NpzFile = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    return loaded


def _npy_table(path: str | Path) -> NpyTable:
    """Look at a file's header through a map, of which nothing is touched."""
    mapped = load_numpy(path, mapped=True)
    if not isinstance(mapped, np.memmap):
        raise DataError(f"{path} is an .npz file. Name it as npz, not npy.")
    by_columns = bool(mapped.flags.f_contiguous and not mapped.flags.c_contiguous)
    return NpyTable(path, mapped.shape, mapped.dtype, int(mapped.offset), by_columns)


def _npz_table(path: str | Path, archive: NpzFile, name: str) -> NDArray[Any] | NpyTable:
    """Look at the header of an array of an archive; load it where it does not lie row by row."""
    if name not in archive:
        raise DataError(f"{path}: no array {name!r}. {did_you_mean(name, archive.files)}")
    try:
        with archive.zip.open(f"{name}.npy") as file:  # type: ignore[union-attr]  # it is open
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, by_columns, dtype = read[version](file)
            offset = file.tell()
    except KeyError:
        return _member(path, archive, name)
    except UNREADABLE as error:
        raise unreadable(path, error, f", array {name!r}") from error
    if by_columns or dtype.hasobject or len(shape) != 2:
        return _member(path, archive, name)
    return NpyTable(path, shape, dtype, offset, member=f"{name}.npy")


def _member(path: str | Path, archive: NpzFile, name: str) -> NDArray[Any]:
    if name not in archive:
        raise DataError(f"{path}: no array {name!r}. {did_you_mean(name, archive.files)}")
    try:
        return np.asarray(archive[name])
    except UNREADABLE as error:
        raise unreadable(path, error, f", array {name!r}") from error
