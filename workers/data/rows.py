"""Rows of data as they lie in memory: features, targets, and perhaps weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats: TypeAlias = NDArray[np.float64]
Dense: TypeAlias = NDArray[Any]
Matrix: TypeAlias = Any
"""Features: a C-contiguous array, or a ``csr_array``."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A run of rows.

    Attributes
    ----------
    X
        Features, shape ``(rows, features)``: dense and C-contiguous, or sparse by rows; float64 or float32.
    y
        Targets, shape ``(rows,)``, of the type of ``X``: values, or class numbers from 0.
    weights
        What each row counts, shape ``(rows,)``, float64; None where every row counts 1.
    """

    X: Matrix
    y: Dense
    weights: Floats | None = None

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.y)

    def __getitem__(self, part: slice) -> Rows:
        """Return neighbouring rows; nothing is copied."""
        weights = None if self.weights is None else self.weights[part]
        return Rows(rows_of(self.X, part), self.y[part], weights)

    @property
    def nbytes(self) -> int:
        """The memory that the arrays take."""
        return matrix_bytes(self.X) + self.y.nbytes + (0 if self.weights is None else self.weights.nbytes)

    @property
    def total_weight(self) -> float:
        """The sum of the weights; the number of rows where there are none."""
        return float(len(self.y)) if self.weights is None else float(self.weights.sum())

    def weighted(self, values: Dense) -> Dense:
        """Return ``values``, shape ``(rows,)`` or ``(rows, outputs)``, times the rows' weights."""
        if self.weights is None:
            return values
        weights = self.weights.astype(values.dtype, copy=False)
        product: Dense = values * (weights if values.ndim == 1 else weights[:, None])
        return product


def is_sparse(X: Matrix) -> bool:
    """Say whether ``X`` is sparse."""
    return isinstance(X, csr_array)


def matrix_bytes(X: Matrix) -> int:
    """Return the memory that ``X`` takes."""
    if isinstance(X, csr_array):
        return int(X.data.nbytes + X.indices.nbytes + X.indptr.nbytes)
    return int(X.nbytes)


def rows_of(X: Matrix, part: slice) -> Matrix:
    """Return neighbouring rows of ``X`` as a view; SciPy's own slice of a sparse matrix would be a copy."""
    if not isinstance(X, csr_array):
        return X[part]
    start, stop, step = part.indices(X.shape[0])
    if step != 1:
        raise ValueError(f"neighbouring rows have step 1, got {step}")
    stop = max(start, stop)
    first, last = int(X.indptr[start]), int(X.indptr[stop])
    view = csr_array((stop - start, X.shape[1]), dtype=X.dtype)
    view.data, view.indices = X.data[first:last], X.indices[first:last]
    view.indptr = X.indptr[start : stop + 1] - X.indptr[start]
    return view


def dense(X: Matrix, dtype: Any = None) -> Dense:
    """Return ``X`` as an array, of ``dtype`` if one is given; the array itself where it is one already."""
    array: Dense = X.toarray() if isinstance(X, csr_array) else X
    return array if dtype is None else array.astype(dtype, copy=False)
