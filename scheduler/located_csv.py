"""CSV with line numbers: rows by column, and numbers that are checked where they stand."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scheduler.errors import Mistakes, UserError, shown, unknown
from workers.errors import brief
from workers.reading import limited_lines

MOST_COLUMNS = 1000

LARGEST = 1e15
"""Of any number: seconds, bytes and what is made of them stay finite."""


@dataclass(frozen=True)
class Row:
    """A row: its line in the file (from 1), its fields by column, and where mistakes are noted."""

    line: int
    fields: dict[str, str]
    mistakes: Mistakes

    def text(self, column: str, default: str | None = None) -> str:
        """Return a field without the blanks around it; an empty one is a mistake unless there is a ``default``."""
        found = self.fields.get(column, "").strip()
        if found:
            return found
        if default is None:
            self.mistakes.add(self.line, column, "is empty; every row has it")
        return default or ""

    def number(
        self,
        column: str,
        least: float = 0.0,
        default: float | None = None,
        above: bool = False,
        most: float = LARGEST,
    ) -> float:
        """Return a finite number of at least ``least``, or ``above`` it; all else is a mistake, and ``least``."""
        text = self.text(column, "" if default is not None else None)
        if not text:
            return least if default is None else default
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if math.isfinite(found) and (found > least if above else found >= least) and found <= most:
            return found
        bound = f"above {least:g}" if above else f"of at least {least:g}"
        told = most if most != LARGEST or LARGEST < found < math.inf else math.inf
        self._out_of_bounds(column, f"a finite number {bound}", told, text)
        return least

    def count(self, column: str, least: int = 0, default: int | None = None, most: float = math.inf) -> int:
        """Return a whole number of at least ``least``; all else is a mistake, and ``least``."""
        text = self.text(column, "" if default is not None else None)
        if not text:
            return least if default is None else default
        try:
            found = int(text)
        except ValueError:
            found = least - 1
        if least <= found <= most:
            return found
        self._out_of_bounds(column, f"a whole number of at least {least}", most, text)
        return least

    def _out_of_bounds(self, column: str, bound: str, most: float, text: str) -> None:
        limit = "" if most == math.inf else f" and at most {most:,.15g}"
        self.mistakes.add(self.line, column, f"must be {bound}{limit}, got {shown(text)}")


def columns(path: Path) -> tuple[str, ...]:
    """Return the columns that the first line names; nothing of what is no CSV file."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return tuple(name.strip() for name in next(csv.reader(limited_lines(file)), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()


def read(
    mistakes: Mistakes,
    required: Sequence[str],
    optional: Sequence[str] | None = (),
    prefixes: Sequence[str] = (),
    most: int = 1_000_000,
) -> Iterator[Row]:
    """Yield the rows of a CSV file whose first line names the columns; empty lines are left out.

    Parameters
    ----------
    mistakes
        Of the file that is read: a row that is too short or too long is noted, and not yielded.
    optional
        Columns that there may be; None: any, for files of others, of which some columns are read.
    prefixes
        How further columns may begin.
    most
        How many rows there may be.

    Raises
    ------
    UserError
        If the file cannot be read, is empty, too long, or has not the right columns.
    """
    path = mistakes.path
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(limited_lines(file), strict=True)
            names = [name.strip() for name in next(reader, [])]
            _check(path, names, required, optional, prefixes)
            number = 0
            for fields in reader:
                if not fields:
                    continue
                number += 1
                if number > most:
                    raise UserError(f"{path}:{reader.line_num}: over {most:,} rows; split the file")
                if len(fields) != len(names):
                    mistakes.add(reader.line_num, "", f"has {len(fields)} fields, but there are {len(names)} columns")
                    continue
                yield Row(reader.line_num, dict(zip(names, fields, strict=True)), mistakes)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not valid CSV: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if not number:
        raise UserError(f"{path}: has no rows below the names of the columns")


def _check(
    path: Path, names: Sequence[str], required: Sequence[str], optional: Sequence[str] | None, prefixes: Sequence[str]
) -> None:
    """Refuse columns that are missing, named twice or not known."""
    if not names:
        raise UserError(f"{path}: is empty; its first line names the columns: {','.join(required)}")
    if len(names) > MOST_COLUMNS:
        raise UserError(f"{path}:1: has {len(names):,} columns, over {MOST_COLUMNS:,}")
    mistakes = Mistakes(path)
    for name, times in Counter(names).items():
        if times > 1:
            mistakes.add(1, "", f"column '{brief(name)}' is given twice")
        known = optional is None or name in required or name in optional
        if not known and not any(name.startswith(prefix) and name != prefix for prefix in prefixes):
            mistakes.add(
                1, "", unknown("column", name, [*required, *(optional or ()), *(f"{p}NAME" for p in prefixes)])
            )
    for name in required:
        if name not in names:
            mistakes.add(1, "", f"column '{name}' is missing; the first line names the columns")
    mistakes.tell()
