"""Logistic regression with two classes."""

import numpy as np

from workers.exact_sum import Floats
from workers.objectives.base import Classification


class Logistic(Classification):
    """Cross-entropy of two classes, ``log(1 + exp(-s z))`` with the sign ``s`` of class 1."""

    name = "logistic"
    smoothness = 0.25

    def refuse(self, num_classes: int) -> str | None:
        """Refuse more than two classes."""
        if num_classes > 2:
            return f"objective 'logistic' tells two classes apart, the target has {num_classes}: use 'softmax'"
        return None

    def losses(self, Z: Floats, y: Floats) -> Floats:
        """Return the loss of each row, shape ``(rows,)``; stable for margins of any size."""
        losses: Floats = np.logaddexp(0.0, np.where(y > 0, -Z[:, 0], Z[:, 0]))
        return losses

    def residuals(self, Z: Floats, y: Floats) -> Floats:
        """Return ``sigmoid(z) - y``, shape ``(rows, 1)``."""
        return self.probabilities(Z)[:, 1:] - y[:, None]

    def probabilities(self, Z: Floats) -> Floats:
        """Return the probability of each class, shape ``(rows, 2)``."""
        small = np.exp(-np.abs(Z))
        positive = np.where(Z >= 0, 1.0, small) / (1.0 + small)
        return np.hstack([1.0 - positive, positive])

    def predict(self, Z: Floats) -> Floats:
        """Return class 1 where the margin is positive."""
        return (Z[:, 0] > 0).astype(np.float64)
