"""The rules for missing cells and for text that tables of named columns share: CSV and Parquet."""

from collections.abc import Collection
from pathlib import Path
from typing import Literal, get_args

from workers.errors import DataError, did_you_mean

Missing = Literal["error", "drop", "mean"]
Text = Literal["error", "drop", "one-hot"]

MISSING = frozenset({"", "nan", "NaN", "NAN"})
"""Texts that stand for a missing cell."""

MAX_CATEGORIES = 1000


def check_rules(path: str | Path, target: str, weight: str | None, missing: str, text: str) -> None:
    """Raise `DataError` for a rule that is none, or one column for two things."""
    for option, value, choices in (("missing", missing, get_args(Missing)), ("text", text, get_args(Text))):
        if value not in choices:
            raise DataError(f"unknown {option}: {str(value)!r}. {did_you_mean(str(value), choices)}")
    if weight == target:
        raise DataError(f"{path}: column {target!r} cannot be both target and weight. Name another.")


def check_categories(path: str | Path, name: str, texts: Collection[str]) -> None:
    """Raise `DataError` for more different texts than a column may have."""
    if len(texts) > MAX_CATEGORIES:
        raise DataError(
            f"{path}, column {name!r}: more than {MAX_CATEGORIES} different texts, such as "
            f"{min(texts)!r}. Remove the column, or set text: drop."
        )
