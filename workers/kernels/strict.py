"""The arithmetic of ``reproducible: strict``: the same bits whatever the processor, BLAS, C library or threads.

IEEE 754 rounds ``+ - * /`` and the square root correctly, so these have the same bits everywhere; only the *order* of
sums and *fused* multiply-adds can differ. Three means keep both out:

* products and sums are separate NumPy operations, and the order of a sum is written here (``tree_sum``) or is that of
  NumPy's sum along rows, which no instruction set changes;
* a compiled sum of products (SciPy's for sparse rows) is given products made before, times 1: it only adds, in order;
* a product of large matrices is cut into products of small integers, which BLAS computes without any rounding, so that
  its order cannot matter.

``numpy.einsum`` is faster but left out: it is compiled to fused multiply-adds where the build's baseline has
them, as on ARM.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workers.data.rows import Dense, Floats, Matrix
from workers.kernels import elementary
from workers.kernels.base import Kernels
from workers.kernels.least_norm import least_norm, tree_sum

BLOCK_ELEMENTS = 131072
"""Elements of a block of rows whose products stay in the cache."""

SHORT = 24
"""Rows shorter than this are transposed and summed across, longer ones each on its own: what is faster."""

MANY = 4
"""For so many outputs it is faster to transpose long rows, too."""

FEW = 16
"""Up to so many columns, integers cost more than they save."""

INTEGER_ROWS = 2048
"""Rows of a block that is cut into integers; at most ``2**(53 - 2 * DIGIT_BITS)``."""

DIGIT_BITS = 20
"""Integers up to ``2**20`` in size: the sum of 8192 products of two is exact in a float64."""


class StrictKernels(Kernels):
    """Correctly rounded operations in a fixed order, and exact products of integers."""

    name = "strict"

    def product(self, X: Matrix, W: Dense) -> Dense:
        """Return ``X W``."""
        W = W.astype(X.dtype, copy=False)
        result = np.empty((X.shape[0], W.shape[1]), X.dtype)
        if isinstance(X, csr_array):
            for k in range(W.shape[1]):
                result[:, k] = _with_data(X, X.data * W[:, k][X.indices]) @ np.ones(X.shape[1], X.dtype)
            return result
        for block in _blocks(X):
            _product(X[block], W, result[block])
        return result

    def pull_back(self, X: Matrix, R: Dense) -> Dense:
        """Return ``X' R``."""
        R = R.astype(X.dtype, copy=False)
        if not isinstance(X, csr_array):
            return self.gram(X, R)
        result = np.empty((X.shape[1], R.shape[1]), X.dtype)
        lengths = np.diff(X.indptr)
        for k in range(R.shape[1]):
            terms = _with_data(X, X.data * np.repeat(R[:, k], lengths))
            result[:, k] = terms.T @ np.ones(X.shape[0], X.dtype)
        return result

    def gram(self, A: Dense, B: Dense) -> Dense:
        """Return ``A' B``."""
        if B.shape[1] > FEW:
            return _integer_gram(A, B).astype(A.dtype, copy=False)
        B = B.astype(A.dtype, copy=False)
        result = np.zeros((A.shape[1], B.shape[1]), A.dtype)
        for block in _blocks(A):
            for k in range(B.shape[1]):
                result[:, k] += tree_sum(A[block] * B[block, k, None])
        return result

    def cross(self, X: Matrix, Y: Matrix) -> Dense:
        """Return ``X' Y``."""
        return self.pull_back(X, Y.toarray())

    def exp(self, values: Dense) -> Dense:
        """Return ``e**x`` of each value."""
        return elementary.exp(values)

    def log(self, values: Dense) -> Dense:
        """Return the natural logarithm of each value."""
        return elementary.log(values)

    def log1p(self, values: Dense) -> Dense:
        """Return the natural logarithm of ``1 + x``."""
        return elementary.log1p(values)

    def dot(self, a: Dense, b: Dense) -> float:
        """Return the inner product of two vectors."""
        return float(tree_sum(a * b))

    def solve(self, A: Dense, b: Dense) -> Dense:
        """Return the solution of least norm, by Cholesky's method with pivots."""
        return least_norm(A, b)


def _blocks(X: Dense) -> list[slice]:
    """Cut rows into blocks that fit into the cache."""
    rows = max(1, BLOCK_ELEMENTS // max(1, X.shape[1]))
    return [slice(start, start + rows) for start in range(0, X.shape[0], rows)]


def _product(X: Dense, W: Dense, result: Dense) -> None:
    """Put ``X W`` into ``result`` for one block."""
    if X.shape[1] < SHORT or W.shape[1] >= MANY:
        columns = np.ascontiguousarray(X.T)
        for k in range(W.shape[1]):
            result[:, k] = tree_sum(columns * W[:, k, None])
        return
    for k in range(W.shape[1]):
        np.add.reduce(np.multiply(X, W[:, k], order="C"), axis=1, out=result[:, k])


def _with_data(X: csr_array, data: Dense) -> csr_array:
    """Return a matrix with the places of ``X`` and other values."""
    return csr_array((data, X.indices, X.indptr), shape=X.shape)


def _integer_gram(A: Dense, B: Dense) -> Floats:
    """Return ``A' B`` in float64, by exact products of integers.

    A column is cut into digits of ``DIGIT_BITS`` bits below its largest value: three for float64, two for float32.
    The error is below that of a plain sum of products, in terms of the columns' norms.

    Source: K. Ozaki, T. Ogita, S. Oishi and S. M. Rump, "Error-free transformations of matrix multiplication by using
    fast routines of matrix multiplication and its applications" (2012).
    """
    total = np.zeros((A.shape[1], B.shape[1]))
    num_digits = 2 if A.dtype == B.dtype == np.float32 else 3
    for start in range(0, len(A), INTEGER_ROWS):
        block = slice(start, start + INTEGER_ROWS)
        left, left_exponents = _digits(A[block], num_digits)
        right, right_exponents = (left, left_exponents) if A is B else _digits(B[block], num_digits)
        part = np.zeros_like(total)
        for order in reversed(range(num_digits)):  # the smallest first
            part *= 2.0 ** -(DIGIT_BITS + 1)
            part += _digit_products(left, right, order)
        total += np.ldexp(part, left_exponents[:, None] + right_exponents)
    return total


def _digit_products(left: list[Floats], right: list[Floats], order: int) -> Floats:
    """Return the sum of the exact products of digits whose places add up to ``order``."""
    total: Floats = np.zeros((left[0].shape[1], right[0].shape[1]))
    for i in range(order + 1):
        j = order - i
        if left is right and i > j:
            continue
        product = left[i].T @ right[j]
        total += product + product.T if left is right and i < j else product
    return total


def _digits(A: Dense, number: int) -> tuple[list[Floats], NDArray[np.int32]]:
    """Cut columns into integers, the first digit first; return the exponents of the first ones, too."""
    exponents = np.frexp(np.abs(A).max(axis=0))[1] - np.int32(DIGIT_BITS)
    rest = np.ldexp(A.astype(np.float64, copy=False), -exponents)
    digits = []
    for _ in range(number):
        digit = np.rint(rest)
        digits.append(digit)
        rest -= digit
        rest *= 2.0 ** (DIGIT_BITS + 1)
    return digits, exponents


STRICT = StrictKernels()
