"""Logistic regression with two classes."""

import numpy as np

from workers.data.rows import Dense, Rows
from workers.objectives.base import TwoClasses


class Logistic(TwoClasses):
    """Cross-entropy of two classes, ``log(1 + exp(-s z))`` with the sign ``s`` of class 1."""

    name = "logistic"
    smoothness = 0.25
    source = "Cox, The Regression Analysis of Binary Sequences (1958)"

    def losses(self, Z: Dense, y: Dense) -> Dense:
        """Return the loss of each row, shape ``(rows,)``; stable for margins of any size."""
        agreement = self.agreement(Z, y)
        losses: Dense = self.kernels.log1p(self.kernels.exp(-np.abs(agreement))) - np.minimum(agreement, 0.0)
        return losses

    def residuals(self, Z: Dense, y: Dense) -> Dense:
        """Return ``sigmoid(z) - y``, shape ``(rows, 1)``; small ones keep their digits."""
        agreement = self.agreement(Z, y)
        small = self.kernels.exp(-np.abs(agreement))
        return self.signed(-_wrong(agreement, small), y)

    def measured(self, Z: Dense, rows: Rows) -> tuple[float, Dense]:
        """Return the sum of the rows' weighted losses, and their weighted residuals, from the same exponentials."""
        agreement = self.agreement(Z, rows.y)
        small = self.kernels.exp(-np.abs(agreement))
        losses = self.kernels.log1p(small) - np.minimum(agreement, 0.0)
        loss = float(rows.weighted(losses).sum(dtype=np.float64))
        return loss, rows.weighted(self.signed(-_wrong(agreement, small), rows.y))

    def curvatures(self, Z: Dense, y: Dense) -> Dense:
        """Return ``p (1 - p)``, shape ``(rows, 1, 1)``."""
        del y
        small = self.kernels.exp(-np.abs(Z.astype(np.float64)))
        return (small / ((1.0 + small) * (1.0 + small)))[:, :, None]

    def probabilities(self, Z: Dense) -> Dense:
        """Return the probability of each class, shape ``(rows, 2)``."""
        positive = self.kernels.sigmoid(Z)
        return np.hstack([1.0 - positive, positive])


def _wrong(agreement: Dense, small: Dense) -> Dense:
    """Return the probability of the other class, where ``small`` is ``exp(-|agreement|)``."""
    wrong: Dense = np.maximum(small, agreement < 0, dtype=small.dtype) / (1.0 + small)
    return wrong
