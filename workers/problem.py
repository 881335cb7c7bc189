"""What is to be learnt: the job's constants, known to every worker, and the affine view of its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from workers.exact_sum import Floats
from workers.objectives.base import Objective


@dataclass(frozen=True)
class SolverOptions:
    """How the solver is to go about it.

    Attributes
    ----------
    batch_size
        Rows of a mini-batch.
    local_epochs
        Passes over a shard in one round.
    learning_rate
        Step size on standardised columns; None until it is resolved (``auto``).
    schedule
        How the rate falls with the round: ``constant``, ``inverse-sqrt`` or ``inverse``.
    """

    batch_size: int = 32
    local_epochs: int = 1
    learning_rate: float | None = None
    schedule: str = "constant"

    def rate(self, round_: int) -> float:
        """Return the learning rate of a round, counted from 0."""
        if self.learning_rate is None:
            raise ValueError("the learning rate is not resolved yet")
        return self.learning_rate * SCHEDULES[self.schedule](round_)


SCHEDULES: dict[str, Callable[[int], float]] = {
    "constant": lambda round_: 1.0,
    "inverse-sqrt": lambda round_: float(1.0 / np.sqrt(1.0 + round_)),
    "inverse": lambda round_: 1.0 / (1.0 + round_),
}


@dataclass(frozen=True)
class Problem:
    """A regularised linear model to be fitted: the mean of ``objective`` plus ``l2 / 2 * |weights|**2``.

    The parameters are one flat float64 buffer: ``num_features * num_outputs`` weights, row-major, then
    ``num_outputs`` intercepts. They belong to the *standardised* columns ``(x - center) / scale``; the shards
    stay as they are, and ``margins`` and ``pull_back`` apply the affine map on the fly. The penalty is on
    these weights, so it does not depend on the columns' units; intercepts are not penalised.

    Attributes
    ----------
    num_rows, num_shards
        Training rows and shards of the whole job.
    center, scale
        Shape ``(num_features,)``; zeros and ones until the moments are known.
    """

    objective: Objective
    num_features: int
    num_outputs: int
    intercept: bool
    l2: float
    num_rows: int
    num_shards: int
    seed: int
    options: SolverOptions
    center: Floats
    scale: Floats
    candidates: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def num_parameters(self) -> int:
        """Length of the flat parameter buffer."""
        return (self.num_features + self.intercept) * self.num_outputs

    def start(self) -> Floats:
        """Return the initial parameters: zeros."""
        return np.zeros(self.num_parameters)

    def split(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Return weights ``(num_features, num_outputs)`` and intercepts ``(num_outputs,)`` of a flat buffer."""
        num_weights = self.num_features * self.num_outputs
        weights = parameters[:num_weights].reshape(self.num_features, self.num_outputs)
        intercepts = parameters[num_weights:] if self.intercept else np.zeros(self.num_outputs)
        return weights, intercepts

    def in_raw_units(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Return the weights and intercepts that apply to the columns as they are."""
        weights, intercepts = self.split(parameters)
        raw = weights / self.scale[:, None]
        return raw, intercepts - np.einsum("f,fo->o", self.center, raw)

    def margins(self, parameters: Floats, X: Floats) -> Floats:
        """Return the linear predictor ``(rows, num_outputs)`` for raw rows ``(rows, num_features)``."""
        weights, intercepts = self.in_raw_units(parameters)
        product: Floats = X @ weights
        product += intercepts
        return product

    def pull_back(self, X: Floats, residuals: Floats) -> Floats:
        """Return the flat gradient of a sum of losses, given their derivatives by the margins."""
        totals = residuals.sum(axis=0)
        weights = (X.T @ residuals - np.multiply.outer(self.center, totals)) / self.scale[:, None]
        return np.concatenate([weights.ravel(), totals]) if self.intercept else weights.ravel()

    def standardised(self, X: Floats) -> Floats:
        """Return rows as the parameters see them, with a column of ones where there is an intercept."""
        columns = (X - self.center) / self.scale
        return np.hstack([columns, np.ones((len(X), 1))]) if self.intercept else columns

    def loss_sum(self, parameters: Floats, X: Floats, y: Floats) -> float:
        """Return the sum of the rows' losses, without penalty."""
        return float(self.objective.losses(self.margins(parameters, X), y).sum())

    def loss_and_gradient(self, parameters: Floats, X: Floats, y: Floats) -> tuple[float, Floats]:
        """Return the sums of the rows' losses and gradients, without penalty."""
        margins = self.margins(parameters, X)
        loss = float(self.objective.losses(margins, y).sum())
        return loss, self.pull_back(X, self.objective.residuals(margins, y))

    def gradient(self, parameters: Floats, X: Floats, y: Floats) -> Floats:
        """Return the sum of the rows' gradients, without penalty."""
        return self.pull_back(X, self.objective.residuals(self.margins(parameters, X), y))

    @property
    def penalised(self) -> Floats:
        """``l2`` where a parameter is a weight, 0 where it is an intercept; shape ``(num_parameters,)``."""
        mask = np.zeros(self.num_parameters)
        mask[: self.num_features * self.num_outputs] = self.l2
        return mask

    def penalty(self, parameters: Floats) -> float:
        """Return ``l2 / 2 * |weights|**2``."""
        return float(0.5 * (self.penalised * parameters * parameters).sum())

    def with_rate(self, learning_rate: float) -> Problem:
        """Return this problem with a resolved learning rate."""
        return replace(self, options=replace(self.options, learning_rate=learning_rate))

    def with_rows(self, num_rows: int) -> Problem:
        """Return this problem with the number of training rows, known once the data is split."""
        return replace(self, num_rows=num_rows)
