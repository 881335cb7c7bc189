"""The interface of an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from workers.exact_sum import Floats


@dataclass(frozen=True)
class Objective(ABC):
    """A convex loss of margins ``Z`` (rows, outputs) against targets ``y`` (rows,).

    Attributes
    ----------
    name
        What a job file calls it.
    task
        ``regression`` (real targets) or ``classification`` (targets are class numbers from 0).
    metric_name, higher_is_better
        How predictions are judged.
    smoothness
        Upper bound of the loss's second derivative by a margin.
    """

    name: ClassVar[str]
    task: ClassVar[str]
    metric_name: ClassVar[str]
    higher_is_better: ClassVar[bool]
    smoothness: ClassVar[float]

    def num_outputs(self, num_classes: int) -> int:
        """Return how many margins a row has; ``num_classes`` is 0 for regression."""
        del num_classes
        return 1

    def refuse(self, num_classes: int) -> str | None:
        """Say why this objective cannot learn that many classes, or None."""
        del num_classes
        return None

    @abstractmethod
    def losses(self, Z: Floats, y: Floats) -> Floats:
        """Return the loss of each row, shape ``(rows,)``."""

    @abstractmethod
    def residuals(self, Z: Floats, y: Floats) -> Floats:
        """Return the derivative of each row's loss by its margins, shape ``(rows, outputs)``."""

    @abstractmethod
    def predict(self, Z: Floats) -> Floats:
        """Return the predicted target of each row, shape ``(rows,)``."""

    @abstractmethod
    def metric_sum(self, Z: Floats, y: Floats) -> float:
        """Return the metric summed over rows; its mean over rows is the metric."""


class Classification(Objective):
    """What classifiers share: the metric is accuracy."""

    task = "classification"
    metric_name = "accuracy"
    higher_is_better = True

    def metric_sum(self, Z: Floats, y: Floats) -> float:
        """Count the rows that are predicted right."""
        return float((self.predict(Z) == y).sum())
