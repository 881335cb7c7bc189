"""The optimum to a precision that no benchmark needs to doubt: Newton's method in float64, in blocks of rows.

Nothing here is shared with what is measured, on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax

Floats = NDArray[np.float64]

BLOCK_ROWS = 1 << 16
MAX_STEPS = 100
GRADIENT_NORM = 1e-12
"""Relative to the gradient at zero."""

ROUNDING = 1e-14
"""A relative decrease of the objective that float64 cannot tell from none."""


class Reference:
    """The mean loss of a linear model plus ``l2 / 2 * |weights|**2``, and where it is smallest.

    Parameters are flat: the weights ``(features, outputs)`` row-major, then the intercepts ``(outputs,)``, which
    are not penalised.

    Parameters
    ----------
    objective
        ``squared`` (half the squared error), ``logistic`` (targets 0 or 1) or ``softmax`` (class numbers).
    X, y
        Shapes ``(rows, features)`` and ``(rows,)``, of any float type; converted block by block.
    """

    def __init__(self, objective: str, X: NDArray[Any], y: NDArray[Any], l2: float) -> None:
        self.objective, self.X, self.y, self.l2 = objective, X, y, l2
        self.num_outputs = int(y.max()) + 1 if objective == "softmax" else 1
        self.shape = (X.shape[1] + 1, self.num_outputs)
        self._bowl: tuple[Floats, float, Floats] | None = None

    def value(self, parameters: Floats) -> float:
        """Return the objective at ``parameters``; for least squares without the rows, once the optimum is known."""
        if self._bowl is not None:
            lowest, optimum, hessian = self._bowl
            away = parameters - lowest
            return optimum + 0.5 * float(away @ hessian @ away)
        matrix = np.asarray(parameters, dtype=np.float64).reshape(self.shape)
        total = sum(float(self._losses(A @ matrix, y).sum()) for A, y in self._blocks())
        return total / len(self.y) + self._penalty(matrix)

    def minimise(self) -> tuple[Floats, float]:
        """Return the optimal parameters, flat, and the objective there.

        Raises
        ------
        ArithmeticError
            If Newton's method does not get there.
        """
        parameters = np.zeros(self.shape).ravel()
        value, gradient, hessian = self._second_order(parameters)
        aim = GRADIENT_NORM * max(float(np.linalg.norm(gradient)), 1.0)
        for _ in range(MAX_STEPS):
            step = np.linalg.lstsq(hessian, -gradient, rcond=None)[0]
            size = 1.0
            while self.value(parameters + size * step) > value * (1.0 + ROUNDING) and size > 1e-6:
                size /= 2.0
            parameters = parameters + size * step
            before, (value, gradient, hessian) = value, self._second_order(parameters)
            if np.linalg.norm(gradient) <= aim or abs(before - value) <= ROUNDING * abs(value):
                if self.objective == "squared":
                    self._bowl = parameters, value, hessian
                return parameters, value
        raise ArithmeticError(f"no optimum after {MAX_STEPS} steps: the gradient is {np.linalg.norm(gradient):.2g}")

    def _blocks(self) -> Iterator[tuple[Floats, NDArray[Any]]]:
        """Yield rows with a column of ones, in float64, and their targets."""
        for start in range(0, len(self.y), BLOCK_ROWS):
            X = self.X[start : start + BLOCK_ROWS]
            A = np.ones((len(X), self.shape[0]))
            A[:, :-1] = X
            yield A, self.y[start : start + BLOCK_ROWS]

    def _losses(self, Z: Floats, y: NDArray[Any]) -> Floats:
        if self.objective == "squared":
            return 0.5 * (Z[:, 0] - y) ** 2
        if self.objective == "logistic":
            return np.logaddexp(0.0, np.where(y > 0, -Z[:, 0], Z[:, 0]))
        losses: Floats = -log_softmax(Z, axis=1)[np.arange(len(y)), y.astype(int)]
        return losses

    def _penalty(self, matrix: Floats) -> float:
        return 0.5 * self.l2 * float((matrix[:-1] ** 2).sum())

    def _second_order(self, parameters: Floats) -> tuple[float, Floats, Floats]:
        """Return value, gradient and Hessian, the latter two by flat parameters."""
        matrix = parameters.reshape(self.shape)
        width, outputs = self.shape
        value, gradient = 0.0, np.zeros(self.shape)
        hessian = np.zeros((width, outputs, width, outputs))
        for A, y in self._blocks():
            Z = A @ matrix
            value += float(self._losses(Z, y).sum())
            residuals, curvature = self._derivatives(Z, y)
            gradient += A.T @ residuals
            for a in range(outputs):
                for b in range(a + 1):
                    block = A.T @ (A * curvature[:, a, b, None])
                    hessian[:, a, :, b] += block
                    if a != b:
                        hessian[:, b, :, a] += block
        penalised = np.full(self.shape, self.l2)
        penalised[-1] = 0.0
        value = value / len(self.y) + self._penalty(matrix)
        flat = (gradient / len(self.y) + penalised * matrix).ravel()
        return value, flat, hessian.reshape(flat.size, flat.size) / len(self.y) + np.diag(penalised.ravel())

    def _derivatives(self, Z: Floats, y: NDArray[Any]) -> tuple[Floats, Floats]:
        """Return first ``(rows, outputs)`` and second ``(rows, outputs, outputs)`` derivatives by the margins."""
        if self.objective == "squared":
            return Z - y[:, None], np.ones((len(y), 1, 1))
        if self.objective == "logistic":
            chance = expit(Z)
            return chance - y[:, None], (chance * (1.0 - chance))[:, :, None]
        chances = np.exp(log_softmax(Z, axis=1))
        own = np.eye(self.num_outputs)
        curvature = chances[:, :, None] * (own - chances[:, None, :])
        return chances - own[y.astype(int)], curvature
