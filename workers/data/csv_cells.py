"""From a block of a CSV to arrays: quickly where it is plain, with care and messages where it is not."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import isfinite, isinf
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.data.csv_records import Block, Record
from workers.data.rows import Floats
from workers.data.source import Column, Dtype, Ints
from workers.data.tally import Label, class_numbers, number
from workers.errors import DataError, Problems

Missing = Literal["error", "drop", "mean"]

MISSING = frozenset({"", "nan", "NaN", "NAN"})
_MISSING_BYTES = frozenset(text.encode() for text in MISSING)

FILL_HINT = "Fill the cells, or set missing: drop (leave such rows out) or missing: mean."
DROP_HINT = "Fill the cells, or set missing: drop to leave such rows out."
TEXT_HINT = "Make the cells numbers, or set text: drop (leave text columns out) or text: one-hot."
TYPO_HINT = "Make the cells numbers: text: drop and text: one-hot are for columns that are mostly text."
TARGET_HINT = "Make the cells numbers, or use task: classification."
WEIGHT_HINT = "Give weights of 0 or more."
FINITE_HINT = "Give finite numbers, or leave the rows out."
LARGE_HINT = "Give smaller numbers, or set dtype: float64."
RAGGED_HINT = "Give every row as many cells as the header; quote cells that hold commas."


@dataclass(frozen=True)
class Layout:
    """Which of a file's `width` columns become features, target and weight, and what is done about missing cells.

    `labels` says that the target holds labels; `dtype` is the type of X and y in memory.
    """

    width: int
    features: tuple[Column, ...]
    target: Column | None = None
    weight: Column | None = None
    labels: bool = False
    missing: Missing = "error"
    text_hint: str = TEXT_HINT
    dtype: Dtype = "float64"

    @property
    def largest(self) -> float:
        """The largest number that the type in memory holds."""
        return float(np.finfo(self.dtype).max)

    @property
    def num_features(self) -> int:
        """The number of columns of X."""
        return sum(column.width for column in self.features)

    @property
    def starts(self) -> Iterator[tuple[int, Column]]:
        """The columns of features, each with its place in X."""
        ends = accumulate((column.width for column in self.features), initial=0)
        return zip(ends, self.features, strict=False)

    @property
    def others(self) -> tuple[Column, ...]:
        """Target and weight, where there are any."""
        return tuple(column for column in (self.target, self.weight) if column is not None)

    @property
    def used(self) -> tuple[Column, ...]:
        """Every column that is looked at."""
        return (*self.features, *self.others)


class Parsed(NamedTuple):
    """The rows that are kept: X (n, d) with NaN for what a mean fills, y (n,) and weights (n,) where there are any."""

    X: Floats
    y: Floats | list[Label]
    weights: Floats | None

    def at(self, rows: Ints) -> "Parsed":
        """Return these rows."""
        y = [self.y[row] for row in rows.tolist()] if isinstance(self.y, list) else self.y[rows]
        return Parsed(self.X[rows], y, None if self.weights is None else self.weights[rows])


def parse(block: Block, layout: Layout, problems: Problems, picked: list[int] | None = None) -> Parsed:
    """Return the kept rows of a block, or those `picked` of them (numbers, ascending); note in `problems` what cannot be used.

    The numbers are those of Python's `float`, whichever way is taken.
    """
    parsed = _quickly(block, layout, picked)
    return _carefully(block, layout, problems, picked) if parsed is None else parsed


def _quickly(block: Block, layout: Layout, picked: list[int] | None) -> Parsed | None:
    """Return what `_carefully` would, or None where there is anything to think about."""
    lines = block.lines
    if lines is None:
        return None
    if picked is not None and layout.missing != "drop":
        if picked and picked[-1] >= len(lines):
            return None
        lines, picked = [lines[row] for row in picked], None
    if any(line.count(b",") != layout.width - 1 for line in lines):
        return None
    cells = b",".join(lines).split(b",") if lines else []
    table = _Table(layout, {column.position: cells[column.position :: layout.width] for column in layout.used})
    try:
        X = np.zeros((len(lines), layout.num_features))
        for start, column in layout.starts:
            table.put(X[:, start : start + column.width], column)
        y, no_target = table.target()
        weights = None if layout.weight is None else table.numbers(layout.weight)
    except ValueError:
        return None
    refused = no_target if weights is None else no_target | ~(weights >= 0)
    missing = refused if layout.missing == "mean" else refused | np.isnan(X).any(axis=1)
    if not missing.any():
        kept = np.arange(len(lines))
    elif layout.missing == "drop" and (weights is None or not (weights < 0).any()):
        kept = np.flatnonzero(~missing)
    else:
        return None
    if picked is not None:
        if picked and picked[-1] >= len(kept):
            return None
        kept = kept[picked]
    return Parsed(X, y, weights) if len(kept) == len(lines) and picked is None else Parsed(X, y, weights).at(kept)


@dataclass(frozen=True)
class _Table:
    """The cells of a plain block by column; `ValueError` means that `_carefully` must look."""

    layout: Layout
    cells: dict[int, list[bytes]]

    def numbers(self, column: Column) -> Floats:
        """Return numbers (n,), NaN where a cell is missing."""
        cells = self.cells[column.position]
        try:
            values: Floats = np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))
        except ValueError:
            some = (np.nan if cell.strip() in _MISSING_BYTES else float(cell) for cell in cells)
            values = np.fromiter(some, dtype=np.float64, count=len(cells))
        usual = np.abs(values) <= self.layout.largest
        if not usual.all() and any(cells[row].strip() not in _MISSING_BYTES for row in np.flatnonzero(~usual)):
            raise ValueError
        if b"_" in b"".join(cells):
            raise ValueError  # 1_000 is a number to Python
        return values

    def put(self, X: Floats, column: Column) -> None:
        """Fill X (n, width), which is 0, with the column's features."""
        if not column.categories:
            X[:, 0] = self.numbers(column)
            return
        texts = self.texts(column)
        places = {text: place for place, text in enumerate(column.categories)}
        if any(text not in places and text not in MISSING for text in set(texts)):
            raise ValueError
        _put_categories(X, [places.get(text, -1) for text in texts])

    def target(self) -> tuple[Floats | list[Label], NDArray[np.bool_]]:
        """Return y (n,), and where it is missing."""
        target = self.layout.target
        if target is None:
            return np.zeros(0), np.zeros(1, dtype=bool)
        if not self.layout.labels:
            values = self.numbers(target)
            return values, np.isnan(values)
        texts = self.texts(target)
        if any(isinf(number(text) or 0.0) for text in set(texts)):
            raise ValueError
        missing = MISSING.intersection(texts)
        return list(texts), np.array([text in missing for text in texts] if missing else [False] * len(texts))

    def texts(self, column: Column) -> list[str]:
        """Return the stripped texts (n,)."""
        cells = self.cells[column.position]
        texts = {cell: cell.decode().strip() for cell in set(cells)}
        return [texts[cell] for cell in cells]


