"""Counts, classes and the fingerprint of data that passes by in blocks."""

from collections.abc import Iterable, Sequence
from itertools import count
from math import isfinite
from typing import Any, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from workers.data.fingerprint import MatrixHash, fingerprint
from workers.data.rows import Floats, Matrix
from workers.data.source import Classes, Column, DataInfo, Task
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
    """Takes data block by block and ends as its `DataInfo`; holds two bytes for each row at most."""

    def __init__(self, task: Task, file: str, target_name: str) -> None:
        if task not in get_args(Task):
            raise DataError(f"unknown task {task!r}. {did_you_mean(str(task), get_args(Task))}")
        self.task, self.file, self.target_name = task, file, target_name
        self.num_rows = 0
        self._features, self._targets = MatrixHash(), MatrixHash()
        self._labels: dict[Label, int] = {}
        self._codes: list[NDArray[np.uint16]] = []

    def add(self, X: Matrix, y: Floats | list[Label]) -> None:
        """Take the next rows: X (n, d), and y (n,) as values for regression, as labels for classification."""
        self.num_rows += X.shape[0]
        self._features.add(X)
        if isinstance(y, list):
            self._add_labels(y)
        else:
            self._targets.add(y)

    def info(self, feature_names: tuple[str, ...], columns: tuple[Column, ...] = (), **facts: Any) -> DataInfo:
        """Return what was seen, and `facts` besides; raise `DataError` for no rows, no features, or unfit labels."""
        if not feature_names:
            raise DataError(f"{self.file}: no feature is left beside the target {self.target_name!r}. Add one.")
        if not self.num_rows:
            raise DataError(
                f"{self.file}: no rows, or none without a missing cell. Add rows, or remove an empty column."
            )
        classes = self._classes() if self.task == "classification" else None
        if classes:
            places = class_numbers(self._labels, classes)
            for codes in self._codes:
                self._targets.add(places[codes])
        digest = fingerprint(self._features.chunks(), self._targets.chunks())
        return DataInfo(self.num_rows, feature_names, self.target_name, classes, digest, columns, **facts)

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
