"""Linear systems without LAPACK: column operations that have the same bits everywhere."""

from __future__ import annotations

import math

import numpy as np

from workers.data.rows import Floats


def tree_sum(terms: Floats) -> Floats:
    """Return the sum along the first axis, and spoil ``terms``.

    The second half is added to the first until one is left, so that the order is written here, and not in NumPy;
    the error grows with the logarithm of the number of terms.
    """
    rest = len(terms)
    if not rest:
        return np.zeros(terms.shape[1:], terms.dtype)
    while rest > 1:
        half = rest // 2
        terms[:half] += terms[rest - half : rest]
        rest -= half
    first: Floats = terms[0]
    return first


def least_norm(A: Floats, b: Floats) -> Floats:
    """Return the solution of least norm of ``A x = b``, or of its least squares where there is none.

    ``A`` is symmetric without negative eigenvalues, shape ``(d, d)``, ``b`` has shape ``(d,)`` or ``(d, systems)``.
    ``A = L' L`` by Cholesky's method with diagonal pivots down to the rank, ``L' = Q R`` by Householder's reflections,
    and then ``x = Q R^-T R^-1 Q' b``: no worse conditioned than ``A``. Directions are lost where ``numpy.linalg.lstsq``
    loses them by default: below ``d`` rounding errors of the largest.

    Source: N. J. Higham, "Accuracy and Stability of Numerical Algorithms" (2002), section 10.3; G. H. Golub and
    C. F. Van Loan, "Matrix Computations" (2013), sections 5.2 and 5.5.

    Raises
    ------
    numpy.linalg.LinAlgError
        If ``A`` holds NaN or infinity.
    """
    if not np.isfinite(A).all():
        raise np.linalg.LinAlgError(f"{np.count_nonzero(~np.isfinite(A))} of {A.size} entries are not finite")
    x = (b[:, None] if b.ndim == 1 else b).astype(np.float64)
    exponent = int(np.frexp(np.abs(A).max(initial=0.0))[1])
    factor = _cholesky(np.ldexp(A.astype(np.float64, copy=False), -exponent))
    rank = len(factor)
    reflections = _triangularise(factor)
    for k, v in enumerate(reflections):
        _reflect(x[k:], v)
    _solve_triangles(factor[:, :rank], x[:rank])
    x[rank:] = 0.0
    for k in reversed(range(rank)):
        _reflect(x[k:], reflections[k])
    return np.ldexp(x, -exponent).reshape(b.shape)


def _cholesky(A: Floats) -> Floats:
    """Return ``L``, shape ``(rank, d)``, with ``A = L' L``; ``A`` is spoilt."""
    size = len(A)
    least = np.finfo(np.float64).eps * size * float(tree_sum(np.abs(A)).max(initial=0.0))
    diagonal = np.diagonal(A)
    rows = []
    update = np.empty_like(A)
    for _ in range(size):
        pivot = int(diagonal.argmax())
        if diagonal[pivot] <= least:
            break
        row = A[pivot] / math.sqrt(diagonal[pivot])
        A -= np.multiply(row[:, None], row, out=update)
        A[pivot] = A[:, pivot] = 0.0
        rows.append(row)
    return np.array(rows).reshape(len(rows), size)


def _triangularise(factor: Floats) -> list[Floats]:
    """Reflect the rows of ``factor`` to a lower triangle in place, and return the unit vectors of the reflections."""
    reflections = []
    for k in range(len(factor)):
        v = factor[k, k:].copy()
        v[0] += math.copysign(math.sqrt(tree_sum(v * v)), v[0])
        v /= math.sqrt(tree_sum(v * v))
        _reflect(factor[k:, k:].T, v)
        reflections.append(v)
    return reflections


def _reflect(columns: Floats, v: Floats) -> None:
    """Reflect every column at the plane across the unit vector ``v``, in place."""
    columns -= (2.0 * v)[:, None] * tree_sum(columns * v[:, None])


def _solve_triangles(T: Floats, x: Floats) -> None:
    """Replace ``x`` by ``T^-1 T'^-1 x`` for a lower triangle ``T``."""
    for k in reversed(range(len(T))):
        x[k] /= T[k, k]
        x[:k] -= T[k, :k, None] * x[k]
    for k in range(len(T)):
        x[k] /= T[k, k]
        x[k + 1 :] -= T[k + 1 :, k, None] * x[k]
