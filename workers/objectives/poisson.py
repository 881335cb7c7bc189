"""Counts."""

import numpy as np

from workers.data.rows import Dense
from workers.objectives.base import Objective

STRAIGHT_FROM = 50.0
"""Margins from which the loss goes on straight: a step that is far too long is finite then, and is taken back."""


class Poisson(Objective):
    """Counts with mean ``exp(z)``: ``exp(z) - y z``, up to a constant of ``y``; the metric is the mean deviance."""

    name = "poisson"
    task = "regression"
    metric_name = "poisson-deviance"
    higher_is_better = False
    smoothness = np.inf
    source = "Nelder, Wedderburn, Generalized Linear Models (1972)"

    def refuse_targets(self, smallest: float) -> str | None:
        """Refuse negative targets."""
        if smallest < 0:
            return f"objective 'poisson' learns counts, targets from 0 on; the smallest target is {smallest:g}"
        return None

    def losses(self, Z: Dense, y: Dense) -> Dense:
        """Return the loss of each row, shape ``(rows,)``."""
        beyond = np.maximum(Z[:, 0] - STRAIGHT_FROM, 0.0)
        losses: Dense = self._means(Z[:, 0]) * (1.0 + beyond) - y * Z[:, 0]
        return losses

    def residuals(self, Z: Dense, y: Dense) -> Dense:
        """Return ``exp(z) - y``, shape ``(rows, 1)``."""
        residuals: Dense = self._means(Z) - y[:, None]
        return residuals

    def curvatures(self, Z: Dense, y: Dense) -> Dense:
        """Return ``exp(z)``, shape ``(rows, 1, 1)``."""
        del y
        return self._means(Z.astype(np.float64))[:, :, None]

    def predict(self, Z: Dense) -> Dense:
        """Return the expected count."""
        return self._means(Z[:, 0])

    def scores(self, Z: Dense, y: Dense) -> Dense:
        """Return each row's deviance, ``2 (y log(y / mean) - y + mean)``."""
        margins, counts = Z[:, 0].astype(np.float64), y.astype(np.float64)
        logs = self.kernels.log(np.where(counts > 0, counts, 1.0))
        deviances: Dense = 2.0 * (counts * (logs - margins) - counts + self._means(margins))
        return deviances

    def _means(self, margins: Dense) -> Dense:
        return self.kernels.exp(np.minimum(margins, STRAIGHT_FROM))
