"""The fastest kernels: the same bits on processors of the same kind."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack  # at the top: whoever limits BLAS to a thread must find SciPy's own

from workers.data.rows import Dense, Matrix
from workers.kernels.base import Kernels

WELL_CONDITIONED = 1e-8
"""Reciprocal condition from which Cholesky's factor is as good as singular values, and several times faster."""


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

    def cross(self, X: Matrix, Y: Matrix) -> Dense:
        """Return ``X' Y``."""
        result: Dense = (X.T @ Y).toarray()
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
        """Return the solution of least norm: by Cholesky where the condition is good, else by singular values."""
        factor, failed = lapack.dpotrf(A, lower=True)
        if not failed and len(A) and lapack.dpocon(factor, np.abs(A).sum(axis=0).max(), uplo="L")[0] > WELL_CONDITIONED:
            found: Dense = lapack.dpotrs(factor, b, lower=True)[0]
            return found
        solution: Dense = np.linalg.lstsq(A, b, rcond=None)[0]
        return solution


FAST = FastKernels()
