"""Least squares."""

import numpy as np

from workers.data.rows import Dense, Rows
from workers.objectives.base import Regression


class Squared(Regression):
    """Half the squared error, ``(z - y)**2 / 2``."""

    name = "squared"
    smoothness = 1.0
    margin_is_target = True
    source = "Legendre, Nouvelles methodes pour la determination des orbites des cometes (1805)"

    def losses(self, Z: Dense, y: Dense) -> Dense:
        """Return the loss of each row, shape ``(rows,)``."""
        difference = Z[:, 0] - y
        losses: Dense = 0.5 * difference * difference
        return losses

    def residuals(self, Z: Dense, y: Dense) -> Dense:
        """Return ``z - y``, shape ``(rows, 1)``."""
        residuals: Dense = Z - y[:, None]
        return residuals

    def measured(self, Z: Dense, rows: Rows) -> tuple[float, Dense]:
        """Return the sum of the losses and the residuals; without weights, the one is a product of the other."""
        if rows.weights is not None:
            return super().measured(Z, rows)
        residuals = self.residuals(Z, rows.y)
        return 0.5 * self.kernels.dot(residuals[:, 0], residuals[:, 0]), residuals

    def curvatures(self, Z: Dense, y: Dense) -> Dense:
        """Return ones, shape ``(rows, 1, 1)``."""
        del y
        return np.ones((len(Z), 1, 1))
