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
from workers.data.rows import Dense, Rows
from workers.data.scatter import Scatter
from workers.data.source import Classes, DataInfo, Dtype, DtypeChoice, Ints, Source, Task, check_rows, empty_rows
from workers.data.tally import MAX_CLASSES, Label, class_names, class_numbers
from workers.errors import DataError, Problems, did_you_mean

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
    """What is read of a dataset, whatever the block: columns, what X and y become, and a name for the dataset."""

    name: str
    features: tuple[str, ...]
    target: str
    weight: str | None = None
    dtype: Dtype = "float64"


class Table(NamedTuple):
    """Rows: X (n, d), y (n,) as it is stored, weights (n,), and how long each column's arrays are, 0 for numbers."""

    X: Dense
    y: Dense
    weights: Dense | None
    widths: tuple[int, ...]


class Facts(NamedTuple):
    """What a chunk holds: the widths of its blocks, digests, rows by label, its weight; or what is wrong with it."""

    widths: Sequence[tuple[int, ...]] = ()
    X_digests: Sequence[bytes] = ()
    y_digests: Sequence[bytes] = ()
    weight_digests: Sequence[bytes] = ()
    total_weight: float = 1.0
    labels: dict[Label, int] | None = None
    problem: str = ""


class RayDatasetSource(Source):
    """The columns `features` (by default all but `target` and `weight`) of a Ray Data dataset.

    A column holds numbers, or arrays of numbers of one shape: the features of `c` are then `c[0]`, `c[1]`, ...
    Making numbers of texts and filling missing cells is the business of Ray Data and its preprocessors.
    The dataset is computed once, into the object store (`materialize`); what travels with this source are references
    to its blocks, and how many rows each has. Rows are in the order in which Ray Data computes them: for the same one
    in every run, set `DataContext.get_current().execution_options.preserve_order`. Needs Ray Data (`pip install
    'apportion[data]'`), and a connection to Ray. Raise `DataError` for columns that are not there, and for a target
    that is weight or feature as well.
    """

    holds_references = True

    def __init__(
        self,
        dataset: Any,
        target: str,
        features: Sequence[str] | None = None,
        *,
        weight: str | None = None,
        dtype: DtypeChoice = "auto",
        name: str = "the Ray dataset",
    ) -> None:
        if target == weight or target in (features or ()):
            what = "target and weight" if target == weight else "target and feature"
            raise DataError(f"{name}: column {target!r} cannot be both {what}. Name another.")
        blocks = dataset.materialize()
        names = blocks.columns() or []
        others = [target] if weight is None else [target, weight]
        for column in (*others, *(features or ())):
            if column not in names:
                raise DataError(f"{name}: no column {column!r}. {did_you_mean(column, names)}")
        chosen = [column for column in names if column not in others] if features is None else features
        self.columns = Columns(name, tuple(chosen), target, weight, "float32" if dtype == "float32" else "float64")
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
        digests = [[fact.X_digests for fact in facts], [fact.y_digests for fact in facts]]
        if task == "classification":
            classes = class_names(counts, f"{columns.name}, target {columns.target!r}", self.num_rows)
            digests[1] = ray.get([hash_.remote(columns, classes, *self._chunk(start)) for start in starts])
        if columns.weight is not None:
            digests.append([fact.weight_digests for fact in facts])
        return DataInfo(
            num_rows=self.num_rows,
            feature_names=_names(columns.features, facts[0].widths[0]),
            target_name=columns.target,
            classes=classes,
            fingerprint=fingerprint(*map(chain.from_iterable, digests)),
            dtype=columns.dtype,
            weighted=columns.weight is not None,
            class_counts=_class_counts(counts, classes),
        )

    def read(self, rows: Ints, info: DataInfo) -> Rows:
        """Return the n `rows`; only blocks that hold some of them are fetched, one after another."""
        return self.read_parts([rows], info)[0]

    def read_parts(self, parts: Sequence[Ints], info: DataInfo) -> list[Rows]:
        """Return the rows of each part, read block by block, each to its place."""
        for rows in parts:
            check_rows(rows, info)
        read, scatter = [empty_rows(len(part), info) for part in parts], Scatter(parts)
        starts = np.cumsum([0, *(piece.num_rows for piece in self.pieces)])
        ends = scatter.before(starts)
        for place in np.flatnonzero(np.diff(ends)).tolist():
            piece = self.pieces[place]
            table = _read(self.columns, ray.get(piece.block), piece.start, piece.stop)
            for part, to, picked in scatter.places(int(ends[place]), int(ends[place + 1])):
                _put(table, picked - starts[place], read[part], to, info)
        return read

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
    names = [*columns.features, columns.target, *([] if columns.weight is None else [columns.weight])]
    values = {name: np.asarray(part.to_numpy(name)) for name in names}
    arrays, problems = [values[name] for name in columns.features], Problems(columns.name)
    for name, array in values.items():
        if name != columns.target and (array.dtype.kind not in "biuf" or array.ndim > 1 + (name != columns.weight)):
            what = f"holds type {array.dtype} of shape {array.shape[1:]} where numbers are expected"
            problems.add(f"column {name!r}", "", what, TYPE_HINT)
    problems.check()
    X = np.empty((stop - start, sum(1 if array.ndim == 1 else array.shape[1] for array in arrays)), columns.dtype)
    first = 0
    with np.errstate(over="ignore"):  # what overflows float32 is infinite, and found
        for array in arrays:
            flat = array.reshape(stop - start, -1)
            X[:, first : first + flat.shape[1]] = flat
            first += flat.shape[1]
    weights = None if columns.weight is None else values[columns.weight].astype(np.float64)
    return Table(X, values[columns.target], weights, tuple(0 if a.ndim == 1 else a.shape[1] for a in arrays))


