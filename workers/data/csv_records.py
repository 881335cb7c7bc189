"""The records of a CSV file, the missing cells among them, and the numbers that they spell."""

import csv
from collections.abc import Iterable, Iterator
from itertools import islice
from math import isfinite, isinf
from pathlib import Path
from typing import NamedTuple

import numpy as np

from workers.data.rows import Floats
from workers.data.source import Column
from workers.data.tally import Label, class_numbers, number
from workers.errors import DataError, Problems

MISSING = frozenset({"", "nan", "NaN", "NAN"})
BATCH_ROWS = 4096

FILL_HINT = "Fill the cells, or set missing: drop to leave such rows out."
TEXT_HINT = "Make the cells numbers, or set text: drop (leave text columns out) or text: one-hot."
TYPO_HINT = "Make the cells numbers: text: drop and text: one-hot are for columns that are mostly text."
TARGET_HINT = "Make the cells numbers, or use task: classification."
FINITE_HINT = "Give finite numbers, or leave the rows out."
RAGGED_HINT = "Give every row as many cells as the header; quote cells that hold commas."


class Record(NamedTuple):
    """One row: its number among the data rows, from 1, the line where it starts, and its stripped cells."""

    row: int
    line: int
    cells: list[str]

    @property
    def place(self) -> str:
        """Where this record is, for a message."""
        return f"row {self.row} (line {self.line})"


def read_records(path: str | Path) -> Iterator[Record]:
    """Yield the header as row 0, then every row; blank lines do not count.

    Raise `DataError` if the file is not there, not UTF-8, or not CSV.
    """
    line = row = 0
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if cells:
                    yield Record(row, line + 1, list(map(str.strip, cells)))
                    row += 1
                line = reader.line_num
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text after line {line}: {error}. Save it as UTF-8.") from error
    except csv.Error as error:
        raise DataError(f"{path}, line {line + 1}: no CSV: {error}. Look for an open quote.") from error


def batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield the records by the thousand."""
    remaining = iter(records)
    while batch := list(islice(remaining, BATCH_ROWS)):
        yield batch


def complete(
    records: Iterable[Record], columns: tuple[Column, ...], width: int, problems: Problems, *, drop: bool
) -> Iterator[Record]:
    """Yield the records that have `width` cells and no missing one in `columns`; note or `drop` the rest."""
    for record in records:
        cells = record.cells
        if len(cells) != width:
            problems.add(record.place, "", f"has {len(cells)} cells, the header has {width}", RAGGED_HINT)
        elif MISSING.isdisjoint(cells):
            yield record
        else:
            missing = [column for column in columns if cells[column.position] in MISSING]
            if not missing:
                yield record
            elif not drop:
                for column in missing:
                    cell = cells[column.position]
                    what = f"got {cell!r}, which counts as missing" if cell else "is empty"
                    problems.add(record.place, column.label, what, FILL_HINT)


def numbers(batch: list[Record], column: Column, problems: Problems, text_hint: str) -> Floats:
    """Return the numbers (n,) in a column; cells that are none are noted in `problems`."""
    cells = [record.cells[column.position] for record in batch]
    try:
        values: Floats = np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))
        if np.isfinite(values).all() and "_" not in "".join(cells):
            return values
    except ValueError:
        pass
    for record, cell in zip(batch, cells, strict=True):
        value = number(cell)
        if value is None:
            problems.add(record.place, column.label, f"got {cell!r} where a number is expected", text_hint)
        elif not isfinite(value):
            problems.add(record.place, column.label, f"got {cell!r}, which is not finite", FINITE_HINT)
    return np.full(len(batch), np.nan)


def labels(batch: list[Record], column: Column, problems: Problems) -> list[Label]:
    """Return the cells of a column as labels; infinite numbers are noted in `problems`."""
    cells = [record.cells[column.position] for record in batch]
    infinite = {cell for cell in set(cells) if isinf(number(cell) or 0.0)}
    for record, cell in zip(batch, cells, strict=True) if infinite else ():
        if cell in infinite:
            problems.add(record.place, column.label, f"got {cell!r}, which is not finite", FINITE_HINT)
    return list(cells)


def features(
    batch: list[Record], columns: tuple[Column, ...], problems: Problems, text_hint: str = TEXT_HINT
) -> Floats:
    """Return X (n, d) of the records: numbers as they are, categories as 0 and 1."""
    X = np.zeros((len(batch), sum(column.width for column in columns)))
    starts = np.cumsum([0, *(column.width for column in columns)])
    for start, column in zip(starts, columns, strict=False):
        if column.categories:
            cells = [record.cells[column.position] for record in batch]
            places = class_numbers(cells, column.categories).astype(np.int64)
            X[np.arange(len(batch)), start + places] = 1.0
        else:
            X[:, start] = numbers(batch, column, problems, text_hint)
    return X


def with_header(path: str | Path) -> tuple[list[str], Iterator[Record]]:
    """Return the column names and the records; raise `DataError` for names that are empty or not unique."""
    records = read_records(path)
    header = next(records, None)
    if header is None:
        raise DataError(f"{path} is empty. Give a header with column names, and rows.")
    names = header.cells
    problems = Problems(str(path))
    first: dict[str, int] = {}
    for place, name in enumerate(names, start=1):
        where = f"header (line {header.line}), column {place}"
        if not name:
            problems.add(where, "", "has an empty name", "Name every column.")
        elif first.setdefault(name, place) != place:
            problems.add(where, "", f"repeats the name {name!r} of column {first[name]}", "Rename one of them.")
    problems.check()
    return names, records
