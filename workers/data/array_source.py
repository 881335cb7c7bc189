"""The common part of every source whose data are NumPy arrays, in memory or read from a file block by block."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from workers.data.means import fill
from workers.data.rows import Floats, Rows
from workers.data.scatter import Scatter
from workers.data.source import Column, DataInfo, Dtype, DtypeChoice, Ints, Source, Task, check_rows, empty_rows
from workers.data.stamp import Stamp
from workers.data.tally import Tally, class_numbers
from workers.errors import DataError, Problems

BLOCK_BYTES = 1 << 23
Span = tuple[int, int]
ArrayMissing = Literal["error", "mean"]


class FileTable(Protocol):
    """A 2-D array that lies in a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""

    def read(self, spans: Iterable[Span]) -> Iterator[NDArray[Any]]:
        """Yield the rows of each span (first, last + 1), which must ascend."""


class Block(NamedTuple):
    """Neighbouring rows as they are stored: X (n, d), y (n,), weights (n,) or None."""

    X: NDArray[Any]
    y: NDArray[Any]
    weights: NDArray[Any] | None


@dataclass(frozen=True)
class Arrays:
    """An opened table: values (n, c), the positions (d,) of its features in it, y (n,), and the names.

    `y` and `weights` (n,) may also be columns of `values`; `stamp` is the state of a file.
    """

    file: str
    values: NDArray[Any] | FileTable
    positions: Ints
    y: NDArray[Any] | int
    feature_names: tuple[str, ...]
    target_name: str
    weights: NDArray[Any] | int | None = None
    stamp: Stamp | None = None

    @property
    def num_rows(self) -> int:
        """The rows of the table."""
        return int(self.values.shape[0])

    @property
    def block_rows(self) -> int:
        """How many rows to take at a time."""
        return max(1, BLOCK_BYTES // (8 * max(1, int(self.values.shape[1]))))

    def blocks(self, spans: Iterable[Span]) -> Iterator[Block]:
        """Yield the rows of each span, which must ascend."""
        wanted = list(spans)
        read = (
            self.values.read(wanted) if not isinstance(self.values, np.ndarray) else self._slices(self.values, wanted)
        )
        for values, (first, last) in zip(read, wanted, strict=True):
            y, weights = (
                values[:, part] if isinstance(part, int) else None if part is None else part[first:last]
                for part in (self.y, self.weights)
            )
            yield Block(values[:, self._columns], y, weights)  # type: ignore[arg-type]  # y is never None

    @staticmethod
    def _slices(values: NDArray[Any], spans: Iterable[Span]) -> Iterator[NDArray[Any]]:
        return (values[first:last] for first, last in spans)

    @property
    def _columns(self) -> slice | Ints:
        """Return the positions as a slice where they are one, which costs no copy."""
        first = int(self.positions[0]) if len(self.positions) else 0
        run = slice(first, first + len(self.positions))
        return run if np.array_equal(self.positions, np.arange(run.start, run.stop)) else self.positions


class ArraySource(Source):
    """A source that opens as `Arrays`.

    `dtype` is what X and y are in memory; `auto` keeps float32 and float16 as float32 and makes all else float64.
    `missing` says what becomes of NaN in X: refused, or filled with the mean of its column.
    """

    dtype: DtypeChoice = "auto"
    missing: ArrayMissing = "error"

    @abstractmethod
    def open(self) -> Arrays:
        """Return the arrays; raise `DataError` if they cannot be had."""

    def describe(self, task: Task) -> DataInfo:
        """Check every value in blocks; raise `DataError` on NaN, infinity, unfit types or shapes, no rows."""
        arrays = self.open()
        dtype, mean = self._dtype(arrays), self.missing == "mean"
        tally = Tally(task, arrays.file, arrays.target_name, dtype, means=mean)
        _check_types(arrays, task)
        problems = Problems(arrays.file)
        start = 0
        for block in arrays.blocks(_every(arrays.num_rows, arrays.block_rows)):
            with np.errstate(over="ignore"):  # what overflows float32 is infinite, and found
                X = block.X.astype(dtype, copy=False)
                y = block.y if task == "classification" else block.y.astype(dtype)
            weights = None if block.weights is None else block.weights.astype(np.float64)
            _check_values(Block(X, y, weights), start, arrays, problems, mean=mean)
            tally.add(X, y.tolist() if task == "classification" else y, weights)
            start += len(X)
        problems.check()
        names = arrays.feature_names
        columns = tuple(Column(int(at), name) for at, name in zip(arrays.positions, names, strict=True)) if mean else ()
        if arrays.stamp is not None:
            arrays.stamp.check(arrays.file)
        return tally.info(names, columns, stamp=arrays.stamp)

    def read(self, rows: Ints, info: DataInfo) -> Rows:
        """Return the n `rows`; of a file, only the blocks with these rows are read."""
        return self.read_parts([rows], info)[0]

    def read_parts(self, parts: Sequence[Ints], info: DataInfo) -> list[Rows]:
        """Return the rows of each part, read in the order in which they lie, each to its place."""
        for rows in parts:
            check_rows(rows, info)
        arrays = self.open()
        if info.stamp is not None:
            info.stamp.check(arrays.file)
        if (arrays.num_rows, arrays.feature_names) != (info.num_rows, info.feature_names):
            raise DataError(f"{arrays.file} has changed since it was described. Describe it again.")
        read, scatter = [empty_rows(len(part), info) for part in parts], Scatter(parts)
        runs = scatter.runs(arrays.block_rows)
        blocks = arrays.blocks((first, last) for first, last, _, _ in runs)
        means = info.means
        for (first, _, begin, end), block in zip(runs, blocks, strict=True):
            for part, places, picked in scatter.places(begin, end):
                _put(block, picked - first, read[part], places, info, means)
        if info.stamp is not None:
            info.stamp.check(arrays.file)
        return read

    def _dtype(self, arrays: Arrays) -> Dtype:
        if self.dtype == "auto":
            stored = arrays.values.dtype
            return "float32" if stored.kind == "f" and stored.itemsize <= 4 else "float64"
        return self.dtype


def default_names(positions: Ints) -> tuple[str, ...]:
    """Return `x0`, `x1`, ... for columns that have no names."""
    return tuple(f"x{position}" for position in positions)


def _every(num_rows: int, step: int) -> Iterator[Span]:
    return ((start, min(start + step, num_rows)) for start in range(0, num_rows, step))


def _put(block: Block, picked: Ints, rows: Rows, places: Ints, info: DataInfo, means: Floats) -> None:
    """Put the `picked` rows of a block to their places."""
    X = block.X[picked].astype(info.dtype, copy=False)
    fill(X, means)
    rows.X[places] = X
    targets = block.y[picked]
    rows.y[places] = class_numbers(targets.tolist(), info.classes) if info.classes else targets
    if rows.weights is not None and block.weights is not None:
        rows.weights[places] = block.weights[picked]


def _check_types(arrays: Arrays, task: Task) -> None:
    values, y, weights = arrays.values, arrays.y, arrays.weights
    if len(values.shape) != 2 or (not isinstance(y, int) and y.shape != (arrays.num_rows,)):
        raise DataError(
            f"{arrays.file}: needs features of shape (n, d) and a target of shape (n,), "
            f"got {values.shape} and {y.shape if isinstance(y, np.ndarray) else (arrays.num_rows,)}. Reshape them."
        )
    if values.dtype.kind not in "biuf":
        raise DataError(f"{arrays.file}: got features of type {values.dtype}. Store them as numbers.")
    type_of_y = y.dtype if isinstance(y, np.ndarray) else values.dtype
    if type_of_y.kind not in ("biufU" if task == "classification" else "biuf"):
        raise DataError(
            f"{arrays.file}, target {arrays.target_name!r}: got type {type_of_y} for {task}. "
            "Store numbers, or text labels for classification."
        )
    if isinstance(weights, np.ndarray) and (weights.shape != (arrays.num_rows,) or weights.dtype.kind not in "biuf"):
        raise DataError(
            f"{arrays.file}: needs a number as the weight of each of {arrays.num_rows} rows, got {weights.dtype} "
            f"of shape {weights.shape}. Mend the weights or leave them out."
        )


def _check_values(block: Block, start: int, arrays: Arrays, problems: Problems, *, mean: bool) -> None:
    """Note what is not finite (NaN in X is missing where `mean` is set), and weights that are negative."""
    X, y, weights = block
    bad_y = y == "" if y.dtype.kind == "U" else ~np.isfinite(y)
    bad_X = np.isinf(X) if mean else ~np.isfinite(X)
    bad_weights = np.zeros(len(y), dtype=bool) if weights is None else ~(np.isfinite(weights) & (weights >= 0))
    hint = "Mend the values, or leave the rows out (rows count from 0)."
    fill_hint = "Fill the values, or set missing: mean (rows count from 0)."
    for row in np.flatnonzero(bad_X.any(axis=1) | bad_y | bad_weights):
        place = f"row {start + row}"
        for column in np.flatnonzero(bad_X[row]):
            value = X[row, column]
            name = f"column {arrays.feature_names[column]!r}"
            problems.add(place, name, f"got {value}", fill_hint if np.isnan(value) else hint)
        if bad_y[row]:
            problems.add(place, f"target {arrays.target_name!r}", f"got {y[row].item()!r}", hint)
        if weights is not None and bad_weights[row]:
            what = f"got {weights[row]}, which is not finite or negative"
            problems.add(place, "weight", what, "Give weights of 0 or more.")
