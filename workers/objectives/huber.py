"""Robust regression."""

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from workers.data.rows import Dense
from workers.objectives.base import Regression


@dataclass(frozen=True)
class Huber(Regression):
    """Half the squared error up to ``delta``, then straight on: ``delta * (|z - y| - delta / 2)``.

    Raises
    ------
    ValueError
        If ``delta`` is not positive, or not finite.
    """

    delta: float = 1.35

    name = "huber"
    smoothness = 1.0
    margin_is_target = True
    source = "Huber, Robust Estimation of a Location Parameter (1964)"

    def __post_init__(self) -> None:
        if not 0.0 < self.delta < inf:
            raise ValueError(f"delta must be finite and greater than 0, got {self.delta}")

    def losses(self, Z: Dense, y: Dense) -> Dense:
        """Return the loss of each row, shape ``(rows,)``."""
        size = np.abs(Z[:, 0] - y)
        near = np.minimum(size, self.delta)
        losses: Dense = near * (size - 0.5 * near)
        return losses

    def residuals(self, Z: Dense, y: Dense) -> Dense:
        """Return ``z - y``, cut to ``-delta .. delta``, shape ``(rows, 1)``."""
        residuals: Dense = np.clip(Z - y[:, None], -self.delta, self.delta)
        return residuals

    def curvatures(self, Z: Dense, y: Dense) -> Dense:
        """Return 1 where the error is at most ``delta``, else ``delta`` over the error; shape ``(rows, 1, 1)``.

        The second derivative is 0 there, and where all errors are large Newton's method would not move. This is the
        least curvature of a parabola that touches the loss and lies nowhere below it, so that no step overshoots.
        Source: Holland, Welsch, Robust regression using iteratively reweighted least-squares (1977).
        """
        size = np.abs(Z.astype(np.float64) - y[:, None])
        return (self.delta / np.maximum(size, self.delta))[:, :, None]

    def describe(self) -> dict[str, Any]:
        """Return ``delta``."""
        return {"delta": self.delta}
