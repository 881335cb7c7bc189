"""Least squares."""

from workers.exact_sum import Floats
from workers.objectives.base import Objective


class Squared(Objective):
    """Half the squared error, ``(z - y)**2 / 2``; the metric is the mean squared error."""

    name = "squared"
    task = "regression"
    metric_name = "mse"
    higher_is_better = False
    smoothness = 1.0

    def losses(self, Z: Floats, y: Floats) -> Floats:
        """Return the loss of each row, shape ``(rows,)``."""
        difference = Z[:, 0] - y
        return 0.5 * difference * difference

    def residuals(self, Z: Floats, y: Floats) -> Floats:
        """Return ``z - y``, shape ``(rows, 1)``."""
        return Z - y[:, None]

    def predict(self, Z: Floats) -> Floats:
        """Return the margin."""
        return Z[:, 0]

    def metric_sum(self, Z: Floats, y: Floats) -> float:
        """Return the sum of squared errors."""
        return float(2.0 * self.losses(Z, y).sum())
