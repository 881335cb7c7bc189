"""Standardised columns as an affine view of raw ones: the rows stay as they were read.

``a = (x - center) / scale`` is applied to weights and gradients instead of rows, so there is no second copy of the
data, and sparse rows stay sparse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, dia_array

from workers.data.rows import Floats, Matrix, Rows
from workers.kernels import Kernels

BLOCK_BYTES = 1 << 20
"""Rows are taken in blocks of about this size, so that a block is still in the cache when it is read again."""

COPIED_BYTES = BLOCK_BYTES // 4
"""The same where a block is copied, and float32 becomes float64."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Where the columns' zero is and how long their unit, both of shape ``(features,)``."""

    center: Floats
    scale: Floats

    @staticmethod
    def raw(num_features: int) -> Columns:
        """Return the columns as they are."""
        return Columns(np.zeros(num_features), np.ones(num_features))

    def to_raw(self, weights: Floats, intercepts: Floats) -> tuple[Floats, Floats]:
        """Return weights ``(features, outputs)`` and intercepts for raw columns, from those for standardised ones."""
        raw = weights / self.scale[:, None]
        return raw, intercepts - (self.center[:, None] * raw).sum(axis=0)

    def from_raw(self, weights: Floats, intercepts: Floats) -> tuple[Floats, Floats]:
        """Return weights and intercepts for standardised columns, from those for raw ones."""
        return weights * self.scale[:, None], intercepts + (self.center[:, None] * weights).sum(axis=0)

    def pull(self, products: Floats, totals: Floats) -> Floats:
        """Return ``A' R`` from ``X' R`` (features, outputs) and the column sums of ``R`` (outputs,)."""
        pulled: Floats = (products - np.multiply.outer(self.center, totals)) / self.scale[:, None]
        return pulled

    def standardised(self, X: Matrix) -> Floats:
        """Return rows as the parameters see them, dense and in float64."""
        rows = X.toarray() if isinstance(X, csr_array) else X
        standardised: Floats = (rows - self.center) / self.scale
        return standardised

    def squared_norms(self, X: Matrix) -> Floats:
        """Return ``|a|**2`` of each row, shape ``(rows,)``."""
        if not isinstance(X, csr_array):
            columns = self.standardised(X)
            norms: Floats = (columns * columns).sum(axis=1)
            return norms
        zero = (self.center / self.scale) ** 2
        values = ((X.data - self.center[X.indices]) / self.scale[X.indices]) ** 2 - zero[X.indices]
        changes = csr_array((values, X.indices, X.indptr), shape=X.shape).sum(axis=1)
        far: Floats = np.asarray(changes, dtype=np.float64) + zero.sum()
        return np.maximum(far, 0.0)

    def gram(self, X: Matrix, side: Floats, weights: Floats | None, kernels: Kernels) -> Floats:
        """Return ``sum w b b'`` over the rows, where ``b`` is a standardised row followed by its row of ``side``.

        ``side`` has shape ``(rows, k)``, such as a column of ones for the intercept; ``weights`` None counts 1.
        """
        if not isinstance(X, csr_array):
            rows = np.hstack([self.standardised(X), side])
            return kernels.gram(rows, rows if weights is None else weights[:, None] * rows)
        w = np.ones(len(side)) if weights is None else weights
        # Columns without a zero can be far from it: those are centred as they are, before digits cancel.
        full = np.bincount(X.indices, minlength=X.shape[1]) == X.shape[0]
        center = np.where(full, 0.0, self.center)
        X = csr_array((X.data - np.where(full, self.center, 0.0)[X.indices], X.indices, X.indptr), shape=X.shape)
        weighted = dia_array((w[None, :], [0]), shape=(len(w), len(w))) @ X
        cross = np.multiply.outer(center, np.asarray(weighted.sum(axis=0)))
        second = kernels.cross(X, weighted) - cross - cross.T + w.sum() * np.multiply.outer(center, center)
        second /= np.multiply.outer(self.scale, self.scale)
        heavy = w[:, None] * side
        edge = Columns(center, self.scale).pull(kernels.pull_back(X, heavy), heavy.sum(axis=0))
        return np.block([[second, edge], [edge.T, kernels.gram(side, heavy)]])


def blocks(rows: Rows, at_least: int = 1, num_bytes: int = BLOCK_BYTES) -> Iterator[Rows]:
    """Yield ``rows`` in runs of neighbours that fit into a processor's cache, of ``at_least`` so many rows."""
    num_rows = len(rows)
    bytes_per_row = max(1, rows.nbytes // max(1, num_rows))
    size = max(at_least, num_bytes // bytes_per_row, 64)
    if size >= num_rows:
        yield rows
        return
    for start in range(0, num_rows, size):
        yield rows[start : start + size]


def sample(rows: Rows, limit: int, runs: int = 16) -> Iterator[Rows]:
    """Yield about ``limit`` of the rows, in ``runs`` runs of neighbours spread evenly; all if they are fewer."""
    num_rows = len(rows)
    if num_rows <= limit:
        yield rows
        return
    length = -(-limit // runs)
    for run in range(runs):
        start = (num_rows - length) * run // max(runs - 1, 1)
        yield rows[start : start + length]
