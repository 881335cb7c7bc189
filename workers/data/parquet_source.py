"""Parquet files: named columns of numbers and text, in row groups that can be read alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from workers.data import arrow_columns as cells
from workers.data import parquet_files as files
from workers.data.csv_records import FILL_HINT, TARGET_HINT
from workers.data.csv_source import MAX_CATEGORIES, Missing, Text
from workers.data.rows import Floats, Rows
from workers.data.source import Column, DataInfo, Ints, Source, Task, aligned_empty, check_rows
from workers.data.tally import Tally, class_numbers
from workers.errors import DataError, Problems, did_you_mean

BLOCK_BYTES = 1 << 24

TEXT_HINT = "Set text: drop (leave text columns out) or text: one-hot, or store numbers."
OTHER_HINT = "Store numbers or text, or remove the column."


class Layout(NamedTuple):
    """The parts of the table, and its row groups (groups, 4): part, number and first row in it, usable rows."""

    parts: tuple[str, ...]
    groups: Ints


@dataclass(frozen=True)
class ParquetSource(Source):
    """A Parquet file, or a folder of `*.parquet` parts in name order; every column but `target` is a feature.

    `missing` says what becomes of rows with a null or NaN, `text` what becomes of feature columns of text (Arrow's
    strings and dictionaries of strings): refused, left out, or one 0/1 feature `name=value` for each of their texts. A
    table has the same features, rows and fingerprint as in a CSV with the same rules, but a column's type alone says
    whether it is text. Needs pyarrow (`pip install 'apportion[parquet]'`).
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
        """Check every cell, row group by row group; two passes where texts are to be found first.

        Raise one `DataError` with the first 10 of: missing cells, infinity; or for columns that are neither numbers nor
        text, an unknown target, parts with other columns, no rows, one class, too many categories, no Parquet.
        """
        parts = files.part_files(self.path)
        types = files.schema(parts)
        columns = self._columns(parts, types, task)
        problems = Problems(str(self.path))
        tally = Tally(task, problems.file, self.target)
        groups = []
        for number, part in enumerate(parts):
            with files.opened(part) as file:
                first = 0
                for group in range(file.num_row_groups):
                    before = tally.num_rows
                    for block in self._blocks(file, group, first, columns, problems, part):
                        tally.add(block.X, block.y if task == "regression" else block.targets())
                    groups.append((number, group, first, tally.num_rows - before))
                    first += file.metadata.row_group(group).num_rows
        problems.check()
        names = tuple(name for column in columns for name in column.feature_names)
        layout = Layout(tuple(part.name for part in parts), np.array(groups, dtype=np.int64).reshape(-1, 4))
        return tally.info(names, columns, layout=layout)

    def read(self, rows: Ints, info: DataInfo) -> Rows:
        """Return the n `rows`, counted after dropping; only the row groups that hold them are opened."""
        check_rows(rows, info)
        layout: Layout = info.layout
        parts = files.part_files(self.path)
        if tuple(part.name for part in parts) != layout.parts:
            raise DataError(f"{self.path} has other parts than when it was described. Describe it again.")
        X, y = aligned_empty((len(rows), info.num_features)), aligned_empty((len(rows),))
        order = np.argsort(rows, kind="stable")
        ends = np.cumsum(layout.groups[:, 3])
        bounds = np.searchsorted(rows[order], np.concatenate([[0], ends]))
        for group in np.flatnonzero(np.diff(bounds)):
            to = order[bounds[group] : bounds[group + 1]]
            wanted = rows[to] - (ends[group] - layout.groups[group, 3])
            self._read_group(parts, layout.groups[group], wanted, to, X, y, info)
        return Rows(X, y)

    def _read_group(
        self, parts: list[Path], place: Ints, wanted: Ints, to: Ints, X: Floats, y: Floats, info: DataInfo
    ) -> None:
        """Put the rows `wanted`, which rise, of the row group that is at `place` at the places `to` of X and y."""
        number, group, first, _ = place.tolist()
        part = parts[number]
        problems = Problems(f"{part} (changed since it was described?)")
        start = done = 0
        with files.opened(part) as file:
            self._check_names(file, group, info)
            for block in self._blocks(file, group, first, info.columns, problems, part):
                problems.check()
                end = int(np.searchsorted(wanted, start + len(block.y)))
                places = wanted[done:end] - start
                X[to[done:end]] = block.X[places]
                y[to[done:end]] = (
                    class_numbers(block.targets(places), info.classes) if info.classes else block.y[places]
                )
                start, done = start + len(block.y), end
                if done == len(wanted):
                    return
        raise DataError(f"{part} has fewer rows than when it was described. Describe it again.")

    def _check_names(self, file: Any, group: int, info: DataInfo) -> None:
        names = {field.name for field in file.schema_arrow}
        if group >= file.num_row_groups or not names >= {self.target, *(column.name for column in info.columns)}:
            raise DataError(f"{self.path} has changed since it was described. Describe it again.")

    def _columns(self, parts: list[Path], types: dict[str, Any], task: Task) -> tuple[Column, ...]:
        """Return the feature columns; raise `DataError` for any that are unfit, or a target that is."""
        if self.target not in types:
            raise DataError(f"{self.path}: no column {self.target!r}. {did_you_mean(self.target, types)}")
        problems = Problems(str(self.path))
        columns = [Column(place, name) for place, name in enumerate(types) if name != self.target]
        kinds = {name: cells.kind(type_) for name, type_ in types.items()}
        for column in (Column(-1, self.target), *columns):
            kind, what = kinds[column.name], f"holds {types[column.name]}"
            if kind == "other":
                problems.add(column.label, "", what, OTHER_HINT)
            elif kind == "text" and column.name == self.target and task == "regression":
                problems.add(column.label, "", what, TARGET_HINT)
            elif kind == "text" and column.name != self.target and self.text == "error":
                problems.add(column.label, "", what, TEXT_HINT)
        problems.check()
        if self.text == "drop":
            columns = [column for column in columns if kinds[column.name] != "text"]
        found: dict[str, set[str]] = {column.name: set() for column in columns if kinds[column.name] == "text"}
        if found:
            self._find_texts(parts, columns, found)
        return tuple(Column(c.position, c.name, tuple(sorted(found.get(c.name, ())))) for c in columns)

    def _find_texts(self, parts: list[Path], columns: list[Column], found: dict[str, set[str]]) -> None:
        """Add to `found` what texts its columns hold, in rows that are kept."""
        names = [*(column.name for column in columns), self.target] if self.missing == "drop" else list(found)
        for part in parts:
            with files.opened(part) as file:
                for batch in file.iter_batches(_block_rows(columns), columns=names):
                    kept = _complete(batch, names)
                    for name, values in found.items():
                        codes, texts = cells.texts(batch.column(name))
                        codes = codes[kept] if self.missing == "drop" else codes
                        values.update(texts[int(code)] for code in np.unique(codes[~np.isnan(codes)]))
                        if len(values) > MAX_CATEGORIES:
                            raise DataError(
                                f"{self.path}, column {name!r}: more than {MAX_CATEGORIES} different texts, such as "
                                f"{min(values)!r}. Remove the column, or set text: drop."
                            )

    def _blocks(
        self, file: Any, group: int, first: int, columns: tuple[Column, ...], problems: Problems, part: Path
    ) -> Iterator[cells.Cells]:
        """Yield the usable rows of a row group of a part; what is wrong with others is noted in `problems`."""
        names = [*(column.name for column in columns), self.target]
        where = f"{part.name}, " if problems.file == str(self.path) != str(part) else ""
        hint = FILL_HINT if self.missing == "error" else None
        for table in file.iter_batches(_block_rows(columns), row_groups=[group], columns=names):
            batch, rows = table, np.arange(first, first + table.num_rows)
            first += table.num_rows
            if self.missing == "drop":
                kept = _complete(batch, names)
                batch, rows = batch.filter(cells.arrow().array(kept)), rows[kept]
            block = cells.read_cells(batch, columns, self.target)
            cells.complain(block.X, columns, rows, problems, hint, where)
            cells.complain(block.y[:, None], [Column(-1, self.target)], rows, problems, hint, where)
            yield block.whole()


