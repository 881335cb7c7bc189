"""A Ray Data dataset: its blocks stay on the nodes where they lie, and are looked at there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, get_args

import numpy as np
import ray

from workers.data.fingerprint import CHUNK_ROWS, fingerprint, hashed
from workers.data.rows import Dense, Floats, Rows
from workers.data.source import Classes, DataInfo, Ints, Source, Task, aligned_empty, check_rows
from workers.data.tally import MAX_CLASSES, Label, class_names, class_numbers
from workers.errors import MAX_PROBLEMS, DataError, Problems, did_you_mean

HINT = "Mend the rows with the dataset's filter or map_batches (rows count from 0)."
TYPE_HINT = "Convert the column with map_batches, or a preprocessor of ray.data, or leave it out with `features`."


@dataclass(frozen=True)
class Piece:
    """Rows `start` to `stop` of a block."""

    block: Any
    start: int
    stop: int

    @property
    def num_rows(self) -> int:
        """How many rows these are."""
        return self.stop - self.start


@dataclass(frozen=True)
class Columns:
    """What is read of a dataset, whatever the block: the names of the features and of the target, and a word for it."""

    features: tuple[str, ...]
    target: str
    name: str


class Table(NamedTuple):
    """Rows: X (n, d), y (n,) as it is stored, and how long the arrays of each column are, 0 for one of numbers."""

    X: Floats
    y: Dense
    widths: tuple[int, ...]


class Facts(NamedTuple):
    """What a chunk holds: the widths of its blocks, digests of X and y, rows by label; or what is wrong with it."""

    widths: Sequence[tuple[int, ...]] = ()
    X_digests: Sequence[bytes] = ()
    y_digests: Sequence[bytes] = ()
    labels: dict[Label, int] | None = None
    problem: str = ""


class RayDatasetSource(Source):
    """The columns `features` (all but `target` by default) of a Ray Data dataset.

    A column holds numbers, or arrays of numbers of one shape: the features of `c` are then `c[0]`, `c[1]`, ...
    Making numbers of texts and filling missing cells is the business of Ray Data and its preprocessors.
    The dataset is computed once, into the object store (`materialize`); what travels with this source are references
    to its blocks, and how many rows each has. Rows are in the order in which Ray Data computes them: for the same one
    in every run, set `DataContext.get_current().execution_options.preserve_order`. Needs Ray Data (`pip install
    'apportion[data]'`), and a connection to Ray. Raise `DataError` for columns that are not there.
    """

    def __init__(
        self, dataset: Any, target: str, features: Sequence[str] | None = None, name: str = "the Ray dataset"
    ) -> None:
        blocks = dataset.materialize()
        names = blocks.columns() or []
        for column in (target, *(features or ())):
            if column not in names:
                raise DataError(f"{name}: no column {column!r}. {did_you_mean(column, names)}")
        chosen = [column for column in names if column != target] if features is None else features
        self.columns = Columns(tuple(chosen), target, name)
        self.pieces = tuple(piece for bundle in blocks.iter_internal_ref_bundles() for piece in _pieces(bundle))

    @property
    def num_rows(self) -> int:
        """How many rows the dataset has."""
        return sum(piece.num_rows for piece in self.pieces)

    def describe(self, task: Task) -> DataInfo:
        """Check every value where it lies; only small facts come here.

        There is a task for each `CHUNK_ROWS` rows, which Ray places by where the blocks are, and for classification a
        second one, which hashes class numbers. Raise `DataError` for the first chunk with NaN, infinity, or what is no
        number, for no rows, or for unfit labels.
        """
        if task not in get_args(Task):
            raise DataError(f"unknown task {task!r}. {did_you_mean(str(task), get_args(Task))}")
        columns, starts = self.columns, range(0, self.num_rows, CHUNK_ROWS)
        if not columns.features or not starts:
            raise DataError(f"{columns.name} has {self.num_rows} rows and {len(columns.features)} features. Add some.")
        look, hash_ = ray.remote(_look), ray.remote(_hash_classes)
        facts: list[Facts] = ray.get([look.remote(columns, task, start, *self._chunk(start)) for start in starts])
        _check(facts, columns)
        counts = sum((Counter(fact.labels) for fact in facts), Counter[Label]())
        classes: Classes | None = None
        y_digests = [fact.y_digests for fact in facts]
        if task == "classification":
            classes = class_names(counts, f"{columns.name}, target {columns.target!r}", self.num_rows)
            y_digests = ray.get([hash_.remote(columns, classes, *self._chunk(start)) for start in starts])
        digest = fingerprint(*(chain.from_iterable(part) for part in ([fact.X_digests for fact in facts], y_digests)))
        names = _names(columns.features, facts[0].widths[0])
        return DataInfo(self.num_rows, names, columns.target, classes, digest)

    def read(self, rows: Ints, info: DataInfo) -> Rows:
        """Return the n `rows`; only blocks that hold some of them are fetched, one after another."""
        check_rows(rows, info)
        X, y = aligned_empty((len(rows), info.num_features)), aligned_empty((len(rows),))
        order = np.argsort(rows, kind="stable")
        starts = np.cumsum([0, *(piece.num_rows for piece in self.pieces)])
        bounds = np.searchsorted(rows[order], starts)
        for place in np.flatnonzero(np.diff(bounds)):
            to, piece = order[bounds[place] : bounds[place + 1]], self.pieces[place]
            table = _read(self.columns, ray.get(piece.block), piece.start, piece.stop)
            wanted = rows[to] - starts[place]
            X[to], targets = table.X[wanted], table.y[wanted]
            y[to] = class_numbers(targets.tolist(), info.classes) if info.classes else targets
        return Rows(X, y)

    def _chunk(self, start: int) -> list[Any]:
        """Return what holds the chunk of rows from `start` on: [(start, stop), ...] in blocks, and then the blocks."""
        within, blocks, first = [], [], 0
        for piece in self.pieces:
            begin, end = max(start - first, 0), min(start + CHUNK_ROWS - first, piece.num_rows)
            if begin < end:
                within.append((piece.start + begin, piece.start + end))
                blocks.append(piece.block)
            first += piece.num_rows
        return [within, *blocks]


def _pieces(bundle: Any) -> Iterator[Piece]:
    for entry, part in zip(bundle.blocks, bundle.slices, strict=True):
        start, stop = (0, entry.metadata.num_rows) if part is None else (part.start_offset, part.end_offset)
        if stop > start:
            yield Piece(entry.ref, start, stop)


def _read(columns: Columns, block: Any, start: int, stop: int) -> Table:
    """Return rows of a block; raise `DataError` for a column that holds no numbers."""
    from ray.data.block import BlockAccessor  # noqa: PLC0415  (an extra)

    part = BlockAccessor.for_block(BlockAccessor.for_block(block).slice(start, stop, copy=False))
    values = part.to_numpy([*columns.features, columns.target])
    arrays = [np.asarray(values[name]) for name in columns.features]
    problems = Problems(columns.name)
    for name, array in zip(columns.features, arrays, strict=True):
        if array.dtype.kind not in "biuf" or array.ndim > 2:
            shape = f" and shape {array.shape[1:]}" if array.ndim > 1 else ""
            problems.add(
                f"column {name!r}", "", f"holds type {array.dtype}{shape} where numbers are expected", TYPE_HINT
            )
    problems.check()
    flat = [array.reshape(stop - start, -1).astype(np.float64, copy=False) for array in arrays]
    X = flat[0] if len(flat) == 1 else np.concatenate([np.zeros((stop - start, 0)), *flat], axis=1)
    widths = tuple(0 if array.ndim == 1 else array.shape[1] for array in arrays)
    return Table(X, np.asarray(values[columns.target]), widths)


def _look(columns: Columns, task: Task, first: int, within: Sequence[tuple[int, int]], *blocks: Any) -> Facts:
    """Check the rows of a chunk, of which the first is row `first` of the dataset."""
    try:
        parts = [_read(columns, block, *rows) for block, rows in zip(blocks, within, strict=True)]
        widths = {part.widths for part in parts}
        if len(widths) > 1:
            return Facts(tuple(widths))
        X, y = (np.concatenate([getattr(part, name) for part in parts]) for name in ("X", "y"))
        _check_values(X, y, _names(columns.features, parts[0].widths), columns, task, first)
    except DataError as error:
        return Facts(problem=str(error))
    if task == "regression":
        return Facts(tuple(widths), hashed(X), hashed(y.astype(np.float64)))
    return Facts(tuple(widths), hashed(X), labels=Counter(y.tolist()))


def _hash_classes(
    columns: Columns, classes: Classes, within: Sequence[tuple[int, int]], *blocks: Any
) -> Sequence[bytes]:
    """Return the digests of a chunk's class numbers."""
    target = Columns((), columns.target, columns.name)
    parts = [_read(target, block, *rows).y for block, rows in zip(blocks, within, strict=True)]
    return hashed(class_numbers(np.concatenate(parts).tolist(), classes))


