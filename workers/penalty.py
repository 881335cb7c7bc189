"""What large weights cost: elastic net, the sum of a ridge (L2) and a lasso (L1) penalty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.data.rows import Floats


@dataclass(frozen=True)
class Penalty:
    """``l2 / 2 * |w|**2 + l1 * sum |w|`` on the weights of standardised columns; intercepts cost nothing.

    Source: Zou, Hastie, Regularization and variable selection via the elastic net (2005).
    """

    l2: float = 0.0
    l1: float = 0.0

    def value(self, parameters: Floats, mask: Floats) -> float:
        """Return the cost; ``mask`` is 1 where a parameter is a weight, 0 where it is an intercept."""
        ridge = 0.5 * self.l2 * float((mask * parameters * parameters).sum())
        return ridge + (self.l1 * float((mask * np.abs(parameters)).sum()) if self.l1 else 0.0)

    def shrunk(self, parameters: Floats, step: Floats | float) -> Floats:
        """Return the proximal step of the lasso part: ``parameters`` moved towards 0 by ``step * l1``.

        ``step`` is a number, or one for each parameter (0 where nothing is to be shrunk).
        """
        if not self.l1:
            return parameters
        shrunk: Floats = np.sign(parameters) * np.maximum(np.abs(parameters) - self.l1 * step, 0.0)
        return shrunk


def quadratic_minimum(
    hessian: Floats, linear: Floats, start: Floats, thresholds: Floats, sweeps: int = 1000, tolerance: float = 1e-14
) -> Floats:
    """Return the minimum of ``x' H x / 2 - linear' x + thresholds' |x|`` by cyclic coordinate descent.

    Source: Friedman, Hastie, Tibshirani, Regularization paths for generalized linear models via coordinate
    descent (2010), section 2. Stops when no coordinate moves by more than ``tolerance`` of the largest.
    """
    x = start.copy()
    diagonal = np.diagonal(hessian)
    slope = np.einsum("ij,j->i", hessian, x) - linear
    for _ in range(sweeps):
        moved = 0.0
        for place in np.flatnonzero(diagonal > 0):
            curvature = diagonal[place]
            free = x[place] - slope[place] / curvature
            new = np.sign(free) * max(abs(free) - thresholds[place] / curvature, 0.0)
            change = new - x[place]
            if change:
                slope += change * hessian[:, place]
                x[place] = new
                moved = max(moved, abs(change))
        if moved <= tolerance * max(float(np.abs(x).max(initial=0.0)), 1e-300):
            break
    return x
