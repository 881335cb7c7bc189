"""The arithmetic whose last bits may depend on the processor, in one place, so that it can be exchanged.

``FAST`` takes BLAS, LAPACK and NumPy's vector functions: the fastest there is, and the same bits on processors with
the same kernels (a node's ``numeric_class``). ``STRICT`` (``workers.strict_kernels``) takes only what has the
same bits everywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from workers.data.rows import Dense, Matrix


class Kernels(ABC):
    """Products, elementary functions and linear systems; results have the type of the first argument."""

    name: ClassVar[str]

    @abstractmethod
    def product(self, X: Matrix, W: Dense) -> Dense:
        """Return ``X W``, shape ``(rows, outputs)``, for dense or sparse ``X`` and ``W`` (features, outputs)."""

    @abstractmethod
    def pull_back(self, X: Matrix, R: Dense) -> Dense:
        """Return ``X' R``, shape ``(features, outputs)``, for dense or sparse ``X`` and ``R`` (rows, outputs)."""

    @abstractmethod
    def gram(self, A: Dense, B: Dense) -> Dense:
        """Return ``A' B`` for dense ``A`` (rows, a) and ``B`` (rows, b)."""

    @abstractmethod
    def exp(self, values: Dense) -> Dense:
        """Return ``e**x`` of each value; 0 and infinity beyond the range."""

    @abstractmethod
    def log(self, values: Dense) -> Dense:
        """Return the natural logarithm of each value."""

    @abstractmethod
    def log1p(self, values: Dense) -> Dense:
        """Return the natural logarithm of ``1 + x``, exact for small ``x``; for values from 0 to 1."""

    @abstractmethod
    def dot(self, a: Dense, b: Dense) -> float:
        """Return the inner product of two vectors."""

    @abstractmethod
    def solve(self, A: Dense, b: Dense) -> Dense:
        """Return the solution of least norm of ``A x = b`` for a symmetric ``A`` without negative eigenvalues."""


class FastKernels(Kernels):
    """BLAS, LAPACK and NumPy's vector functions."""

    name = "fast"

    def product(self, X: Matrix, W: Dense) -> Dense:
        """Return ``X W``."""
        result: Dense = X @ W.astype(X.dtype, copy=False)
        return result

    def pull_back(self, X: Matrix, R: Dense) -> Dense:
        """Return ``X' R``."""
        result: Dense = X.T @ R.astype(X.dtype, copy=False)
        return result

    def gram(self, A: Dense, B: Dense) -> Dense:
        """Return ``A' B``."""
        result: Dense = A.T @ B
        return result

    def exp(self, values: Dense) -> Dense:
        """Return ``e**x`` of each value."""
        result: Dense = np.exp(values)
        return result

    def log(self, values: Dense) -> Dense:
        """Return the natural logarithm of each value."""
        result: Dense = np.log(values)
        return result

    def log1p(self, values: Dense) -> Dense:
        """Return the natural logarithm of ``1 + x``."""
        result: Dense = np.log1p(values)
        return result

    def dot(self, a: Dense, b: Dense) -> float:
        """Return the inner product of two vectors."""
        return float(a @ b)

    def solve(self, A: Dense, b: Dense) -> Dense:
        """Return the solution of least norm, by singular values."""
        solution: Dense = np.linalg.lstsq(A, b, rcond=None)[0]
        return solution


FAST = FastKernels()
