"""Columns of Arrow tables as the numbers and texts that they hold; pyarrow is imported where it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from workers.data.csv_cells import FINITE_HINT, MISSING
from workers.data.rows import Floats
from workers.data.source import Column, Ints
from workers.data.tally import Label
from workers.errors import DataError, Problems

Kind = Literal["number", "text", "other"]

PARQUET_HINT = "pip install 'apportion[parquet]'"


def arrow() -> Any:
    """Return the module `pyarrow`; raise `DataError` that says how to install it."""
    try:
        import pyarrow  # noqa: PLC0415
    except ImportError as error:
        raise DataError(f"Parquet needs pyarrow: {PARQUET_HINT}.") from error
    return pyarrow


def kind(type_: Any) -> Kind:
    """Say what a column of an Arrow type holds; dates, lists and structures are `other`."""
    types = arrow().types
    if types.is_dictionary(type_):
        return kind(type_.value_type)
    if types.is_integer(type_) or types.is_floating(type_) or types.is_boolean(type_) or types.is_decimal(type_):
        return "number"
    if types.is_null(type_):
        return "number"  # nothing but missing cells
    return "text" if types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_) else "other"


def numbers(column: Any) -> Floats:
    """Return the numbers (n,) in a column, NaN where there is none."""
    pa = arrow()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if pa.types.is_decimal(column.type):
        return np.array([np.nan if value is None else float(value) for value in column.to_pylist()])
    if pa.types.is_integer(column.type) and not column.null_count:
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    values: Floats = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def texts(column: Any) -> tuple[Floats, list[str]]:
    """Return (codes, values): code i (n,) is the place of row i's text among `values`, NaN where it is missing.

    Blanks around texts do not count, and a text that is missing in a CSV is missing here; `values` may hold more
    than the rows do.
    """
    pa = arrow()
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    places: dict[str, int] = {}
    known = np.full(len(encoded.dictionary) + 1, np.nan)
    for code, text in enumerate(encoded.dictionary.to_pylist()):
        if text is not None and text.strip() not in MISSING:
            known[code] = places.setdefault(text.strip(), len(places))
    codes = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return known[codes], list(places)


@dataclass(frozen=True)
class Cells:
    """Rows of a table: X (n, d) and y (n,), NaN where a cell is missing; y holds places among `labels` for text."""

    X: Floats
    y: Floats
    labels: tuple[str, ...] = ()

    def whole(self) -> Cells:
        """Return the rows that miss no cell."""
        absent = np.isnan(self.X).any(axis=1) | np.isnan(self.y)
        return Cells(self.X[~absent], self.y[~absent], self.labels) if absent.any() else self

    def targets(self, rows: Ints | slice = slice(None)) -> list[Label]:
        """Return what these rows have as their class; none of them may miss it."""
        values = self.y[rows].tolist()
        return [self.labels[int(value)] for value in values] if self.labels else values


def features(table: Any, columns: Sequence[Column]) -> Floats:
    """Return X (n, d) of a record batch or table: numbers as they are, categories as 0 and 1, NaN where missing.

    Raise `DataError` for a text that is none of the categories.
    """
    X = np.zeros((table.num_rows, sum(column.width for column in columns)))
    start = 0
    for column in columns:
        if column.categories:
            X[:, start : start + column.width] = _one_hot(table.column(column.name), column)
        else:
            X[:, start] = numbers(table.column(column.name))
        start += column.width
    return X


def read_cells(table: Any, columns: Sequence[Column], target: str) -> Cells:
    """Return the cells of a record batch."""
    X, column = features(table, columns), table.column(target)
    if kind(column.type) != "text":
        return Cells(X, numbers(column))
    y, labels = texts(column)
    return Cells(X, y, tuple(labels))


def complain(
    X: Floats, columns: Sequence[Column], rows: Ints, problems: Problems, hint: str | None, where: str = ""
) -> None:
    """Note the cells of X (n, d) that are infinite, and if there is a `hint` for them those that are missing.

    Its rows are numbered `rows` (n,), from 0, in the file.
    """
    first = 0
    for column in columns:
        values = X[:, first]
        first += column.width
        for row in np.flatnonzero(~np.isfinite(values)):
            place = f"{where}row {rows[row] + 1}"
            if np.isinf(values[row]):
                problems.add(place, column.label, f"got {values[row]}, which is not finite", FINITE_HINT)
            elif hint is not None:
                problems.add(place, column.label, "is missing", hint)


def _one_hot(values: Any, column: Column) -> Floats:
    codes, found = texts(values)
    places = {category: place for place, category in enumerate(column.categories)}
    rows = np.full((len(found) + 1, column.width), np.nan)
    rows[: len(found)] = 0.0
    for code, text in enumerate(found):
        if text in places:
            rows[code, places[text]] = 1.0
    new = {code for code, text in enumerate(found) if text not in places} & set(codes[~np.isnan(codes)].astype(int))
    if new:
        text = found[min(new)]
        raise DataError(f"{column.label}: the value {text!r} was not there when the data was described.")
    return rows[np.where(np.isnan(codes), len(found), codes).astype(np.int64)]
