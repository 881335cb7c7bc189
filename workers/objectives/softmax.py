"""Multinomial logistic regression."""

import numpy as np

from workers.data.rows import Dense
from workers.objectives.base import Classification


class Softmax(Classification):
    """Cross-entropy of any number of classes, one margin a class."""

    name = "softmax"
    smoothness = 0.5  # Boehning, "Multinomial logistic regression algorithm" (1992)
    source = "Boehning, Multinomial logistic regression algorithm (1992)"

    def num_outputs(self, num_classes: int) -> int:
        """Return one margin a class."""
        return num_classes

    def losses(self, Z: Dense, y: Dense) -> Dense:
        """Return the loss of each row, shape ``(rows,)``; stable for margins of any size."""
        top = Z.max(axis=1)
        totals = self.kernels.exp(Z - top[:, None]).sum(axis=1)
        losses: Dense = self.kernels.log(totals) + top - Z[np.arange(len(y)), y.astype(np.int64)]
        return losses

    def residuals(self, Z: Dense, y: Dense) -> Dense:
        """Return the probabilities less the one-hot target, shape ``(rows, classes)``."""
        residuals: Dense = self.probabilities(Z)
        residuals[np.arange(len(y)), y.astype(np.int64)] -= 1.0
        return residuals

    def curvatures(self, Z: Dense, y: Dense) -> Dense:
        """Return ``diag(p) - p p'``, shape ``(rows, classes, classes)``."""
        del y
        p = self.probabilities(Z.astype(np.float64))
        curvatures = -(p[:, :, None] * p[:, None, :])
        diagonal = np.arange(p.shape[1])
        curvatures[:, diagonal, diagonal] += p
        return curvatures

    def probabilities(self, Z: Dense) -> Dense:
        """Return the probability of each class, shape ``(rows, classes)``."""
        exponentials = self.kernels.exp(Z - Z.max(axis=1, keepdims=True))
        probabilities: Dense = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, Z: Dense) -> Dense:
        """Return the class with the largest margin, the first of equals."""
        classes: Dense = Z.argmax(axis=1).astype(np.float64)
        return classes
