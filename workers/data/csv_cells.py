"""From a block of a CSV to arrays: quickly where it is plain, with care and messages where it is not."""

from math import isfinite, isinf

import numpy as np

from workers.data.csv_layout import Layout, Parsed, put_categories
from workers.data.csv_quick import parse_plain
from workers.data.csv_records import Block, Record
from workers.data.rows import Floats
from workers.data.source import Column
from workers.data.table_rules import MISSING
from workers.data.tally import Label, number
from workers.errors import DataError, Problems, did_you_mean

FILL_HINT = "Fill the cells, or set missing: drop (leave such rows out) or missing: mean."
GIVEN_HINT = "Fill the cells, or leave the rows out; a model trained with missing: mean fills them by itself."
DROP_HINT = "Fill the cells, or set missing: drop to leave such rows out."
TARGET_HINT = "Make the cells numbers, or use task: classification."
WEIGHT_HINT = "Give weights of 0 or more."
FINITE_HINT = "Give finite numbers, or leave the rows out."
LARGE_HINT = "Give smaller numbers, or set dtype: float64."
RAGGED_HINT = "Give every row as many cells as the header; quote cells that hold commas."


def parse(block: Block, layout: Layout, problems: Problems, picked: list[int] | None = None) -> Parsed:
    """Return the kept rows of a block, or those `picked` of them (their numbers, ascending).

    What cannot be used is noted in `problems`. The numbers are those of Python's `float`, whichever way is taken.
    """
    parsed = parse_plain(block, layout, picked)
    return _carefully(block, layout, problems, picked) if parsed is None else parsed


def new_text(text: str, column: Column) -> tuple[str, str]:
    """Return what a message says of a text that is none of a column's categories, and a hint, the same for them all."""
    return f"got {text!r}, which was not there when the data was described", did_you_mean("", column.categories)


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
            put_categories(X[:, start : start + column.width], _categories(records, column, problems))
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
            hint = GIVEN_HINT if layout.target is None else DROP_HINT if column in layout.others else FILL_HINT
            problems.add(record.place, column.label, what, hint)
    return not missing


def _categories(records: list[Record], column: Column, problems: Problems) -> list[int]:
    """Return the places (n,) of a column's texts among its categories, -1 where missing or noted in `problems`."""
    places = {category: place for place, category in enumerate(column.categories)}
    texts = [record.cells[column.position] for record in records]
    for record, text in zip(records, texts, strict=True):
        if text not in places and text not in MISSING:
            problems.add(record.place, column.label, *new_text(text, column))
    return [places.get(text, -1) for text in texts]


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
