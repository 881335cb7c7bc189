"""Which columns of a CSV file become what, and what a block of it becomes."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from workers.data.rows import Floats
from workers.data.source import Column, Dtype, Ints
from workers.data.table_rules import Missing
from workers.data.tally import Label

TEXT_HINT = "Make the cells numbers, or set text: drop (leave text columns out) or text: one-hot."
TYPO_HINT = "Make the cells numbers: text: drop and text: one-hot are for columns that are mostly text."


@dataclass(frozen=True)
class Layout:
    """Which of a file's `width` columns become features, target and weight, and what is done about missing cells.

    `labels` says that the target holds labels; `dtype` is the type of X and y in memory.
    """

    width: int
    features: tuple[Column, ...]
    target: Column | None = None
    weight: Column | None = None
    labels: bool = False
    missing: Missing = "error"
    text_hint: str = TEXT_HINT
    dtype: Dtype = "float64"

    @property
    def largest(self) -> float:
        """The largest number that the type in memory holds."""
        return float(np.finfo(self.dtype).max)

    @property
    def num_features(self) -> int:
        """The number of columns of X."""
        return sum(column.width for column in self.features)

    @property
    def starts(self) -> Iterator[tuple[int, Column]]:
        """The columns of features, each with its place in X."""
        ends = accumulate((column.width for column in self.features), initial=0)
        return zip(ends, self.features, strict=False)

    @property
    def others(self) -> tuple[Column, ...]:
        """Target and weight, where there are any."""
        return tuple(column for column in (self.target, self.weight) if column is not None)

    @property
    def used(self) -> tuple[Column, ...]:
        """Every column that is looked at."""
        return (*self.features, *self.others)


class Parsed(NamedTuple):
    """The rows that are kept: X (n, d) with NaN for what a mean fills, y (n,) and weights (n,) where there are any."""

    X: Floats
    y: Floats | list[Label]
    weights: Floats | None

    def at(self, rows: Ints) -> "Parsed":
        """Return these rows."""
        y = [self.y[row] for row in rows.tolist()] if isinstance(self.y, list) else self.y[rows]
        return Parsed(self.X[rows], y, None if self.weights is None else self.weights[rows])


def put_categories(X: Floats, places: list[int]) -> None:
    """Put 1 to each row's place, and NaN to rows whose place is -1."""
    at = np.array(places, dtype=np.int64)
    X[np.arange(len(at)), at] = 1.0
    X[at < 0] = np.nan