def _carefully(block: Block, layout: Layout, problems: Problems, picked: list[int] | None) -> Parsed:
    records = [record for record in block.records if _is_kept(record, layout, problems)]
    if picked is not None:
        problems.check()
        if picked and picked[-1] >= len(records):
            raise DataError(f"{block.path} has lost rows since it was described. Describe it again.")
        records = [records[row] for row in picked]
    X = np.zeros((len(records), layout.num_features))
    for start, column in layout.starts:
        if column.categories:
            texts = [record.cells[column.position] for record in records]
            present = [text for text in texts if text not in MISSING]
            places = iter(class_numbers(present, column.categories).astype(np.int64).tolist() if present else ())
            _put_categories(X[:, start : start + column.width], [-1 if t in MISSING else next(places) for t in texts])
        else:
            X[:, start] = _numbers(records, column, layout, problems, layout.text_hint)
    y: Floats | list[Label] = np.zeros(0)
    if layout.target is not None:
        y = (
            _labels(records, layout.target, problems)
            if layout.labels
            else _numbers(records, layout.target, layout, problems, TARGET_HINT)
        )
    weights = None if layout.weight is None else _weights(records, layout.weight, layout, problems)
    return Parsed(X, y, weights)


def _is_kept(record: Record, layout: Layout, problems: Problems) -> bool:
    """Say whether a record is whole and has no missing cell that matters; note what is refused."""
    cells = record.cells
    if len(cells) != layout.width:
        problems.add(record.place, "", f"has {len(cells)} cells, the header has {layout.width}", RAGGED_HINT)
        return False
    if MISSING.isdisjoint(cells):
        return True
    refused = layout.others if layout.missing == "mean" else layout.used
    missing = [column for column in refused if cells[column.position] in MISSING]
    if layout.missing != "drop":
        for column in missing:
            cell = cells[column.position]
            what = f"got {cell!r}, which counts as missing" if cell else "is empty"
            problems.add(record.place, column.label, what, DROP_HINT if column in layout.others else FILL_HINT)
    return not missing


def _numbers(records: list[Record], column: Column, layout: Layout, problems: Problems, text_hint: str) -> Floats:
    """Return the numbers (n,) in a column, NaN where a cell is missing or noted in `problems`."""
    values = np.full(len(records), np.nan)
    for place, record in enumerate(records):
        cell = record.cells[column.position]
        if cell in MISSING:
            continue
        value = number(cell)
        if value is None:
            problems.add(record.place, column.label, f"got {cell!r} where a number is expected", text_hint)
        elif not isfinite(value):
            problems.add(record.place, column.label, f"got {cell!r}, which is not finite", FINITE_HINT)
        elif abs(value) > layout.largest:
            problems.add(record.place, column.label, f"got {cell!r}, too large for {layout.dtype}", LARGE_HINT)
        else:
            values[place] = value
    return values


def _labels(records: list[Record], column: Column, problems: Problems) -> list[Label]:
    """Return the cells of a column as labels; infinite numbers are noted in `problems`."""
    cells = [record.cells[column.position] for record in records]
    infinite = {cell for cell in set(cells) if isinf(number(cell) or 0.0)}
    for record, cell in zip(records, cells, strict=True) if infinite else ():
        if cell in infinite:
            problems.add(record.place, column.label, f"got {cell!r}, which is not finite", FINITE_HINT)
    return list(cells)


def _weights(records: list[Record], column: Column, layout: Layout, problems: Problems) -> Floats:
    weights = _numbers(records, column, layout, problems, WEIGHT_HINT)
    for place in np.flatnonzero(weights < 0).tolist():
        what = f"got the weight {records[place].cells[column.position]!r}, which is negative"
        problems.add(records[place].place, column.label, what, WEIGHT_HINT)
    return weights


def _put_categories(X: Floats, places: list[int]) -> None:
    """Put 1 to each row's place, and NaN to rows whose place is -1."""
    at = np.array(places, dtype=np.int64)
    X[np.arange(len(at)), at] = 1.0
    X[at < 0] = np.nan
