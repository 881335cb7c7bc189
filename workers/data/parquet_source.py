"""Parquet files: named columns of numbers and text, in row groups that can be read alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from workers.data import arrow_columns as cells
from workers.data import parquet_files as files
from workers.data.csv_cells import TARGET_HINT
from workers.data.means import fill
from workers.data.rows import Floats, Rows
from workers.data.scatter import Scatter
from workers.data.source import Column, DataInfo, Dtype, DtypeChoice, Ints, Source, Task, check_rows, empty_rows
from workers.data.stamp import Stamp, stamp
from workers.data.table_rules import Missing, Text, check_categories, check_rules
from workers.data.tally import Tally, class_numbers
from workers.errors import DataError, Problems, did_you_mean

BLOCK_BYTES = 1 << 23

TEXT_HINT = "Set text: drop (leave text columns out) or text: one-hot, or store numbers."
OTHER_HINT = "Store numbers or text, or remove the column."


class Layout(NamedTuple):
    """The parts of the table, and its row groups (groups, 4): part, number and first row in it, usable rows."""

    parts: tuple[str, ...]
    stamps: tuple[Stamp, ...]
    groups: Ints


@dataclass(frozen=True)
class ParquetSource(Source):
    """A Parquet file, or a folder of `*.parquet` parts in name order; columns but `target` and `weight` are features.

    `missing` says what becomes of rows with a null or NaN (refused, left out, or filled with the mean of the column),
    `text` what becomes of feature columns of text (Arrow's strings and dictionaries of strings): refused, left out, or
    one 0/1 feature `name=value` for each of their texts. A table has the same features, rows and fingerprint as in a
    CSV with the same rules, but a column's type alone says whether it is text. X is of `dtype`; `auto` is float32 if
    all columns of numbers are float32 or float16, else float64. Needs pyarrow (`pip install 'apportion[parquet]'`).
    """

    path: str | Path
    target: str
    missing: Missing = "error"
    text: Text = "error"
    weight: str | None = None
    dtype: DtypeChoice = "auto"

    def __post_init__(self) -> None:
        check_rules(self.path, self.target, self.weight, self.missing, self.text)

    def describe(self, task: Task) -> DataInfo:
        """Check every cell, row group by row group; two passes where texts are to be found first.

        Raise one `DataError` with the first 10 of: missing cells, infinity, negative weights; or for columns that are
        neither numbers nor text, an unknown column, parts with other columns, no rows, one class, too many categories,
        no Parquet.
        """
        parts = files.part_files(self.path)
        stamps = tuple(stamp(part) for part in parts)
        types = files.schema(parts)
        columns = self._columns(parts, types, task)
        problems = Problems(str(self.path))
        plan = self._plan(columns, labels=task == "classification", dtype=self._dtype(columns, types))
        tally = Tally(task, problems.file, self.target, plan.dtype, means=self.missing == "mean")
        groups = []
        for number, part in enumerate(parts):
            where, first = "" if part == Path(self.path) else f"{part.name}, ", 0
            with files.opened(part) as file:
                for group in range(file.num_row_groups):
                    before = tally.num_rows
                    for block in _blocks(file, group, first, plan, problems, where):
                        tally.add(block.X, block.y, block.weights)
                    groups.append((number, group, first, tally.num_rows - before))
                    first += file.metadata.row_group(group).num_rows
            stamps[number].check(part)
        problems.check()
        names = tuple(name for column in columns for name in column.feature_names)
        layout = Layout(tuple(part.name for part in parts), stamps, np.array(groups, dtype=np.int64).reshape(-1, 4))
        return tally.info(names, columns, layout=layout)

    def read(self, rows: Ints, info: DataInfo) -> Rows:
        """Return the n `rows`, counted after dropping; only the row groups that hold them are opened."""
        return self.read_parts([rows], info)[0]

    def read_parts(self, parts: Sequence[Ints], info: DataInfo) -> list[Rows]:
        """Return the rows of each part, read in the order in which they lie, each to its place."""
        for rows in parts:
            check_rows(rows, info)
        if not isinstance(info.layout, Layout):
            raise DataError(f"{self.path} was not described by a Parquet source. Describe it.")
        found = files.part_files(self.path)
        if tuple(part.name for part in found) != info.layout.parts:
            raise DataError(f"{self.path} has other parts than when it was described. Describe it again.")
        plan = self._plan(info.columns, labels=info.classes is not None, dtype=info.dtype)
        read, scatter = [empty_rows(len(part), info) for part in parts], Scatter(parts)
        starts = np.concatenate([[0], np.cumsum(info.layout.groups[:, 3])])
        for group in np.flatnonzero(np.diff(scatter.before(starts))).tolist():
            number, within, first, _ = info.layout.groups[group].tolist()
            info.layout.stamps[number].check(found[number])
            problems = Problems(f"{found[number]} (changed since it was described?)")
            done, end = int(starts[group]), int(starts[group + 1])
            with files.opened(found[number]) as file:
                for block in _blocks(file, within, first, plan, problems):
                    problems.check()
                    begin, stop = scatter.before(np.array([done, min(done + len(block), end)])).tolist()
                    for part, places, picked in scatter.places(begin, stop) if stop > begin else ():
                        _put(block, picked - done, read[part], places, info)
                    done += len(block)
            if done != end:
                raise DataError(f"{found[number]} has changed since it was described. Describe it again.")
        return read

    def _plan(self, columns: tuple[Column, ...], *, labels: bool, dtype: Dtype) -> cells.Plan:
        weight = None if self.weight is None else Column(-1, self.weight)
        return cells.Plan(columns, Column(-1, self.target), weight, labels, self.missing, dtype)

    def _dtype(self, columns: tuple[Column, ...], types: dict[str, Any]) -> Dtype:
        if self.dtype != "auto":
            return self.dtype
        names = {str(types[column.name]) for column in columns if not column.categories}
        return "float32" if names and names <= set(files.FLOAT32) else "float64"

    def _columns(self, parts: list[Path], types: dict[str, Any], task: Task) -> tuple[Column, ...]:
        """Return the feature columns; raise `DataError` for columns that are not there, or unfit."""
        others = [self.target] if self.weight is None else [self.target, self.weight]
        for name in others:
            if name not in types:
                raise DataError(f"{self.path}: no column {name!r}. {did_you_mean(name, types)}")
        problems = Problems(str(self.path))
        columns = [Column(place, name) for place, name in enumerate(types) if name not in others]
        kinds = {name: cells.kind(type_) for name, type_ in types.items()}
        hints = {self.target: TARGET_HINT if task == "regression" else None, self.weight: OTHER_HINT}
        for column in (*(Column(-1, name) for name in others), *columns):
            hint = hints.get(column.name, TEXT_HINT if self.text == "error" else None)
            hint = OTHER_HINT if kinds[column.name] == "other" else hint
            if kinds[column.name] != "number" and hint:
                problems.add(column.label, "", f"holds {types[column.name]}", hint)
        problems.check()
        if self.text == "drop":
            columns = [column for column in columns if kinds[column.name] != "text"]
        found: dict[str, set[str]] = {column.name: set() for column in columns if kinds[column.name] == "text"}
        if found:
            self._find_texts(parts, [*(column.name for column in columns), *others], found)
        return tuple(Column(c.position, c.name, tuple(sorted(found.get(c.name, ())))) for c in columns)

    def _find_texts(self, parts: list[Path], names: list[str], found: dict[str, set[str]]) -> None:
        """Add to `found` what texts its columns hold, in rows that are kept."""
        needed = names if self.missing == "drop" else list(found)
        for part in parts:
            with files.opened(part) as file:
                for batch in file.iter_batches(_block_rows(len(needed)), columns=needed):
                    kept = cells.complete(batch, needed if self.missing == "drop" else [])
                    for name, values in found.items():
                        codes, texts = cells.texts(batch.column(name))
                        used = np.unique(codes[kept & ~np.isnan(codes)]).astype(np.int64)
                        values.update(texts[code] for code in used)
                        check_categories(self.path, name, values)


def read_features(path: str | Path, columns: tuple[Column, ...]) -> Floats:
    """Return X (n, d) of all rows of a table, for `columns` that were described, found by their names.

    Raise `DataError` if one of them is not there, or a cell of theirs cannot be used.
    """
    parts = files.part_files(path)
    types = files.schema(parts)
    problems = Problems(str(path))
    for column in columns:
        if column.name not in types:
            raise DataError(f"{path}: no column {column.name!r}. {did_you_mean(column.name, types)}")
        expected = "text" if column.categories else "number"
        if cells.kind(types[column.name]) != expected:
            problems.add(column.label, "", f"holds {types[column.name]} where {expected} is expected", OTHER_HINT)
    problems.check()
    names, width = [column.name for column in columns], sum(column.width for column in columns)
    blocks = [np.zeros((0, width))]
    for part in parts:
        where, first = "" if part == Path(path) else f"{part.name}, ", 0
        with files.opened(part) as file:
            for batch in file.iter_batches(_block_rows(width), columns=names):
                blocks.append(cells.given_features(batch, columns, first, problems, where))
                first += batch.num_rows
    problems.check()
    X = np.concatenate(blocks)
    fill(X, np.array([mean for column in columns for mean in column.means]))
    return X


def _blocks(
    file: Any, group: int, first: int, plan: cells.Plan, problems: Problems, where: str = ""
) -> Iterator[cells.Cells]:
    """Yield the usable rows of a row group, of which the first is row `first` of the file."""
    for batch in file.iter_batches(_block_rows(plan.width), row_groups=[group], columns=plan.names):
        yield cells.read_cells(batch, plan, first, problems, where)
        first += batch.num_rows


def _block_rows(width: int) -> int:
    return max(1, BLOCK_BYTES // (8 * (1 + width)))


def _put(block: cells.Cells, picked: Ints, rows: Rows, places: Ints, info: DataInfo) -> None:
    """Put the `picked` rows of a block to their places."""
    X = block.X[picked]
    fill(X, info.means)
    rows.X[places] = X
    if isinstance(block.y, list):
        rows.y[places] = class_numbers([block.y[place] for place in picked], info.classes or ())
    else:
        rows.y[places] = block.y[picked]
    if rows.weights is not None and block.weights is not None:
        rows.weights[places] = block.weights[picked]
