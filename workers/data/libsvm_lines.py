"""The lines of a libsvm file, plain or compressed, and the labels and values that they spell."""

import bz2
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from workers.data.rows import Dense, Floats
from workers.data.source import Dtype, Ints
from workers.data.tally import number
from workers.errors import DataError, Problems
from workers.reading import check_expansion, limited_lines

BLOCK_ROWS = 4096
MAX_FEATURES = 1 << 24
FREE_FEATURES = 1 << 20
"""What an index or a job may claim; the names and parameters of more features must be worth their memory."""

LABEL_HINT = "Begin every row with one number: the class or the target."
PAIR_HINT = "Write every value as INDEX:VALUE, with blanks between them."
INDEX_HINT = "Indices are whole numbers that rise along a row."
BASE_HINT = "Indices count from 1; set zero_based: true for a file that counts from 0."
RANGE_HINT = "Raise num_features, or leave it out to take the largest index found."
FINITE_HINT = "Give finite numbers, or leave the values out."
QID_HINT = "Groups of rows (ranking) are not supported; remove the qid entries."

_REGULAR = re.compile(rb"[^\s:,_]+(?:[ \t]+[0-9]{1,15}:[^\s:,_]+)*")


class Line(NamedTuple):
    """One row: the line where it is, from 1, and its text without blanks around it and without its comment."""

    line: int
    text: bytes


@dataclass(frozen=True)
class Parsed:
    """Rows: labels (n,), how many values each stores (n,), and their columns, from 0, and values, one after another.

    Zeros are not stored, even where the file spells them.
    """

    labels: Floats
    lengths: Ints
    columns: Ints
    values: Dense


@contextmanager
def opened(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file, or what a `.gz` or `.bz2` holds; raise `DataError` if it cannot be read."""
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}
    try:
        with openers.get(Path(path).suffix, open)(path, "rb") as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read: {error}. Is it cut off, or of another format than its name?"
        ) from error


def blocks(file: IO[bytes], block_rows: int, line: int = 0) -> Iterator[tuple[int, int, list[Line]]]:
    """Yield (offset, lines before it, rows) by the `block_rows` from here on, where `line` lines have passed.

    Lines with nothing but blanks or a comment are no rows.
    """
    offset = file.tell()
    while batch := _rows(file, block_rows, line):
        check_expansion(file.tell(), os.fstat(file.fileno()).st_size)
        yield offset, line, batch
        offset, line = file.tell(), batch[-1].line


@dataclass(frozen=True)
class Rules:
    """What rows may hold: whether indices count from 0, how many features there are, and what values become."""

    zero_based: bool = False
    num_features: int | None = None
    dtype: Dtype = "float64"

    def fits(self, value: float) -> bool:
        """Say whether a number is finite as what it becomes."""
        with np.errstate(over="ignore"):
            return bool(np.isfinite(np.dtype(self.dtype).type(value)))


def parse(rows: list[Line], rules: Rules, problems: Problems) -> Parsed | None:
    """Return what `rows` spell; None where that is noted in `problems`."""
    parsed = _parse_regular(rows, rules)
    if parsed is None or _unfit(parsed, rules):
        for row in rows:
            _explain(row, rules, problems)
        return None
    kept = parsed.values != 0
    if kept.all():
        return parsed
    stored = np.concatenate([[0], np.cumsum(kept)])[np.concatenate([[0], np.cumsum(parsed.lengths)])]
    return Parsed(parsed.labels, np.diff(stored), parsed.columns[kept], parsed.values[kept])


def _rows(file: IO[bytes], block_rows: int, line: int) -> list[Line]:
    found: list[Line] = []
    while len(found) < block_rows and (content := list(islice(limited_lines(file, line), block_rows - len(found)))):
        for raw in content:
            line += 1
            if text := raw.split(b"#", 1)[0].strip():
                found.append(Line(line, text))
    return found


def _parse_regular(rows: list[Line], rules: Rules) -> Parsed | None:
    """Return what rows spell that look regular, unchecked; None where one does not."""
    if not all(map(_REGULAR.fullmatch, (row.text for row in rows))):
        return None
    lengths = np.array([row.text.count(b":") for row in rows], dtype=np.int64)
    tokens = b" ".join(row.text for row in rows).replace(b":", b" ").split()
    try:
        numbers = np.fromiter(map(float, tokens), dtype=np.float64, count=len(tokens))
    except ValueError:
        return None
    places = np.cumsum(2 * lengths + 1) - (2 * lengths + 1)
    pairs = np.delete(numbers, places).reshape(-1, 2)
    columns = pairs[:, 0].astype(np.int64) - (not rules.zero_based)
    with np.errstate(over="ignore"):  # what overflows float32 is infinite, and found
        return Parsed(numbers[places], lengths, columns, pairs[:, 1].astype(rules.dtype))


def _unfit(parsed: Parsed, rules: Rules) -> bool:
    """Say whether there is something to complain about; `_explain` knows what."""
    with np.errstate(over="ignore"):
        labels = parsed.labels.astype(rules.dtype)
    if not (np.isfinite(labels).all() and np.isfinite(parsed.values).all()):
        return True
    columns = parsed.columns
    if columns.size and not 0 <= columns.min() <= columns.max() < (rules.num_features or MAX_FEATURES):
        return True
    first = np.zeros(columns.size + 1, dtype=bool)
    first[np.cumsum(parsed.lengths) - parsed.lengths] = True
    return bool((np.diff(columns) <= 0)[~first[1:-1]].any())


def _explain(row: Line, rules: Rules, problems: Problems) -> None:  # noqa: PLR0911
    """Note the first thing that is wrong with one row, if there is any."""
    where = f"line {row.line}"
    label, *pairs = (token.decode(errors="replace") for token in row.text.split())
    value = number(label)
    if value is None:
        return problems.add(where, "", f"got {label!r} where a label is expected", LABEL_HINT)
    if not rules.fits(value):
        return problems.add(where, "", f"got the label {label!r}, {_unfinite(value, rules)}", FINITE_HINT)
    least = 0 if rules.zero_based else 1
    last = least - 1
    largest = (rules.num_features or MAX_FEATURES) - 1 + least
    for pair in pairs:
        index, colon, text = pair.partition(":")
        value = number(text)
        if index == "qid":
            return problems.add(where, "", f"got {pair!r}", QID_HINT)
        if not colon or value is None or ":" in text:
            return problems.add(where, "", f"got {pair!r} where INDEX:VALUE is expected", PAIR_HINT)
        if not index.isascii() or not index.removeprefix("-").isdigit():
            return problems.add(where, "", f"got the index {index!r}, which is no whole number", INDEX_HINT)
        place = int(index[:18])
        if place < least:
            return problems.add(where, "", f"got the index {index}, less than {least}", BASE_HINT)
        if place > largest:
            hint = (
                RANGE_HINT
                if rules.num_features
                else f"At most {MAX_FEATURES:,} features, unless num_features says more."
            )
            return problems.add(where, "", f"got the index {index}, more than {largest}", hint)
        if place <= last:
            return problems.add(where, "", f"got the index {index} after {last}", INDEX_HINT)
        if not rules.fits(value):
            return problems.add(where, f"index {index}", f"got {text!r}, {_unfinite(value, rules)}", FINITE_HINT)
        last = place
    if _parse_regular([row], rules) is None:
        text = row.text[:60].decode(errors="replace")
        problems.add(where, "", f"got {text!r}", f"{PAIR_HINT} Use ASCII digits.")
    return None


def _unfinite(value: float, rules: Rules) -> str:
    return f"too large for {rules.dtype}" if isfinite(value) else "which is not finite"