def _check_values(X: Floats, y: Dense, names: Sequence[str], columns: Columns, task: Task, first: int) -> None:
    where, problems = f"target {columns.target!r}", Problems(columns.name)
    text = y.dtype.kind in "OUST"
    if y.ndim != 1 or y.dtype.kind not in "biufOUT" or (text and task == "regression"):
        raise DataError(f"{columns.name}, {where}: holds type {y.dtype} of shape {y.shape}, for {task}. {TYPE_HINT}")
    bad = np.argwhere(~np.isfinite(X))
    for row, column in bad[: 2 * MAX_PROBLEMS]:
        problems.add(f"row {first + row}", f"column {names[column]!r}", f"got {X[row, column]}", HINT)
    missing = [row for row, label in enumerate(y.tolist()) if label is None or label != label or label == ""]  # noqa: PLR0124
    for row in missing if text else np.flatnonzero(~np.isfinite(y)).tolist():
        problems.add(f"row {first + row}", where, f"got {y[row]!r}", HINT)
    problems.check()
    if task == "classification" and len(set(y.tolist())) > MAX_CLASSES:
        raise DataError(f"{columns.name}, {where}: more than {MAX_CLASSES} classes. Use task: regression.")


def _check(facts: list[Facts], columns: Columns) -> None:
    for fact in facts:
        if fact.problem:
            raise DataError(fact.problem)
    if len({widths for fact in facts for widths in fact.widths}) > 1:
        raise DataError(f"{columns.name}: arrays of different lengths in one column. {TYPE_HINT}")


def _names(features: Sequence[str], widths: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the features; a width of 0 is that of a plain column."""
    named = zip(features, widths, strict=True)
    return tuple(
        name for column, width in named for name in ([f"{column}[{i}]" for i in range(width)] if width else [column])
    )
