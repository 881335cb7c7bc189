"""Multinomial logistic regression."""

import numpy as np

from workers.exact_sum import Floats
from workers.objectives.base import Classification


class Softmax(Classification):
    """Cross-entropy of any number of classes, one margin a class."""

    name = "softmax"
    smoothness = 0.5  # Boehning, "Multinomial logistic regression algorithm" (1992)

    def num_outputs(self, num_classes: int) -> int:
        """Return one margin a class."""
        return num_classes

    def losses(self, Z: Floats, y: Floats) -> Floats:
        """Return the loss of each row, shape ``(rows,)``; stable for margins of any size."""
        top = Z.max(axis=1)
        losses: Floats = np.log(np.exp(Z - top[:, None]).sum(axis=1)) + top - Z[np.arange(len(y)), y.astype(int)]
        return losses

    def residuals(self, Z: Floats, y: Floats) -> Floats:
        """Return the probabilities less the one-hot target, shape ``(rows, classes)``."""
        residuals: Floats = self.probabilities(Z)
        residuals[np.arange(len(y)), y.astype(int)] -= 1.0
        return residuals

    def probabilities(self, Z: Floats) -> Floats:
        """Return the probability of each class, shape ``(rows, classes)``."""
        exponentials: Floats = np.exp(Z - Z.max(axis=1, keepdims=True))
        probabilities: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, Z: Floats) -> Floats:
        """Return the class with the largest margin, the first of equals."""
        classes: Floats = Z.argmax(axis=1).astype(np.float64)
        return classes