def _look(columns: Columns, task: Task, first: int, within: Sequence[tuple[int, int]], *blocks: Any) -> Facts:
    """Check the rows of a chunk, of which the first is row `first` of the dataset."""
    try:
        parts = [_read(columns, block, *rows) for block, rows in zip(blocks, within, strict=True)]
        widths = tuple({part.widths for part in parts})
        if len(widths) > 1:
            return Facts(widths)
        X, y = np.concatenate([part.X for part in parts]), np.concatenate([part.y for part in parts])
        found = [part.weights for part in parts if part.weights is not None]
        weights = np.concatenate(found) if found else np.ones(0)
        y = _checked_target(y, columns, task)
        _check_values(X, y, weights, columns, _names(columns.features, widths[0]), first)
    except DataError as error:
        return Facts(problem=str(error))
    facts = Facts(widths, hashed(X), weight_digests=hashed(weights), total_weight=float(weights.sum()))
    return (
        facts._replace(labels=Counter(y.tolist())) if task == "classification" else facts._replace(y_digests=hashed(y))
    )


def _hash_classes(
    columns: Columns, classes: Classes, within: Sequence[tuple[int, int]], *blocks: Any
) -> Sequence[bytes]:
    """Return the digests of a chunk's class numbers."""
    target = Columns(columns.name, (), columns.target)
    parts = [_read(target, block, *rows).y for block, rows in zip(blocks, within, strict=True)]
    return hashed(class_numbers(np.concatenate(parts).tolist(), classes))


def _checked_target(y: Dense, columns: Columns, task: Task) -> Dense:
    """Return y as numbers for regression; raise `DataError` for what can be no target."""
    where = f"{columns.name}, target {columns.target!r}"
    if y.ndim != 1 or y.dtype.kind not in ("biuf" if task == "regression" else "biufOUT"):
        raise DataError(f"{where}: holds type {y.dtype} of shape {y.shape[1:]}, for {task}. {TYPE_HINT}")
    if task == "regression":
        with np.errstate(over="ignore"):
            return y.astype(columns.dtype)
    if len(set(y.tolist())) > MAX_CLASSES:
        raise DataError(f"{where}: more than {MAX_CLASSES} classes. Use task: regression, or another target.")
    return y


def _check_values(X: Dense, y: Dense, weights: Dense, columns: Columns, names: Sequence[str], first: int) -> None:
    """Raise `DataError` for what is missing or not finite, and for negative weights."""
    problems = Problems(columns.name)
    for row, column in np.argwhere(~np.isfinite(X)):
        problems.add(f"row {first + row}", f"column {names[column]!r}", f"got {X[row, column]}", HINT)
    labels = y.tolist() if y.dtype.kind in "OUT" else []
    bad = [row for row, label in enumerate(labels) if label in (None, "") or label != label]  # noqa: PLR0124  (NaN)
    for row in bad if labels else np.flatnonzero(~np.isfinite(y)).tolist():
        problems.add(f"row {first + row}", f"target {columns.target!r}", f"got {y[row]!r}", HINT)
    for row in np.flatnonzero(~(np.isfinite(weights) & (weights >= 0))):
        problems.add(f"row {first + row}", f"weight {columns.weight!r}", f"got {weights[row]}", HINT)
    problems.check()


def _check(facts: list[Facts], columns: Columns) -> None:
    for fact in facts:
        if fact.problem:
            raise DataError(fact.problem)
    if len({widths for fact in facts for widths in fact.widths}) > 1:
        raise DataError(f"{columns.name}: arrays of different lengths in one column. {TYPE_HINT}")
    if columns.weight is not None and not any(fact.total_weight for fact in facts):
        raise DataError(f"{columns.name}, weight {columns.weight!r}: all weights are 0. Give positive weights.")


def _put(table: Table, picked: Ints, rows: Rows, to: Ints, info: DataInfo) -> None:
    rows.X[to] = table.X[picked]
    targets = table.y[picked]
    rows.y[to] = class_numbers(targets.tolist(), info.classes) if info.classes else targets
    if rows.weights is not None and table.weights is not None:
        rows.weights[to] = table.weights[picked]


def _class_counts(counts: Counter[Label], classes: Classes | None) -> tuple[int, ...]:
    if classes is None:
        return ()
    labels = list(counts)
    places = class_numbers(labels, classes).astype(np.int64)
    found = np.zeros(len(classes), dtype=np.int64)
    np.add.at(found, places, [counts[label] for label in labels])
    return tuple(found.tolist())


def _names(features: Sequence[str], widths: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the features; a width of 0 is that of a plain column."""
    named = zip(features, widths, strict=True)
    return tuple(
        name for column, width in named for name in ([f"{column}[{i}]" for i in range(width)] if width else [column])
    )
