"""Counts, classes and the fingerprint of data that passes by in blocks."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import count
from math import isfinite
from typing import TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from workers.data.means import ColumnSums
from workers.data.rows import Dense, Floats
from workers.data.source import Classes, Column, DataInfo, Dtype, Ints, Task
from workers.data.stamp import Stamp
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
        self._features, self._targets, self._weights = sha256(), sha256(), sha256()
        self._weighted = self._positive = False
        self._sums = ColumnSums() if means else None
        self._labels: dict[Label, int] = {}
        self._codes: list[NDArray[np.uint16]] = []

    def add(self, X: Dense, y: Dense | list[Label], weights: Floats | None = None) -> None:
        """Take the next rows: X (n, d), and y (n,) as values for regression, as labels for classification."""
        self.num_rows += len(X)
        if self._sums is not None:
            X = np.where(np.isnan(X), X.dtype.type(np.nan), X)  # every NaN with the same bits
            self._sums.add(X)
        self._features.update(np.ascontiguousarray(X).data)
        if weights is not None:
            self._weighted = True
            self._positive = self._positive or bool((weights > 0).any())
            self._weights.update(np.ascontiguousarray(weights).data)
        if isinstance(y, list):
            self._add_labels(y)
        else:
            self._targets.update(np.ascontiguousarray(y).data)

    def info(
        self,
        feature_names: tuple[str, ...],
        columns: tuple[Column, ...] = (),
        stamp: Stamp | None = None,
        blocks: Ints | None = None,
    ) -> DataInfo:
        """Return what was seen; raise `DataError` for no rows, no features, or labels that are no classes.

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
        classes = self._classes() if self.task == "classification" else None
        class_counts = self._count(classes) if classes else ()
        digests = [self._features.digest(), self._targets.digest(), self._weights.digest() if self._weighted else b""]
        return DataInfo(
            self.num_rows,
            feature_names,
            self.target_name,
            classes,
            sha256(b"".join(digests)).hexdigest(),
            self._with_means(columns),
            self.dtype,
            weighted=self._weighted,
            class_counts=class_counts,
            stamp=stamp,
            blocks=blocks,
        )

    def _count(self, classes: Classes) -> tuple[int, ...]:
        """Return the rows of each class, and take the class numbers into the fingerprint."""
        places = class_numbers(self._labels, classes).astype(self.dtype)
        counts = np.zeros(len(classes), dtype=np.int64)
        for codes in self._codes:
            numbers = places[codes]
            self._targets.update(numbers.data)
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

    def _classes(self) -> Classes:
        where = f"{self.file}, target {self.target_name!r}"
        numbers = [number(label) for label in self._labels]
        values = {value for value in numbers if value is not None and isfinite(value)}
        classes: Classes = tuple(sorted({str(label) for label in self._labels}))
        if None not in numbers and all(isfinite(value) for value in numbers if value is not None):
            if broken := sorted(value for value in values if not value.is_integer()):
                raise DataError(
                    f"{where}: got {broken[0]} where a class is expected (whole number or text). "
                    "Use task: regression, or another target."
                )
            classes = tuple(sorted(int(value) for value in values))
        if len(classes) == 1:
            raise DataError(
                f"{where}: got the one class {classes[0]!r} in all {self.num_rows} rows. "
                "Give rows of at least two classes, or another target."
            )
        return classes
