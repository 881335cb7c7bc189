"""The interface of an objective."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from workers.data.rows import Dense, Rows
from workers.kernels import FAST, Kernels


@dataclass(frozen=True)
class Objective(ABC):
    """A convex loss of margins ``Z`` (rows, outputs) against targets ``y`` (rows,); results have the type of ``Z``.

    Attributes
    ----------
    kernels
        The arithmetic of exponentials and logarithms.
    name
        What a job file calls it.
    task
        ``regression`` (real targets) or ``classification`` (targets are class numbers from 0).
    metric_name, higher_is_better
        How predictions are judged.
    smoothness
        Upper bound of the loss's second derivative by a margin; infinite where there is none, and then
        ``typical_smoothness`` is what the default learning rate is made of.
    margin_is_target
        Whether margins are predictions in the target's own unit, so that layers must be told that unit.
    is_curved
        Whether there is a (generalised) second derivative for Newton's method.
    source
        Where it comes from.
    """

    kernels: Kernels = FAST

    name: ClassVar[str]
    task: ClassVar[str]
    metric_name: ClassVar[str]
    higher_is_better: ClassVar[bool]
    smoothness: ClassVar[float]
    margin_is_target: ClassVar[bool] = False
    is_curved: ClassVar[bool] = True
    source: ClassVar[str]

    @property
    def typical_smoothness(self) -> float:
        """What takes the place of ``smoothness`` where that is infinite."""
        return self.smoothness if math.isfinite(self.smoothness) else 1.0

    def num_outputs(self, num_classes: int) -> int:
        """Return how many margins a row has; ``num_classes`` is 0 for regression."""
        del num_classes
        return 1

    def refuse(self, num_classes: int) -> str | None:
        """Say why this objective cannot learn that many classes, or None."""
        del num_classes
        return None

    def refuse_targets(self, smallest: float) -> str | None:
        """Say why this objective cannot learn targets as small as ``smallest``, or None."""
        del smallest
        return None

    @abstractmethod
    def losses(self, Z: Dense, y: Dense) -> Dense:
        """Return the loss of each row, shape ``(rows,)``."""

    @abstractmethod
    def residuals(self, Z: Dense, y: Dense) -> Dense:
        """Return the derivative of each row's loss by its margins, shape ``(rows, outputs)``."""

    def measured(self, Z: Dense, rows: Rows) -> tuple[float, Dense]:
        """Return the sum of the rows' weighted losses, and their weighted ``residuals``."""
        loss = float(rows.weighted(self.losses(Z, rows.y)).sum(dtype=np.float64))
        return loss, rows.weighted(self.residuals(Z, rows.y))

    def curvatures(self, Z: Dense, y: Dense) -> Dense:
        """Return the second derivatives of each row's loss by its margins, shape ``(rows, outputs, outputs)``."""
        raise NotImplementedError(f"objective {self.name!r} has no second derivative")

    @abstractmethod
    def predict(self, Z: Dense) -> Dense:
        """Return the predicted target of each row, shape ``(rows,)``."""

    @abstractmethod
    def scores(self, Z: Dense, y: Dense) -> Dense:
        """Return the metric of each row, shape ``(rows,)``; its (weighted) mean is the metric."""

    def describe(self) -> dict[str, Any]:
        """Return the settings, beside the name, that a model file must keep."""
        return {}

    def with_kernels(self, kernels: Kernels) -> Objective:
        """Return this objective with another arithmetic."""
        return replace(self, kernels=kernels)


class Classification(Objective):
    """What classifiers share: the metric is accuracy."""

    task = "classification"
    metric_name = "accuracy"
    higher_is_better = True

    def scores(self, Z: Dense, y: Dense) -> Dense:
        """Return 1 for each row that is predicted right, else 0."""
        right: Dense = self.predict(Z) == y
        return right.astype(np.float64)


class TwoClasses(Classification):
    """What classifiers with one margin share: class 1 where it is positive."""

    def refuse(self, num_classes: int) -> str | None:
        """Refuse more than two classes."""
        if num_classes > 2:
            return f"objective '{self.name}' tells two classes apart, the target has {num_classes}: use 'softmax'"
        return None

    def predict(self, Z: Dense) -> Dense:
        """Return class 1 where the margin is positive."""
        return (Z[:, 0] > 0).astype(np.float64)

    @staticmethod
    def agreement(Z: Dense, y: Dense) -> Dense:
        """Return the margin with the sign of its class: positive where it is right; shape ``(rows,)``."""
        agreement: Dense = Z[:, 0] * (2.0 * y - 1.0).astype(Z.dtype, copy=False)
        return agreement

    @staticmethod
    def signed(values: Dense, y: Dense) -> Dense:
        """Return derivatives by the agreement as derivatives by the margin, shape ``(rows, 1)``."""
        signed: Dense = (values * (2.0 * y - 1.0).astype(values.dtype, copy=False))[:, None]
        return signed


class Regression(Objective):
    """What regressions share: the margin is the prediction, and the metric is the mean squared error."""

    task = "regression"
    metric_name = "mse"
    higher_is_better = False

    def predict(self, Z: Dense) -> Dense:
        """Return the margin."""
        return Z[:, 0]

    def scores(self, Z: Dense, y: Dense) -> Dense:
        """Return the squared errors."""
        difference = Z[:, 0].astype(np.float64) - y
        squares: Dense = difference * difference
        return squares
