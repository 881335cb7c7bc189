"""Means of columns, exact whatever the blocks in which the rows come, and filling with them."""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.data.rows import Dense, Floats

_MANTISSA_BITS = 53
_HALF_BITS = 27
_MAX_ROWS = 1 << 25  # so that sums of halves stay below 2**53


class ColumnSums:
    """Adds up columns exactly: for each exponent of the numbers the sum of their mantissas, as whole numbers.

    That is a long accumulator (Kulisch & Miranker 1986), kept sparse, in two halves that float64 sums without rounding.
    """

    def __init__(self) -> None:
        self._by_exponent: dict[int, NDArray[Any]] = {}
        self._counts: Any = 0

    def add(self, X: Dense) -> None:
        """Add rows (n, d); NaN is no value and is left out."""
        for start in range(0, len(X), _MAX_ROWS):
            self._add(X[start : start + _MAX_ROWS].astype(np.float64))

    def means(self) -> list[float | None]:
        """Return the mean (d,) of each column's values, correctly rounded; None where there is none."""
        totals: dict[int, Fraction] = {}
        for exponent, sums in self._by_exponent.items():
            unit = Fraction(2) ** (exponent - _MANTISSA_BITS)
            for column in np.flatnonzero(sums).tolist():
                totals[column] = totals.get(column, Fraction(0)) + sums[column] * unit
        counts = np.atleast_1d(self._counts).tolist()
        return [float(totals.get(column, Fraction(0)) / n) if n else None for column, n in enumerate(counts)]

    def _add(self, X: Floats) -> None:
        missing = np.isnan(X)
        self._counts = self._counts + (len(X) - missing.sum(axis=0))
        if not X.size:
            return
        fractions, exponents = np.frexp(np.where(missing, 0.0, X))
        mantissas = (fractions * 2.0**_MANTISSA_BITS).astype(np.int64)
        first, d = int(exponents.min()), X.shape[1]
        places = (exponents - first).astype(np.int64) * d + np.arange(d)
        span = int(exponents.max()) - first + 1
        high, low = mantissas >> _HALF_BITS, mantissas & ((1 << _HALF_BITS) - 1)
        for half, bits in ((high, _HALF_BITS), (low, 0)):
            sums = np.bincount(places.ravel(), weights=half.ravel().astype(np.float64), minlength=span * d)
            for exponent, row in enumerate(sums.reshape(span, d), start=first + bits):
                if row.any():
                    whole = row.astype(np.int64).astype(object)  # Python's whole numbers have no end
                    self._by_exponent[exponent] = self._by_exponent.get(exponent, 0) + whole


def fill(X: Dense, means: Floats) -> None:
    """Put the means (d,) in the place of every NaN in X (n, d)."""
    if len(means):
        rows, columns = np.nonzero(np.isnan(X))
        X[rows, columns] = means[columns]
