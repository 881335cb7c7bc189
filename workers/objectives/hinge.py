"""Support vector machines with two classes."""

import numpy as np

from workers.data.rows import Dense
from workers.objectives.base import TwoClasses


class Hinge(TwoClasses):
    """``max(0, 1 - s z)`` with the sign ``s`` of class 1: the linear support vector machine."""

    name = "hinge"
    smoothness = np.inf
    is_curved = False
    source = "Cortes, Vapnik, Support-Vector Networks (1995)"

    def losses(self, Z: Dense, y: Dense) -> Dense:
        """Return the loss of each row, shape ``(rows,)``."""
        return np.maximum(1.0 - self.agreement(Z, y), 0.0)

    def residuals(self, Z: Dense, y: Dense) -> Dense:
        """Return a subgradient: ``-s`` where the loss is positive, else 0; shape ``(rows, 1)``."""
        return self.signed(-(self.agreement(Z, y) < 1.0).astype(Z.dtype), y)


class SquaredHinge(TwoClasses):
    """``max(0, 1 - s z)**2 / 2`` with the sign ``s`` of class 1: a support vector machine without corners."""

    name = "squared-hinge"
    smoothness = 1.0
    source = "Fan, Chang, Hsieh, Wang, Lin, LIBLINEAR: A Library for Large Linear Classification (2008)"

    def losses(self, Z: Dense, y: Dense) -> Dense:
        """Return the loss of each row, shape ``(rows,)``."""
        short = np.maximum(1.0 - self.agreement(Z, y), 0.0)
        losses: Dense = 0.5 * short * short
        return losses

    def residuals(self, Z: Dense, y: Dense) -> Dense:
        """Return ``-s max(0, 1 - s z)``, shape ``(rows, 1)``."""
        return self.signed(-np.maximum(1.0 - self.agreement(Z, y), 0.0), y)

    def curvatures(self, Z: Dense, y: Dense) -> Dense:
        """Return 1 where the loss is positive, else 0; shape ``(rows, 1, 1)``."""
        return (self.agreement(Z, y) < 1.0).astype(np.float64)[:, None, None]
