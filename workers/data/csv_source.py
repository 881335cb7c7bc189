"""CSV files: a header, a named target, numbers, and rules for missing cells and for text."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from workers.data.csv_cells import parse
from workers.data.csv_layout import TEXT_HINT, TYPO_HINT, Layout, Parsed
from workers.data.csv_records import Block, Place, open_bytes, read_block, with_header
from workers.data.means import fill
from workers.data.rows import Floats, Rows
from workers.data.scatter import Scatter
from workers.data.source import Column, DataInfo, Dtype, DtypeChoice, Ints, Source, Task, check_rows, empty_rows
from workers.data.stamp import stamp
from workers.data.table_rules import MAX_CATEGORIES, MISSING, Missing, Text, check_categories, check_rules
from workers.data.tally import Tally, class_numbers, number
from workers.errors import DataError, Problems, did_you_mean


@dataclass(frozen=True)
class CsvSource(Source):
    """A UTF-8 CSV file with a header; every column but `target` and `weight` is a feature.

    `missing` says what becomes of an empty or NaN cell: refused, its row left out, or filled with the mean of its
    feature over all rows (never the target or the weight). `text` says what becomes of feature columns that
    hold more text than numbers: refused, left out, or one 0/1 feature `name=value` for each of their texts.
    Numbers are read as float64 and rounded to `dtype` (`auto`: float64).
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
        """Check every cell, in one pass, or in two where text columns are to be found first.

        Raise one `DataError` with the first 10 of: ragged rows, missing cells, text or infinity where a number is
        expected, negative weights; or for a bad header, an unknown column, no rows, one class, too many categories.
        """
        state = stamp(self.path)
        columns = self._columns()
        layout, blocks = self._layout(columns, labels=task == "classification")
        problems = Problems(str(self.path))
        tally = Tally(task, problems.file, self.target, layout.dtype, means=self.missing == "mean")
        places = []
        for block in blocks:
            places.append((*block.place, tally.num_rows))
            X, y, weights = parse(block, layout, problems)
            tally.add(X.astype(layout.dtype, copy=False), y if isinstance(y, list) else y.astype(layout.dtype), weights)
            end = block.end
        problems.check()
        state.check(self.path)
        index = np.array([*places, (*end, tally.num_rows)] if places else np.zeros((0, 4)), dtype=np.int64)
        return tally.info(
            tuple(name for column in columns for name in column.feature_names), columns, stamp=state, blocks=index
        )

    def read(self, rows: Ints, info: DataInfo) -> Rows:
        """Return the n `rows`, counted after dropping; only blocks with these rows are parsed."""
        return self.read_parts([rows], info)[0]

    def read_parts(self, parts: Sequence[Ints], info: DataInfo) -> list[Rows]:
        """Return the rows of each part, read in the order in which they lie, each to its place."""
        for rows in parts:
            check_rows(rows, info)
        if info.stamp is None or info.blocks is None:
            raise DataError(f"{self.path} was not described by a CSV source. Describe it.")
        info.stamp.check(self.path)
        layout, _ = self._layout(info.columns, labels=info.classes is not None, dtype=info.dtype)
        read, scatter, means = [empty_rows(len(part), info) for part in parts], Scatter(parts), info.means
        problems = Problems(f"{self.path} (changed since it was described?)")
        for block, first, begin, end in self._wanted(info.blocks, scatter):
            pieces = list(scatter.places(begin, end))
            numbers = np.concatenate([piece for _, _, piece in pieces]) - first
            picked, back = np.unique(numbers, return_inverse=True)
            parsed = parse(block, layout, problems, picked.tolist())
            problems.check()
            done = 0
            for part, places, piece in pieces:
                _put(parsed.at(back[done : done + len(piece)]), read[part], places, info, means)
                done += len(piece)
        info.stamp.check(self.path)
        return read

    def _wanted(self, blocks: Ints, scatter: Scatter) -> Iterator[tuple[Block, int, int, int]]:
        """Yield the blocks with wanted rows: block, its first row, and the range of the wanted rows in it."""
        ends = scatter.before(blocks[:, 3])
        with open_bytes(self.path) as file:
            for at in np.flatnonzero(np.diff(ends)).tolist():
                offset, line, record, first = blocks[at].tolist()
                size_bytes = int(blocks[at + 1, 0]) - offset
                block = read_block(file, self.path, Place(offset, line, record), size_bytes)
                yield block, first, int(ends[at]), int(ends[at + 1])

    def _layout(
        self, columns: tuple[Column, ...], *, labels: bool = False, dtype: Dtype | None = None
    ) -> tuple[Layout, Iterator[Block]]:
        """Return what becomes of the columns, and the blocks of data.

        Raise `DataError` if the target, the weight or one of `columns` is not in the file.
        """
        names, blocks = with_header(self.path)
        for name in (self.target, self.weight):
            if name is not None and name not in names:
                raise DataError(f"{self.path}: no column {name!r}. {did_you_mean(name, names)}")
        if any(names[column.position : column.position + 1] != [column.name] for column in columns):
            raise DataError(f"{self.path} has other columns than when it was described. Describe it again.")
        layout = Layout(
            width=len(names),
            features=columns,
            target=Column(names.index(self.target), self.target),
            weight=None if self.weight is None else Column(names.index(self.weight), self.weight),
            labels=labels,
            missing=self.missing,
            text_hint=TEXT_HINT if self.text == "error" else TYPO_HINT,
            dtype=dtype or ("float32" if self.dtype == "float32" else "float64"),
        )
        return layout, blocks

    def _columns(self) -> tuple[Column, ...]:
        names, _ = with_header(self.path)
        layout, blocks = self._layout(())
        taken = [column.position for column in layout.others]
        numeric = tuple(Column(i, name) for i, name in enumerate(names) if i not in taken)
        if self.text == "error":
            return numeric
        needed = (*numeric, *layout.others) if self.text == "one-hot" and self.missing == "drop" else ()
        contents = [_Contents() for _ in names]
        for block in blocks:
            rows = [
                record.cells
                for record in block.records
                if len(record.cells) == len(names)
                and not any(record.cells[column.position] in MISSING for column in needed)
            ]
            for content, cells in zip(contents, zip(*rows, strict=True), strict=True) if rows else ():
                content.add(cells)
        if self.text == "drop":
            return tuple(column for column in numeric if not contents[column.position].is_text)
        return tuple(self._one_hot(column, contents[column.position]) for column in numeric)

    def _one_hot(self, column: Column, content: "_Contents") -> Column:
        if not content.is_text:
            return column
        check_categories(self.path, column.name, content.values)
        return Column(column.position, column.name, tuple(sorted(content.values)))


