"""Arrays in memory: what scikit-learn's estimators are given, and what its loaders return."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from workers.data.array_source import BLOCK_BYTES, default_names
from workers.data.fingerprint import fingerprint, hashed
from workers.data.rows import Dense, Floats, Matrix, Rows, is_sparse, rows_of
from workers.data.source import Classes, DataInfo, DtypeChoice, Ints, Source, Task, aligned_copy, check_rows
from workers.data.tally import MAX_CLASSES
from workers.errors import DataError, Problems, did_you_mean

HINT = "Mend the values, or leave the rows out (rows count from 0)."


class MemorySource(Source):
    """X (n, d), y (n,) and, if given, weights (n,) in memory.

    X is kept as it is if it is dense or a `csr_array`, of `dtype` (`auto`: float64 or float32); other numbers become
    that (`auto`: float64), other sparse formats a `csr_array`, in which nothing is stored twice, or is zero. y holds
    numbers for regression, labels of any type that can be sorted for classification; `classes` (k,), sorted, says which
    there are where y may lack some. Nothing given is changed, and nothing is copied without need, so read-only arrays
    in shared memory serve as well. Raise `DataError` for shapes, types and labels that are none of this.
    """

    def __init__(
        self,
        X: Any,
        y: Any,
        weights: Any = None,
        *,
        classes: Any = None,
        feature_names: Sequence[str] | None = None,
        target_name: str = "target",
        dtype: DtypeChoice = "auto",
        name: str = "the arrays in memory",
    ) -> None:
        self.name, self.target_name = name, target_name
        self._classes = None if classes is None else np.asarray(classes)
        self.X = _sparse(X, dtype, name) if issparse(X) else _dense(X, dtype, name)
        self.y = np.asarray(y)
        self.weights: Floats | None = None if weights is None else _numbers(weights, f"{name}, weights", np.float64)
        num_rows, num_features = self.X.shape
        if self.y.shape != (num_rows,):
            raise DataError(f"{name}: X has {num_rows} rows, but y has shape {self.y.shape}. Give one target a row.")
        if self.weights is not None and self.weights.shape != (num_rows,):
            raise DataError(f"{name}: X has {num_rows} rows, but the weights have shape {self.weights.shape}.")
        names = default_names(np.arange(num_features)) if feature_names is None else feature_names
        self.feature_names = tuple(map(str, names))
        if len(self.feature_names) != num_features:
            raise DataError(f"{name}: X has {num_features} columns, but {len(self.feature_names)} names were given.")

    @cached_property
    def classes(self) -> NDArray[Any]:
        """The different labels (k,), sorted, of the type of y; class number i is `classes[i]`."""
        if self._classes is not None:
            return self._classes
        try:
            return np.unique(self.y)
        except TypeError as error:
            raise DataError(f"{self._target} cannot be sorted: {error}. Give labels of one type.") from error

    def describe(self, task: Task) -> DataInfo:
        """Check every value; raise `DataError` for NaN, infinity, weights below 0, no rows, unfit labels."""
        if task not in get_args(Task):
            raise DataError(f"unknown task {task!r}. {did_you_mean(str(task), get_args(Task))}")
        if 0 in self.X.shape:
            raise DataError(f"{self.name}: X has shape {self.X.shape}. Give at least one row and one column.")
        problems = Problems(self.name)
        self._check_features(problems)
        self._check_weights(problems)
        classes = self._class_names(problems) if task == "classification" else None
        targets = self._targets(slice(None), task)
        if classes is None:
            for row in np.flatnonzero(~np.isfinite(targets)):
                problems.add(f"row {row}", f"target {self.target_name!r}", f"got {targets[row]}", HINT)
        problems.check()
        arrays = [self.X, targets] if self.weights is None else [self.X, targets, self.weights]
        return DataInfo(
            num_rows=len(self.y),
            feature_names=self.feature_names,
            target_name=self.target_name,
            classes=classes,
            fingerprint=fingerprint(*map(hashed, arrays)),
            dtype="float32" if self.X.dtype == np.float32 else "float64",
            row_values=np.diff(self.X.indptr).astype(np.int64) if isinstance(self.X, csr_array) else None,
            weighted=self.weights is not None,
            class_counts=()
            if classes is None
            else tuple(np.bincount(targets.astype(np.int64), minlength=len(classes)).tolist()),
        )

    def read(self, rows: Ints, info: DataInfo) -> Rows:
        """Return copies of the n `rows`."""
        check_rows(rows, info)
        X = self.X[rows]
        return Rows(
            X if is_sparse(X) else aligned_copy(X),
            aligned_copy(self._targets(rows, info.task)),
            None if self.weights is None else self.weights[rows],
        )

    @property
    def _target(self) -> str:
        return f"{self.name}, target {self.target_name!r}"

    def _targets(self, rows: Any, task: Task) -> Dense:
        """Return the targets of `rows` as numbers of the type of X: values, or class numbers."""
        if task == "classification":
            numbers: Dense = np.searchsorted(self.classes, self.y[rows]).astype(self.X.dtype)
            return numbers
        return _numbers(self.y[rows], self._target, self.X.dtype)

    def _class_names(self, problems: Problems) -> Classes:
        classes = self.classes
        if not 1 < len(classes) <= MAX_CLASSES:
            got = f"the one class {classes[0].item()!r}" if len(classes) == 1 else f"{len(classes)} classes"
            raise DataError(f"{self._target}: got {got} in {len(self.y)} rows. Give 2 to {MAX_CLASSES}, or regress.")
        if classes.dtype.kind == "f":
            for row in np.flatnonzero(~np.isfinite(self.y)):
                problems.add(f"row {row}", f"target {self.target_name!r}", f"got {self.y[row]}", HINT)
            problems.check()
            if (broken := classes[classes % 1 != 0]).size:
                raise DataError(
                    f"{self._target}: got {broken[0]} where a class is expected (whole number or text). "
                    "Use task: regression, or another target."
                )
        labels = classes.tolist()
        self._check_labels(classes)
        if all(isinstance(label, (bool, int, float)) for label in labels):
            return tuple(map(int, labels))
        return tuple(map(str, labels))

    def _check_labels(self, classes: NDArray[Any]) -> None:
        if self._classes is None:
            return
        nearest = classes[np.minimum(np.searchsorted(classes, self.y), len(classes) - 1)]
        strange = np.unique(self.y[nearest != self.y]).tolist()
        if strange:
            more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
            raise DataError(
                f"{self._target}: got {', '.join(map(repr, strange[:3]))}{more}, not among the sorted classes. "
                f"{did_you_mean(str(strange[0]), map(str, classes.tolist()))}"
            )

    def _check_features(self, problems: Problems) -> None:
        for start, part in self._blocks():
            values = part.data if is_sparse(part) else part
            if np.isfinite(values).all():
                continue
            bad = part.tocoo() if is_sparse(part) else None
            rows, columns = np.nonzero(~np.isfinite(part)) if bad is None else (bad.row, bad.col)
            found = values[rows, columns] if bad is None else bad.data
            for row, column, value in zip(rows, columns, found, strict=True):
                if not np.isfinite(value):
                    where = f"column {self.feature_names[column]!r}"
                    problems.add(f"row {start + row}", where, f"got {value}", HINT)

    def _check_weights(self, problems: Problems) -> None:
        if self.weights is None:
            return
        for row in np.flatnonzero(~(np.isfinite(self.weights) & (self.weights >= 0))):
            problems.add(f"row {row}", "weight", f"got {self.weights[row]}", "Weights are finite and at least 0.")
        problems.check()
        if not self.weights.any():
            raise DataError(f"{self.name}: every weight is 0. Give some rows a weight.")

    def _blocks(self) -> Iterator[tuple[int, Matrix]]:
        num_rows, num_features = self.X.shape
        block_rows = max(1, BLOCK_BYTES // (8 * num_features))
        for start in range(0, num_rows, block_rows):
            yield start, rows_of(self.X, slice(start, min(num_rows, start + block_rows)))


def _dtype(values: Any, dtype: DtypeChoice, where: str) -> Any:
    """Return what the values are to become; raise `DataError` if they are no numbers."""
    if values.ndim != 2:
        raise DataError(f"{where}: needs X of shape (n, d), got {values.shape}. Reshape it.")
    if values.dtype.kind not in ("biuf" if issparse(values) else "biufO"):
        raise DataError(f"{where}, X: needs numbers: got type {values.dtype}.")
    kept = values.dtype.type in (np.float64, np.float32)
    return np.dtype(values.dtype.type if dtype == "auto" and kept else np.float64 if dtype == "auto" else dtype)


def _numbers(values: Any, where: str, dtype: Any) -> Dense:
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biufO":
            raise TypeError(f"got type {array.dtype}")
        with np.errstate(over="ignore"):  # what overflows float32 is infinite, and found
            return array.astype(dtype, copy=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: needs numbers: {error}.") from error


def _dense(values: Any, dtype: DtypeChoice, name: str) -> Dense:
    array = np.asarray(values)
    wanted = _dtype(array, dtype, name)
    return array if array.dtype == wanted else _numbers(array, f"{name}, X", wanted)


def _sparse(matrix: Any, dtype: DtypeChoice, name: str) -> Matrix:
    with np.errstate(over="ignore"):
        X = csr_array(matrix, dtype=_dtype(matrix, dtype, name))
    if not (X.has_canonical_format and X.data.all()):
        X = X.copy()  # it may share its arrays with what was given
        X.sum_duplicates()
        X.eliminate_zeros()
    return X
