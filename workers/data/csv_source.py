"""CSV files: a header, a named target, numbers, and rules for missing cells and for text."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from workers.data import csv_records as rec
from workers.data.rows import Floats, Rows
from workers.data.source import Column, DataInfo, Ints, Source, Task, aligned_empty, check_rows
from workers.data.tally import Label, Tally, class_numbers, number
from workers.errors import DataError, Problems, did_you_mean

Missing = Literal["error", "drop"]
Text = Literal["error", "drop", "one-hot"]

MAX_CATEGORIES = 1000


@dataclass(frozen=True)
class CsvSource(Source):
    """A UTF-8 CSV file with a header; every column but `target` is a feature.

    `missing` says what becomes of rows with an empty or NaN cell, `text` what becomes of feature columns that
    hold more text than numbers: refused, left out, or one 0/1 feature `name=value` for each of their texts.
    """

    path: str | Path
    target: str
    missing: Missing = "error"
    text: Text = "error"

    def __post_init__(self) -> None:
        for option, choices in (("missing", get_args(Missing)), ("text", get_args(Text))):
            value = str(getattr(self, option))
            if value not in choices:
                raise DataError(f"unknown {option}: {value!r}. {did_you_mean(value, choices)}")

    def describe(self, task: Task) -> DataInfo:
        """Check every cell, in one pass, or in two where text columns are to be found first.

        Raise one `DataError` with the first 10 of: ragged rows, missing cells, text or infinity where a
        number is expected; or for a bad header, an unknown target, no rows, one class, too many categories.
        """
        columns = self._columns()
        problems = Problems(str(self.path))
        tally = Tally(task, problems.file, self.target)
        target = self._check_header(columns)
        hint = rec.TEXT_HINT if self.text == "error" else rec.TYPO_HINT
        for batch in rec.batches(self._kept(columns, problems)):
            X = rec.features(batch, columns, problems, hint)
            y: Floats | list[Label]
            if task == "regression":
                y = rec.numbers(batch, target, problems, rec.TARGET_HINT)
            else:
                y = rec.labels(batch, target, problems)
            tally.add(X, y)
        problems.check()
        return tally.info(tuple(name for column in columns for name in column.feature_names), columns)

    def read(self, rows: Ints, info: DataInfo) -> Rows:
        """Return the n `rows`, counted after dropping; only these are parsed."""
        check_rows(rows, info)
        target = self._check_header(info.columns)
        X, y = aligned_empty((len(rows), info.num_features)), aligned_empty((len(rows),))
        order = np.argsort(rows, kind="stable")
        wanted, start, done = rows[order], 0, 0
        problems = Problems(f"{self.path} (changed since it was described?)")
        for batch in rec.batches(self._kept(info.columns, problems)):
            if done == len(rows):
                break
            end = int(np.searchsorted(wanted, start + len(batch)))
            if end > done:
                picked = [batch[row - start] for row in wanted[done:end].tolist()]
                X[order[done:end]] = rec.features(picked, info.columns, problems)
                y[order[done:end]] = _targets(picked, target, info, problems)
            start, done = start + len(batch), end
        problems.check()
        if done < len(rows):
            raise DataError(f"{self.path} had {info.num_rows} rows, now {start}. Describe it again.")
        return Rows(X, y)

    def _check_header(self, columns: tuple[Column, ...]) -> Column:
        """Return the target's column; raise `DataError` if it or one of `columns` is not in the file."""
        names, _ = rec.with_header(self.path)
        if self.target not in names:
            raise DataError(f"{self.path}: no column {self.target!r}. {did_you_mean(self.target, names)}")
        if any(names[column.position : column.position + 1] != [column.name] for column in columns):
            raise DataError(f"{self.path} has other columns than when it was described. Describe it again.")
        return Column(names.index(self.target), self.target)

    def _kept(self, columns: tuple[Column, ...], problems: Problems) -> Iterator[rec.Record]:
        names, records = rec.with_header(self.path)
        used = (*columns, Column(names.index(self.target), self.target))
        return rec.complete(records, used, len(names), problems, drop=self.missing == "drop")

    def _columns(self) -> tuple[Column, ...]:
        target = self._check_header(())
        names, records = rec.with_header(self.path)
        numeric = tuple(Column(i, name) for i, name in enumerate(names) if i != target.position)
        if self.text == "error":
            return numeric
        if self.text == "one-hot" and self.missing == "drop":
            records = self._kept(numeric, Problems(str(self.path)))
        contents = [_Contents() for _ in names]
        for batch in rec.batches(record for record in records if len(record.cells) == len(names)):
            for content, cells in zip(contents, zip(*(r.cells for r in batch), strict=True), strict=True):
                content.add(cells)
        if self.text == "drop":
            return tuple(column for column in numeric if not contents[column.position].is_text)
        return tuple(self._one_hot(column, contents[column.position]) for column in numeric)

    def _one_hot(self, column: Column, content: "_Contents") -> Column:
        if not content.is_text:
            return column
        if len(content.values) > MAX_CATEGORIES:
            raise DataError(
                f"{self.path}, column {column.name!r}: more than {MAX_CATEGORIES} different texts, such as "
                f"{min(content.values)!r}. Remove the column, or set text: drop."
            )
        return Column(column.position, column.name, tuple(sorted(content.values)))


def read_features(path: str | Path, columns: tuple[Column, ...]) -> Floats:
    """Return X (n, d) of all rows of a CSV, for `columns` that a `CsvSource` described, found by their names.

    Raise `DataError` if one of them is not there, or a cell of theirs cannot be used.
    """
    names, records = rec.with_header(path)
    for column in columns:
        if column.name not in names:
            raise DataError(f"{path}: no column {column.name!r}. {did_you_mean(column.name, names)}")
    here = tuple(replace(column, position=names.index(column.name)) for column in columns)
    problems = Problems(str(path))
    kept = rec.complete(records, here, len(names), problems, drop=False)
    blocks = [rec.features(batch, here, problems) for batch in rec.batches(kept)]
    problems.check()
    return np.concatenate(blocks) if blocks else np.zeros((0, sum(column.width for column in columns)))


class _Contents:
    """What a column holds: how many numbers and texts, and its first thousand or so different values."""

    def __init__(self) -> None:
        self.numbers = self.texts = 0
        self.values: set[str] = set()

    @property
    def is_text(self) -> bool:
        return self.texts > self.numbers

    def add(self, cells: tuple[str, ...]) -> None:
        counts = Counter(cells)
        for value in rec.MISSING & counts.keys():
            del counts[value]
        numbers = sum(times for value, times in counts.items() if number(value) is not None)
        self.numbers += numbers
        self.texts += counts.total() - numbers
        if len(self.values) <= MAX_CATEGORIES:
            self.values.update(counts)


def _targets(batch: list[rec.Record], target: Column, info: DataInfo, problems: Problems) -> Floats:
    if info.classes is None:
        return rec.numbers(batch, target, problems, rec.TARGET_HINT)
    return class_numbers(rec.labels(batch, target, problems), info.classes)