def read_features(path: str | Path, columns: tuple[Column, ...]) -> Floats:
    """Return X (n, d) of all rows of a CSV, for `columns` that a `CsvSource` described, found by their names.

    Raise `DataError` if one of them is not there, or a cell of theirs cannot be used.
    """
    names, blocks = with_header(path)
    for column in columns:
        if column.name not in names:
            raise DataError(f"{path}: no column {column.name!r}. {did_you_mean(column.name, names)}")
    here = tuple(replace(column, position=names.index(column.name)) for column in columns)
    means = np.array([mean for column in here for mean in column.means])
    layout = Layout(len(names), here, missing="mean" if len(means) else "error", text_hint="Make the cells numbers.")
    problems = Problems(str(path))
    read = [parse(block, layout, problems).X for block in blocks]
    problems.check()
    X = np.concatenate([np.zeros((0, layout.num_features)), *read])
    fill(X, means)
    return X


def _put(parsed: Parsed, rows: Rows, places: Ints, info: DataInfo, means: Floats) -> None:
    """Put parsed rows to their places."""
    X = parsed.X.astype(info.dtype, copy=False)
    fill(X, means)
    rows.X[places] = X
    rows.y[places] = class_numbers(parsed.y, info.classes) if info.classes and isinstance(parsed.y, list) else parsed.y
    if rows.weights is not None and parsed.weights is not None:
        rows.weights[places] = parsed.weights


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
        for value in MISSING & counts.keys():
            del counts[value]
        numbers = sum(times for value, times in counts.items() if number(value) is not None)
        self.numbers += numbers
        self.texts += counts.total() - numbers
        if len(self.values) <= MAX_CATEGORIES:
            self.values.update(counts)
