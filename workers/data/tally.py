"""Counts, classes and the fingerprint of data that passes by in blocks."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count
from math import isfinite
from typing import Any, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from workers.data.fingerprint import MatrixHash, fingerprint
from workers.data.means import ColumnSums
from workers.data.rows import Dense, Floats, Matrix
from workers.data.source import Classes, Column, DataInfo, Dtype, Task
from workers.errors import DataError, did_you_mean

Label: TypeAlias = str | float

MAX_CLASSES = 1000


def number(text: Label) -> float | None:
    """Return the number that `text` spells (NaN and infinity are numbers), or None; `1_000` is text."""
    try:
        return None if isinstance(text, str) and "_" in text else float(text)
    except ValueError:
        return None


def class_numbers(labels: Iterable[Label], classes: Classes) -> Floats:
    """Return each label's place (n,) among `classes`; raise `DataError` for one that is not there."""
    names: Sequence[Label] = classes
    places = {name: place for place, name in enumerate(names)}
    texts = isinstance(classes[0], str)

    def place(label: Label) -> int:
        key = str(label) if texts else number(label)
        if key is None or key not in places:
            raise DataError(f"the value {label!r} was not there when the data was described. Describe it again.")
        return places[key]

    known: dict[Label, int] = {}
    return np.array([known[x] if x in known else known.setdefault(x, place(x)) for x in labels], dtype=np.float64)


class Tally:
    """Takes data block by block and ends as its `DataInfo`; holds two bytes for each row at most.

    X, y and weights come in the types that they have in memory; NaN in X is a missing cell, and `means` says whether
    the means of the columns are wanted to fill it.
    """

    def __init__(
        self, task: Task, file: str, target_name: str, dtype: Dtype = "float64", *, means: bool = False
    ) -> None:
        if task not in get_args(Task):
            raise DataError(f"unknown task {task!r}. {did_you_mean(str(task), get_args(Task))}")
        self.task, self.file, self.target_name, self.dtype = task, file, target_name, dtype
        self.num_rows = 0
        self._features, self._targets, self._weights = MatrixHash(), MatrixHash(), MatrixHash()
        self._weighted = self._positive = False
        self._sums = ColumnSums() if means else None
        self._labels: dict[Label, int] = {}
        self._codes: list[NDArray[np.uint16]] = []

    def add(self, X: Matrix, y: Dense | list[Label], weights: Floats | None = None) -> None:
        """Take the next rows: X (n, d), and y (n,) as values for regression, as labels for classification."""
        self.num_rows += X.shape[0]
        if self._sums is not None:
            X = np.where(np.isnan(X), X.dtype.type(np.nan), X)  # every NaN with the same bits
            self._sums.add(X)
        self._features.add(X)
        if weights is not None:
            self._weighted = True
            self._positive = self._positive or bool((weights > 0).any())
            self._weights.add(weights)
        if isinstance(y, list):
            self._add_labels(y)
        else:
            self._targets.add(y)

    def info(self, feature_names: tuple[str, ...], columns: tuple[Column, ...] = (), **facts: Any) -> DataInfo:
        """Return what was seen, and `facts` besides; raise `DataError` for no rows, no features, unfit labels.

        With means, also for a column of which every cell is missing; and for weights that are all 0.
        """
        if not feature_names:
            raise DataError(f"{self.file}: no feature is left beside the target {self.target_name!r}. Add one.")
        if not self.num_rows:
            raise DataError(
                f"{self.file}: no rows, or none without a missing cell. Add rows, or remove an empty column."
            )
        if self._weighted and not self._positive:
            raise DataError(f"{self.file}: the weights of all {self.num_rows} rows are 0. Give positive weights.")
        classes: Classes | None = None
        class_counts: tuple[int, ...] = ()
        if self.task == "classification":
            classes = class_names(self._labels, f"{self.file}, target {self.target_name!r}", self.num_rows)
            class_counts = self._count(classes)
        weights = [self._weights.chunks()] if self._weighted else []
        return DataInfo(
            self.num_rows,
            feature_names,
            self.target_name,
            classes,
            fingerprint(self._features.chunks(), self._targets.chunks(), *weights),
            self._with_means(columns),
            self.dtype,
            weighted=self._weighted,
            class_counts=class_counts,
            **facts,
        )

    def _count(self, classes: Classes) -> tuple[int, ...]:
        """Return the rows of each class, and take the class numbers into the fingerprint."""
        places = class_numbers(self._labels, classes).astype(self.dtype)
        counts = np.zeros(len(classes), dtype=np.int64)
        for codes in self._codes:
            numbers = places[codes]
            self._targets.add(numbers)
            counts += np.bincount(numbers.astype(np.int64), minlength=len(classes))
        return tuple(counts.tolist())

    def _with_means(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        if self._sums is None:
            return columns
        means, first, filled = self._sums.means(), 0, []
        for column in columns:
            of_column = tuple(mean for mean in means[first : first + column.width] if mean is not None)
            first += column.width
            if len(of_column) < column.width:
                raise DataError(f"{self.file}, {column.label}: every cell is missing. Remove the column.")
            filled.append(replace(column, means=of_column))
        return tuple(filled)

    def _add_labels(self, labels: list[Label]) -> None:
        fresh = count(len(self._labels))
        for label in dict.fromkeys(labels):
            if label not in self._labels:
                self._labels[label] = next(fresh)
        if len(self._labels) > MAX_CLASSES:
            raise DataError(
                f"{self.file}, target {self.target_name!r}: more than {MAX_CLASSES} classes. "
                "Use task: regression, or another target."
            )
        self._codes.append(np.array([self._labels[label] for label in labels], dtype=np.uint16))


def class_names(labels: Iterable[Label], where: str, num_rows: int) -> Classes:
    """Return what `labels` are called, sorted: whole numbers if all are, else texts; raise `DataError` if unfit."""
    labels = set(labels)
    numbers = [number(label) for label in labels]
    values = {value for value in numbers if value is not None and isfinite(value)}
    classes: Classes = tuple(sorted({str(label) for label in labels}))
    if None not in numbers and all(isfinite(value) for value in numbers if value is not None):
        if broken := sorted(value for value in values if not value.is_integer()):
            raise DataError(
                f"{where}: got {broken[0]} where a class is expected (whole number or text). "
                "Use task: regression, or another target."
            )
        classes = tuple(sorted(int(value) for value in values))
    if len(classes) == 1:
        raise DataError(
            f"{where}: got the one class {classes[0]!r} in all {num_rows} rows. "
            "Give rows of at least two classes, or another target."
        )
    return classes
