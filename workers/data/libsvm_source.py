"""libsvm files (svmlight's format): a label, and the values of a row that are not zero."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from workers.data import libsvm_lines as lib
from workers.data.rows import Matrix, Rows
from workers.data.source import DataInfo, Dtype, DtypeChoice, Ints, Source, Task, check_rows
from workers.data.stamp import stamp
from workers.data.tally import Tally, class_numbers
from workers.errors import DataError, Problems


class Layout(NamedTuple):
    """Where blocks of rows begin: bytes (blocks,) of what the file holds, uncompressed, and lines (blocks,) before."""

    block_rows: int
    offsets: Ints
    lines: Ints


@dataclass(frozen=True)
class LibsvmSource(Source):
    """A text file with one row a line, `LABEL INDEX:VALUE ...`, plain, `.gz` or `.bz2`; it is read as sparse rows.

    Indices count from 1, or from 0 if `zero_based`; this is never guessed, since the guess would hang on
    whether a value of the first column happens to be there. There are `num_features` columns, by default as many as
    the largest index says; they are named `x1`, `x2`, ... (from `x0` if `zero_based`). `#` begins a comment, a row
    may be a label alone, and zeros are left out even where they are spelled. `qid:` is refused: groups of rows are
    not supported. X and y are of `dtype` (`auto`: float64). (Format: Chang and Lin, "LIBSVM: a library for support
    vector machines", ACM TIST 2011.)
    """

    path: str | Path
    num_features: int | None = None
    zero_based: bool = False
    dtype: DtypeChoice = "auto"

    def __post_init__(self) -> None:
        if self.num_features is not None and not 1 <= self.num_features < 1 << 31:
            raise DataError(f"num_features must lie in 1..2147483647, got {self.num_features}.")

    def describe(self, task: Task) -> DataInfo:
        """Check every row, in one pass and by the thousand; `row_values` counts what each stores.

        Raise one `DataError` with the lines of the first 10 problems: labels that are no numbers, what is no
        INDEX:VALUE, indices that do not rise or are out of range, NaN, infinity; or for no rows, or one class.
        """
        state = stamp(self.path)
        rules = lib.Rules(self.zero_based, self.num_features, "float32" if self.dtype == "float32" else "float64")
        problems = Problems(str(self.path))
        tally = Tally(task, problems.file, "label", rules.dtype)
        offsets, lines, lengths, width = [], [], [], 0
        with lib.opened(self.path) as file:
            for offset, line, rows in lib.blocks(file, lib.BLOCK_ROWS):
                parsed = lib.parse(rows, rules, problems)
                if parsed is None:
                    continue
                width = max(width, int(parsed.columns.max(initial=-1)) + 1)
                y = parsed.labels.astype(rules.dtype) if task == "regression" else parsed.labels.tolist()
                tally.add(_matrix([parsed], width, rules.dtype), y)
                offsets.append(offset)
                lines.append(line)
                lengths.append(parsed.lengths)
        problems.check()
        state.check(self.path)
        row_values = np.concatenate([np.zeros(0, dtype=np.int64), *lengths])
        num_features = self.num_features or width
        if num_features > max(lib.FREE_FEATURES, int(row_values.sum())):
            raise DataError(
                f"{self.path}: {num_features:,} features, but it stores {int(row_values.sum()):,} values. With more "
                f"than {lib.FREE_FEATURES:,} features there must be a value for each. Number them without gaps."
            )
        names = self._names(num_features)
        layout = Layout(lib.BLOCK_ROWS, np.array(offsets, dtype=np.int64), np.array(lines, dtype=np.int64))
        return tally.info(names, row_values=row_values, stamp=state, layout=layout)

    def read(self, rows: Ints, info: DataInfo) -> Rows:
        """Return the n `rows`, X as a `csr_array`; only these are parsed, and a plain file is read only near them."""
        check_rows(rows, info)
        if info.stamp is None or not isinstance(info.layout, Layout):
            raise DataError(f"{self.path} was not described by a libsvm source. Describe it.")
        info.stamp.check(self.path)
        wanted, back = np.unique(rows, return_inverse=True)
        parsed = list(self._parsed(wanted, info))
        lengths = np.concatenate([np.zeros(0, dtype=np.int64), *(part.lengths for part in parsed)])
        if info.row_values is None or not np.array_equal(lengths, info.row_values[wanted]):
            raise DataError(f"{self.path} has changed since it was described. Describe it again.")
        info.stamp.check(self.path)
        X = _matrix(parsed, info.num_features, info.dtype)
        labels = np.concatenate([np.zeros(0), *(part.labels for part in parsed)])
        y = class_numbers(labels.tolist(), info.classes) if info.classes else labels
        if not np.array_equal(back, np.arange(len(rows))):
            X, y = X[back], y[back]
        return Rows(X, y.astype(info.dtype, copy=False))

    def _parsed(self, wanted: Ints, info: DataInfo) -> Iterator[lib.Parsed]:
        """Yield the rows `wanted`, which rise, block by block; raise `DataError` where they are not as described."""
        layout, rules = info.layout, lib.Rules(self.zero_based, info.num_features, info.dtype)
        problems = Problems(f"{self.path} (changed since it was described?)")
        with lib.opened(self.path) as file:
            starts, firsts = np.unique(wanted // layout.block_rows, return_index=True)
            for block, here in zip(starts, np.split(wanted, firsts[1:]), strict=bool(len(wanted))):
                file.seek(layout.offsets[block])
                _, _, lines = next(lib.blocks(file, layout.block_rows, int(layout.lines[block])), (0, 0, []))
                places = here - block * layout.block_rows
                if places[-1] >= len(lines):
                    raise DataError(f"{self.path} had {info.num_rows} rows, now it has fewer. Describe it again.")
                parsed = lib.parse([lines[place] for place in places], rules, problems)
                problems.check()
                if parsed is not None:
                    yield parsed

    def _names(self, num_features: int) -> tuple[str, ...]:
        first = 0 if self.zero_based else 1
        return tuple(f"x{index}" for index in range(first, first + num_features))


def read_libsvm(path: str | Path, num_features: int, zero_based: bool = False) -> Matrix:
    """Return X (n, num_features) of all rows, whatever their labels; raise `DataError` as `describe` does."""
    problems, rules = Problems(str(path)), lib.Rules(zero_based, num_features)
    with lib.opened(path) as file:
        parsed = [lib.parse(rows, rules, problems) for _, _, rows in lib.blocks(file, lib.BLOCK_ROWS)]
    problems.check()
    return _matrix([part for part in parsed if part is not None], num_features, "float64")


def _matrix(parsed: list[lib.Parsed], num_features: int, dtype: Dtype) -> Matrix:
    """Return the rows (n, num_features) as a `csr_array`, with 32-bit indices where they suffice, as SciPy has them."""
    lengths = np.concatenate([np.zeros(1, dtype=np.int64), *(part.lengths for part in parsed)])
    columns = np.concatenate([np.zeros(0, dtype=np.int64), *(part.columns for part in parsed)])
    values = np.concatenate([np.zeros(0, dtype=dtype), *(part.values for part in parsed)])
    fits = max(len(values), num_features) < 1 << 31
    index = np.int32 if fits else np.int64
    starts = np.cumsum(lengths).astype(index)
    return csr_array((values, columns.astype(index), starts), shape=(len(starts) - 1, num_features))
