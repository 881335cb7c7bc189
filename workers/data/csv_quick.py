"""The quick ways through a block of a CSV in which nothing needs a message."""

from dataclasses import dataclass
from math import isinf

import numpy as np
from numpy.typing import NDArray

from workers.data.csv_layout import Layout, Parsed, put_categories
from workers.data.csv_records import Block
from workers.data.rows import Floats
from workers.data.source import Column
from workers.data.table_rules import MISSING
from workers.data.tally import Label, number


def parse_plain(block: Block, layout: Layout, picked: list[int] | None) -> Parsed | None:
    """Return the kept rows of a block, or those `picked` of them; None where there is anything to think about."""
    lines = block.lines
    if lines is None or any(line.count(",") != layout.width - 1 for line in lines):
        return None
    if layout.missing == "drop":
        parsed = _parse_lines(lines, layout)
        if picked is None or parsed is None:
            return parsed
        return parsed.at(np.array(picked, dtype=np.int64)) if max(picked) < len(parsed.X) else None
    if picked is None:
        return _parse_lines(lines, layout)
    return _parse_lines([lines[row] for row in picked], layout) if max(picked) < len(lines) else None


def _parse_lines(lines: list[str], layout: Layout) -> Parsed | None:
    """Take the quickest way first: NumPy's parser, for numbers only; then Python's `float`, column by column."""
    try:
        parsed = _parse_numbers(lines, layout) or _parse_columns(lines, layout)
    except ValueError:
        return None
    weights = parsed.weights
    missing = _missing_targets(parsed, layout)
    if weights is not None:
        missing |= np.isnan(weights)
    if layout.missing != "mean":
        missing |= np.isnan(parsed.X).any(axis=1)
    if weights is not None and (weights < 0).any():
        return None
    if not missing.any():
        return parsed
    return parsed.at(np.flatnonzero(~missing)) if layout.missing == "drop" else None


def _missing_targets(parsed: Parsed, layout: Layout) -> NDArray[np.bool_]:
    if layout.target is None:
        return np.zeros(len(parsed.X), dtype=bool)
    if not isinstance(parsed.y, list):
        return np.isnan(parsed.y)
    missing = MISSING.intersection(map(str, parsed.y))
    return np.array([label in missing for label in parsed.y] if missing else [False] * len(parsed.y), dtype=bool)


def _parse_numbers(lines: list[str], layout: Layout) -> Parsed | None:
    """Return the rows if every cell in question is a usual number, else None; it spells what it does to `float`."""
    if any(column.categories for column in layout.features):
        return None
    others = [column for column in layout.others if not (layout.labels and column is layout.target)]
    columns = [column.position for column in (*layout.features, *others)]
    try:
        values: Floats = np.loadtxt(lines, delimiter=",", comments=None, usecols=columns, ndmin=2)
    except ValueError:
        return None
    if not (np.abs(values) <= layout.largest).all():
        return None
    d = len(layout.features)
    weights = None if layout.weight is None else values[:, -1]
    if layout.target is None:
        return Parsed(values, np.zeros(0), None)
    if not layout.labels:
        return Parsed(values[:, :d], values[:, d], weights)
    at = layout.target.position
    return Parsed(values[:, :d], _texts([line.split(",", at + 1)[at] for line in lines]), weights)


def _parse_columns(lines: list[str], layout: Layout) -> Parsed:
    """Return the rows, NaN where a cell is missing; raise `ValueError` for what is not plain."""
    cells = ",".join(lines).split(",")
    table = _Table(layout, {column.position: cells[column.position :: layout.width] for column in layout.used})
    X = np.zeros((len(lines), layout.num_features))
    for start, column in layout.starts:
        table.put(X[:, start : start + column.width], column)
    return Parsed(X, table.target(), None if layout.weight is None else table.numbers(layout.weight))


@dataclass(frozen=True)
class _Table:
    """The cells of a plain block by column; `ValueError` means that it is not plain."""

    layout: Layout
    cells: dict[int, list[str]]

    def numbers(self, column: Column) -> Floats:
        """Return numbers (n,), NaN where a cell is missing."""
        cells = self.cells[column.position]
        try:
            values: Floats = np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))
        except ValueError:
            some = (np.nan if cell.strip() in MISSING else float(cell) for cell in cells)
            values = np.fromiter(some, dtype=np.float64, count=len(cells))
        usual = np.abs(values) <= self.layout.largest
        if not usual.all() and any(cells[row].strip() not in MISSING for row in np.flatnonzero(~usual)):
            raise ValueError
        if "_" in "".join(cells):
            raise ValueError  # 1_000 is a number to Python
        return values

    def put(self, X: Floats, column: Column) -> None:
        """Fill X (n, width), which is 0, with the column's features."""
        if not column.categories:
            X[:, 0] = self.numbers(column)
            return
        texts = [str(text) for text in _texts(self.cells[column.position])]
        places = {text: place for place, text in enumerate(column.categories)}
        if any(text not in places and text not in MISSING for text in set(texts)):
            raise ValueError
        put_categories(X, [places.get(text, -1) for text in texts])

    def target(self) -> Floats | list[Label]:
        """Return y (n,)."""
        target = self.layout.target
        if target is None:
            return np.zeros(0)
        return _texts(self.cells[target.position]) if self.layout.labels else self.numbers(target)


def _texts(cells: list[str]) -> list[Label]:
    """Return the stripped texts (n,) of cells; raise `ValueError` for an infinite number, which is no label."""
    texts: dict[str, Label] = {cell: cell.strip() for cell in set(cells)}
    if any(isinf(number(text) or 0.0) for text in texts.values()):
        raise ValueError
    return [texts[cell] for cell in cells]
