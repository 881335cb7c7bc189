"""What the sections of ``benchmarks.published`` have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

WIDTH = 220
"""Columns of text where the output is no terminal."""


@dataclass(frozen=True)
class Shown:
    """A table to be printed: the first column has names, the others figures."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """What a section comes to: its tables, and the figures for a JSON file."""

    tables: Sequence[Shown]
    figures: dict[str, Any]


def over(value: float, was: float) -> str:
    """Return how much a figure is over a published one, in %."""
    return f"{100 * (value / was - 1):+.1f} %"


def console() -> Console:
    """Return where tables are printed: as wide as the terminal, or ``WIDTH``."""
    return Console() if Console().is_terminal else Console(width=WIDTH)


def print_table(out: Console, shown: Shown) -> None:
    """Print a table."""
    table = Table(title=shown.title, title_justify="left", box=SIMPLE_HEAD)
    for number, head in enumerate(shown.heads):
        longest = max((len(row[number]) for row in shown.rows), default=0)
        table.add_column(head, justify="right" if number else "left", min_width=longest)
    for row in shown.rows:
        table.add_row(*row)
    out.print(table)
