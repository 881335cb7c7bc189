"""Columns of Arrow tables as the numbers and texts that they hold; pyarrow is imported where it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isinf
from typing import Any, Literal

import numpy as np

from workers.data.csv_cells import DROP_HINT, FILL_HINT, FINITE_HINT, GIVEN_HINT, LARGE_HINT, WEIGHT_HINT, new_text
from workers.data.rows import Dense, Floats
from workers.data.source import Column, Dtype, Ints
from workers.data.table_rules import MISSING, Missing
from workers.data.tally import Label, number
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
    """Return the numbers (n,) in a column, NaN where there is none; a column of texts is one that are all missing."""
    pa = arrow()
    if kind(column.type) == "text":
        return np.full(len(column), np.nan)
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
class Plan:
    """What becomes of the columns of a table; `labels` says whether the target is one of classes."""

    features: tuple[Column, ...]
    target: Column
    weight: Column | None = None
    labels: bool = False
    missing: Missing = "error"
    dtype: Dtype = "float64"

    @property
    def names(self) -> list[str]:
        """The names of the columns that are read."""
        return [column.name for column in (*self.features, *self.others)]

    @property
    def others(self) -> tuple[Column, ...]:
        """The columns that are no features."""
        return (self.target,) if self.weight is None else (self.target, self.weight)

    @property
    def width(self) -> int:
        """How many features there are."""
        return sum(column.width for column in self.features)


@dataclass(frozen=True)
class Cells:
    """Usable rows of a table: X (n, d), NaN where a mean is to be put, y (n,) or labels, and perhaps weights (n,)."""

    X: Dense
    y: Dense | list[Label]
    weights: Floats | None

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.X)


def _features(table: Any, columns: Sequence[Column], rows: Ints, problems: Problems, where: str) -> Floats:
    """Return X (n, d) of a record batch: numbers as they are, categories as 0 and 1, NaN where missing.

    Texts that are none of the categories are noted in `problems`; `rows` (n,) are the batch's in the file.
    """
    X = np.zeros((table.num_rows, sum(column.width for column in columns)))
    start = 0
    for column in columns:
        if column.categories:
            X[:, start : start + column.width] = _one_hot(table.column(column.name), column, rows, problems, where)
        else:
            X[:, start] = numbers(table.column(column.name))
        start += column.width
    return X


def read_cells(table: Any, plan: Plan, first: int, problems: Problems, where: str = "") -> Cells:
    """Return the usable rows of a record batch, of which the first is row `first` of the file, from 0.

    What is wrong with others is noted in `problems`.
    """
    rows = np.arange(first, first + table.num_rows)
    if plan.missing == "drop":
        kept = complete(table, plan.names)
        table, rows = table.filter(arrow().array(kept)), rows[kept]
    X = _features(table, plan.features, rows, problems, where)
    X, usable = _checked(X, plan.features, plan.dtype, rows, problems, plan.missing, where)
    y, labels = _target(table.column(plan.target.name))
    y, fine = _checked(
        y[:, None], [plan.target], "float64" if plan.labels else plan.dtype, rows, problems, "other", where
    )
    usable &= fine
    weights = None
    if plan.weight is not None:
        column = numbers(table.column(plan.weight.name))[:, None]
        weights, fine = _checked(column, [plan.weight], "float64", rows, problems, "other", where)
        for row in np.flatnonzero(weights[:, 0] < 0):
            problems.add(f"{where}row {rows[row] + 1}", plan.weight.label, f"got {weights[row, 0]}", WEIGHT_HINT)
        usable, weights = usable & fine, weights[usable & fine, 0]
    y, X = y[usable, 0], X if usable.all() else X[usable]
    if not plan.labels:
        return Cells(X, y, weights)
    return Cells(X, [labels[int(code)] for code in y] if labels else y.tolist(), weights)


def complete(table: Any, names: Sequence[str]) -> Any:
    """Return which rows (n,) of a record batch miss no cell of these columns."""
    present = np.ones(table.num_rows, dtype=bool)
    for name in names:
        column = table.column(name)
        present &= ~np.isnan(texts(column)[0] if kind(column.type) == "text" else numbers(column))
    return present


def given_features(table: Any, columns: Sequence[Column], first: int, problems: Problems, where: str = "") -> Floats:
    """Return X (n, d) of a record batch to predict for, of which the first row is row `first` of the file, from 0.

    Noted in `problems` are cells that are not finite, or missing where the columns have no means.
    """
    rows = np.arange(first, first + table.num_rows)
    X = _features(table, columns, rows, problems, where)
    _checked(X, columns, "float64", rows, problems, "mean" if columns and columns[0].means else "given", where)
    return X


def _target(column: Any) -> tuple[Floats, list[str]]:
    """Return numbers and no labels, or places among labels, infinite for those that spell infinity."""
    if kind(column.type) != "text":
        return numbers(column), []
    codes, labels = texts(column)
    codes[np.isin(codes, [code for code, label in enumerate(labels) if isinf(number(label) or 0.0)])] = np.inf
    return codes, labels


def _checked(
    values: Floats,
    columns: Sequence[Column],
    dtype: Dtype,
    rows: Ints,
    problems: Problems,
    missing: Missing | Literal["other", "given"],
    where: str,
) -> tuple[Dense, Any]:
    """Return values (n, d) as `dtype`, and which rows are usable; note in `problems` why others are not."""
    with np.errstate(over="ignore"):  # what overflows float32 is infinite, and found
        cast: Dense = values.astype(dtype, copy=False)
    bad = np.isinf(cast) if missing == "mean" else ~np.isfinite(cast)
    if not bad.any():
        return cast, np.ones(len(values), dtype=bool)
    first = 0
    for column in columns:
        for row in np.flatnonzero(bad[:, first]):
            value = values[row, first]
            what, hint = f"got {value}, which is not finite", FINITE_HINT
            if np.isnan(value):
                what, hint = "is missing", {"other": DROP_HINT, "given": GIVEN_HINT}.get(missing, FILL_HINT)
            elif np.isfinite(value):
                what, hint = f"got {value}, too large for {dtype}", LARGE_HINT
            problems.add(f"{where}row {rows[row] + 1}", column.label, what, hint)
        first += column.width
    return cast, ~bad.any(axis=1)


def _one_hot(values: Any, column: Column, numbers_: Ints, problems: Problems, where: str) -> Floats:
    codes, found = texts(values)
    places = {category: place for place, category in enumerate(column.categories)}
    rows = np.full((len(found) + 1, column.width), np.nan)
    rows[: len(found)] = 0.0
    for code, text in enumerate(found):
        if text in places:
            rows[code, places[text]] = 1.0
    for row in np.flatnonzero(np.isin(codes, [code for code, text in enumerate(found) if text not in places])):
        problems.add(f"{where}row {numbers_[row] + 1}", column.label, *new_text(found[int(codes[row])], column))
    return rows[np.where(np.isnan(codes), len(found), codes).astype(np.int64)]
