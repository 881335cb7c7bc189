"""What a source of data is: it describes itself once, and then reads any of its rows."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import csr_array

from workers.data.rows import Dense, Floats, Matrix, Rows, is_sparse
from workers.data.stamp import Stamp
from workers.errors import DataError

Task = Literal["classification", "regression"]
Dtype = Literal["float64", "float32"]
DtypeChoice = Literal["auto", "float64", "float32"]
Ints: TypeAlias = NDArray[np.int64]
Classes: TypeAlias = tuple[str, ...] | tuple[int, ...]

ALIGNMENT_BYTES = 64


@dataclass(frozen=True)
class Column:
    """One column of a file: a number, or one 0/1 feature for each of `categories`.

    `means` (width,) fill the column's features where its cell is missing; empty where missing cells are refused.
    """

    position: int
    name: str
    categories: tuple[str, ...] = ()
    means: tuple[float, ...] = ()

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

    `fingerprint` is the SHA-256 of X, y and the weights, whatever they were read from; NaN stands for a cell that a
    mean fills. `columns` is a CSV's layout, or the means of other columns; `dtype` is the type of X and y in memory;
    `row_values` (num_rows,) counts the stored values of each row of sparse data, None for dense data; `weighted` says
    whether rows have weights; `class_counts` are the rows of each class; `stamp` is the state of the file that was
    described; `blocks` (blocks + 1, 4) says where the blocks of a CSV begin (see `csv_source`), and `layout` is what
    other sources note to find rows again.
    """

    num_rows: int
    feature_names: tuple[str, ...]
    target_name: str
    classes: Classes | None
    fingerprint: str
    columns: tuple[Column, ...] = ()
    dtype: Dtype = "float64"
    row_values: Ints | None = field(default=None, compare=False)
    weighted: bool = False
    class_counts: tuple[int, ...] = ()
    stamp: Stamp | None = field(default=None, compare=False)
    blocks: Ints | None = field(default=None, compare=False)
    layout: Any = field(default=None, compare=False, repr=False)

    @property
    def num_features(self) -> int:
        """The number of columns of X."""
        return len(self.feature_names)

    @property
    def means(self) -> Floats:
        """The means (features,) of the columns; empty if there are none."""
        return np.array([mean for column in self.columns for mean in column.means])

    @property
    def task(self) -> Task:
        """What the data was described for."""
        return "regression" if self.classes is None else "classification"


class Source(ABC):
    """A small, picklable description of where data lies; a worker opens it where it runs.

    `holds_references` says that it holds references to objects of Ray, which only Ray itself can send elsewhere.
    """

    holds_references: ClassVar[bool] = False

    @abstractmethod
    def describe(self, task: Task) -> DataInfo:
        """Read everything once, check it, and say what is there; raise `DataError` for unusable data."""

    @abstractmethod
    def read(self, rows: Ints, info: DataInfo) -> Rows:
        """Return the n `rows`, in their order, in memory of their own.

        X and y are of `info.dtype`; y holds class numbers 0..k-1 or the target's values. Raise `DataError` if a
        row is not there or the data is no longer what `info` says.
        """

    def read_parts(self, parts: Sequence[Ints], info: DataInfo) -> list[Rows]:
        """Return the rows of each part, in memory of its own, as one `read` of all of them would give them.

        Here the parts are copied out of that one read; a source of large data reads each row to its place instead.
        """
        read = self.read(np.concatenate(parts), info)
        ends = np.cumsum([0, *(len(part) for part in parts)]).tolist()
        return [aligned_rows(read[a:b]) for a, b in pairwise(ends)]


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Dense:
    """Return a C-contiguous array of `shape`, not filled, that starts at a multiple of 64 bytes.

    The last bits of a sum may depend on where its operands lie; arrays from here all lie alike.
    """
    size_bytes = np.dtype(dtype).itemsize * prod(shape)
    memory = np.empty(size_bytes + ALIGNMENT_BYTES, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT_BYTES
    return memory[start : start + size_bytes].view(dtype).reshape(shape)


def aligned_copy(values: Dense) -> Dense:
    """Return a copy of `values` in memory from `aligned_empty`."""
    copy = aligned_empty(values.shape, values.dtype)
    copy[...] = values
    return copy


def aligned_rows(rows: Rows) -> Rows:
    """Return a copy of `rows` in memory from `aligned_empty`; the indices of sparse ones are int32."""
    weights = None if rows.weights is None else aligned_copy(rows.weights)
    return Rows(_aligned_matrix(rows.X), aligned_copy(rows.y), weights)


def _aligned_matrix(X: Matrix) -> Matrix:
    if not is_sparse(X):
        return aligned_copy(X)
    copy = csr_array(X.shape, dtype=X.dtype)
    copy.data = aligned_copy(X.data)
    copy.indices, copy.indptr = (aligned_copy(a.astype(np.int32, copy=False)) for a in (X.indices, X.indptr))
    return copy


def empty_rows(num_rows: int, info: DataInfo) -> Rows:
    """Return dense rows of the shape and type that `info` says, not filled."""
    weights = aligned_empty((num_rows,)) if info.weighted else None
    X = aligned_empty((num_rows, info.num_features), info.dtype)
    return Rows(X, aligned_empty((num_rows,), info.dtype), weights)


def check_rows(rows: Ints, info: DataInfo) -> None:
    """Raise `DataError` unless `rows` (n,) all lie in 0..num_rows-1."""
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise DataError(f"rows must be a 1-D array of integers, got {rows.dtype} of shape {rows.shape}.")
    if rows.size and not 0 <= rows.min() <= rows.max() < info.num_rows:
        raise DataError(f"rows must lie in 0..{info.num_rows - 1}, got rows from {rows.min()} to {rows.max()}.")
