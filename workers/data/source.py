"""What a source of data is: it describes itself once, and then reads any of its rows."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workers.data.rows import Floats, Rows
from workers.errors import DataError

Task = Literal["classification", "regression"]
Ints: TypeAlias = NDArray[np.int64]
Classes: TypeAlias = tuple[str, ...] | tuple[int, ...]

ALIGNMENT_BYTES = 64


@dataclass(frozen=True)
class Column:
    """One column of a text file: a number, or one 0/1 feature for each of `categories`."""

    position: int
    name: str
    categories: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The column as a message names it."""
        return f"column {self.name!r}"

    @property
    def width(self) -> int:
        """How many features the column becomes."""
        return len(self.categories) or 1

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of these features: `name`, or `name=value` for each category."""
        return tuple(f"{self.name}={value}" for value in self.categories) or (self.name,)


@dataclass(frozen=True)
class DataInfo:
    """What a source holds: `num_rows` usable rows, named features, and `classes` for classification.

    `fingerprint` is the SHA-256 of X, y and the weights, whatever they were read from; `columns` is a CSV's layout;
    `dtype` is the type of X and y in memory; `row_values` (num_rows,) counts the stored values of each row of sparse
    data, None for dense data; `weighted` says whether rows have weights; `layout` is what a source notes to find
    rows again.
    """

    num_rows: int
    feature_names: tuple[str, ...]
    target_name: str
    classes: Classes | None
    fingerprint: str
    columns: tuple[Column, ...] = ()
    dtype: Literal["float64", "float32"] = "float64"
    row_values: Ints | None = field(default=None, compare=False)
    weighted: bool = False
    layout: Any = field(default=None, compare=False, repr=False)

    @property
    def num_features(self) -> int:
        """The number of columns of X."""
        return len(self.feature_names)

    @property
    def task(self) -> Task:
        """What the data was described for."""
        return "regression" if self.classes is None else "classification"


class Source(ABC):
    """A small, picklable description of where data lies; a worker opens it where it runs."""

    @abstractmethod
    def describe(self, task: Task) -> DataInfo:
        """Read everything once, check it, and say what is there; raise `DataError` for unusable data."""

    @abstractmethod
    def read(self, rows: Ints, info: DataInfo) -> Rows:
        """Return the n `rows`, in their order, in memory of their own.

        y holds class numbers 0..k-1 or the target's values. Raise `DataError` if a row is not there or the
        data is no longer what `info` says.
        """


def aligned_empty(shape: tuple[int, ...]) -> Floats:
    """Return a C-contiguous float64 array of `shape`, not filled, that starts at a multiple of 64 bytes.

    The last bits of a sum may depend on where its operands lie; arrays from here all lie alike.
    """
    size_bytes = 8 * prod(shape)
    memory = np.empty(size_bytes + ALIGNMENT_BYTES, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT_BYTES
    return memory[start : start + size_bytes].view(np.float64).reshape(shape)


def aligned_copy(values: Floats) -> Floats:
    """Return a copy of `values` in memory from `aligned_empty`."""
    copy = aligned_empty(values.shape)
    copy[...] = values
    return copy


def check_rows(rows: Ints, info: DataInfo) -> None:
    """Raise `DataError` unless `rows` (n,) all lie in 0..num_rows-1."""
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise DataError(f"rows must be a 1-D array of integers, got {rows.dtype} of shape {rows.shape}.")
    if rows.size and not 0 <= rows.min() <= rows.max() < info.num_rows:
        raise DataError(f"rows must lie in 0..{info.num_rows - 1}, got rows from {rows.min()} to {rows.max()}.")