def _complete(batch: Any, names: list[str]) -> Any:
    """Return which rows (n,) of a record batch miss no cell of these columns."""
    complete = np.ones(batch.num_rows, dtype=bool)
    for name in names:
        column = batch.column(name)
        values = cells.texts(column)[0] if cells.kind(column.type) == "text" else cells.numbers(column)
        complete &= ~np.isnan(values)
    return complete


def _block_rows(columns: Sequence[Column]) -> int:
    return max(1, BLOCK_BYTES // (8 * (1 + sum(column.width for column in columns))))


def read_features(path: str | Path, columns: Sequence[Column]) -> Floats:
    """Return X (n, d) of all rows of a table, for `columns` that were described, found by their names.

    Raise `DataError` if one of them is not there, or a cell of theirs cannot be used.
    """
    parts = files.part_files(path)
    types = files.schema(parts)
    problems = Problems(str(path))
    for column in columns:
        if column.name not in types:
            raise DataError(f"{path}: no column {column.name!r}. {did_you_mean(column.name, types)}")
        if cells.kind(types[column.name]) != ("text" if column.categories else "number"):
            expected = "text" if column.categories else "numbers"
            problems.add(column.label, "", f"holds {types[column.name]} where {expected} are expected", OTHER_HINT)
    problems.check()
    blocks = []
    for part in parts:
        where, first = "" if len(parts) == 1 else f"{part.name}, ", 0
        with files.opened(part) as file:
            for batch in file.iter_batches(_block_rows(columns), columns=[column.name for column in columns]):
                blocks.append(cells.features(batch, columns))
                rows = np.arange(first, first + batch.num_rows)
                cells.complain(blocks[-1], columns, rows, problems, FILL_HINT, where)
                first += batch.num_rows
    problems.check()
    return np.concatenate(blocks) if blocks else np.zeros((0, sum(column.width for column in columns)))
