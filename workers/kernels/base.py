"""The interface of the kernels: products, elementary functions and linear systems."""

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
    def cross(self, X: Matrix, Y: Matrix) -> Dense:
        """Return ``X' Y`` for sparse ``X`` (rows, a) and ``Y`` (rows, b)."""

    @abstractmethod
    def exp(self, values: Dense) -> Dense:
        """Return ``e**x`` of each value; 0 and infinity beyond the range."""

    @abstractmethod
    def log(self, values: Dense) -> Dense:
        """Return the natural logarithm of each value."""

    @abstractmethod
    def log1p(self, values: Dense) -> Dense:
        """Return the natural logarithm of ``1 + x``, exact for small ``x``; for values from 0 to 1."""

    def sigmoid(self, values: Dense) -> Dense:
        """Return ``1 / (1 + exp(-x))`` of each value; stable for values of any size."""
        small = self.exp(-np.abs(values))
        sigmoid: Dense = np.where(values >= 0, 1.0, small) / (1.0 + small)
        return sigmoid

    @abstractmethod
    def dot(self, a: Dense, b: Dense) -> float:
        """Return the inner product of two vectors."""

    @abstractmethod
    def solve(self, A: Dense, b: Dense) -> Dense:
        """Return the solution of least norm of ``A x = b`` for a symmetric ``A`` without negative eigenvalues."""
