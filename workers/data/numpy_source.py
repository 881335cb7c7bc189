"""NumPy files: one table in a `.npy`, or features and target as two members of a `.npz`."""

import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from workers.data.array_source import Arrays, ArraySource, default_names
from workers.errors import DataError, did_you_mean

_UNREADABLE = (OSError, ValueError, EOFError, OverflowError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class NpySource(ArraySource):
    """A 2-D table in a `.npy` file, mapped, not loaded; `target` is a column (negative: from the end)."""

    path: str | Path
    target: int = -1

    def open(self) -> Arrays:
        """Map the table; raise `DataError` for a file that is none, or a target that is not in it."""
        values = _load(self.path, mapped=True)
        if isinstance(values, NpzFile):
            raise DataError(f"{self.path} is an .npz file. Name it as npz, not npy.")
        if values.ndim != 2:
            raise DataError(f"{self.path}: needs a table of shape (n, d + 1), got {values.shape}. Reshape it.")
        width = values.shape[1]
        if not -width <= self.target < width:
            raise DataError(f"{self.path}: no target column {self.target} among {width}. Give {-width} to {width - 1}.")
        target = self.target % width
        positions = np.delete(np.arange(width), target)
        y = values[:, target]
        return Arrays(str(self.path), values, positions, y, default_names(positions), f"x{target}")


@dataclass(frozen=True)
class NpzSource(ArraySource):
    """Arrays `features` (n, d) and `target` (n,) of a `.npz` file; its array `feature_names` is optional."""

    path: str | Path
    features: str = "X"
    target: str = "y"

    def open(self) -> Arrays:
        """Load the arrays; raise `DataError` for a file that is no `.npz`, or an array that is not in it."""
        archive = _load(self.path, mapped=False)
        if not isinstance(archive, NpzFile):
            raise DataError(f"{self.path} is not an .npz file. Name it as npy, not npz.")
        with archive:
            X, y = self._member(archive, self.features), self._member(archive, self.target)
            if X.ndim != 2:
                raise DataError(f"{self.path}, array {self.features!r}: needs shape (n, d), got {X.shape}.")
            positions = np.arange(X.shape[1])
            names = default_names(positions)
            if "feature_names" in archive:
                names = tuple(map(str, np.atleast_1d(self._member(archive, "feature_names"))))
        self._check_names(names, X.shape[1])
        return Arrays(str(self.path), X, positions, y, names, self.target)

    def _member(self, archive: NpzFile, name: str) -> NDArray[Any]:
        if name not in archive:
            raise DataError(f"{self.path}: no array {name!r}. {did_you_mean(name, archive.files)}")
        try:
            return np.asarray(archive[name])
        except _UNREADABLE as error:
            raise _unreadable(self.path, error, f", array {name!r}") from error

    def _check_names(self, names: tuple[str, ...], num_features: int) -> None:
        repeated = [name for name, times in Counter(names).items() if times > 1 or not name.strip()]
        if len(names) != num_features or repeated:
            raise DataError(
                f"{self.path}, array 'feature_names': needs {num_features} different names that are not "
                f"empty, got {len(names)}, of them wrong {repeated[:3]}. Mend the array or leave it out."
            )


def load_array(path: str | Path, name: str) -> NDArray[Any]:
    """Return the array of an `.npy` file, or the one called `name` of an `.npz`; raise `DataError` if there is none."""
    loaded = _load(path, mapped=True)
    if not isinstance(loaded, NpzFile):
        return loaded
    with loaded:
        return NpzSource(path)._member(loaded, name)


def _load(path: str | Path, *, mapped: bool) -> NDArray[Any] | NpzFile:
    try:
        loaded: NDArray[Any] | NpzFile = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    return loaded


def _unreadable(path: str | Path, error: Exception, where: str = "") -> DataError:
    return DataError(
        f"{path}{where} cannot be read as NumPy data: {error}. "
        "Check the path; save numbers (no objects) with numpy.save or numpy.savez."
    )
