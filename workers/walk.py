"""Local steps: parameters that move along the gradients of mini-batches, one shard's walk of one round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.architectures import Linear
from workers.data.rows import Dense, Floats, Rows
from workers.problem import Problem


@dataclass(frozen=True)
class Control:
    """A control variate: the full ``gradient`` at ``anchor``, in place of which each batch has its own there.

    Steps then go along ``gradient(batch, parameters) - gradient(batch, anchor) + gradient``.
    """

    anchor: Floats
    gradient: Floats


class Walk:
    """Parameters on standardised columns that take steps, for any architecture."""

    def __init__(self, problem: Problem, start: Floats, control: Control | None = None) -> None:
        self.problem = problem
        self._parameters = start.copy()
        self._control = control
        self._ridge = problem.ridge
        self._mean_weight = problem.mean_weight

    @property
    def parameters(self) -> Floats:
        """Where the walk has come to."""
        return self._parameters

    def step(self, batch: Rows, rate: float) -> float:
        """Step against the mean gradient of a batch, and return the sum of its losses before the step."""
        problem, parameters, control = self.problem, self._parameters, self._control
        size = len(batch) * self._mean_weight
        loss, gradient = problem.loss_and_gradient(parameters, batch)
        if control is None:
            direction = gradient / size + self._ridge * parameters
        else:
            change = gradient - problem.gradient(control.anchor, batch)
            direction = change / size + self._ridge * (parameters - control.anchor) + control.gradient
        self._parameters = problem.shrunk(parameters - rate * direction, rate)
        return loss


class LinearWalk(Walk):
    """The same for linear models, in few operations: weights are kept for raw columns.

    A step on standardised weights is a step on raw ones divided by ``scale**2``, so the affine map costs a few
    operations on vectors of the columns' length instead of two divisions and a copy a step. Present and anchored
    margins are one product, which reads the batch once.
    """

    def __init__(self, problem: Problem, start: Floats, control: Control | None = None) -> None:
        super().__init__(problem, start, control)
        linear, columns = problem.architecture, problem.columns
        if not isinstance(linear, Linear):
            raise TypeError(f"a linear walk needs a linear architecture, got {linear.kind}")
        self._linear = linear
        self._center, self._units = columns.center[:, None], 1.0 / (columns.scale[:, None] ** 2)
        self._as_they_are = not self._center.any() and bool((self._units == 1.0).all())
        weights, intercepts = linear.split(start)
        self._weights = weights / columns.scale[:, None]
        self._intercepts = intercepts.copy()
        self._drift: tuple[Floats, Floats] | None = None
        self._anchor: tuple[Floats, Floats] | None = None
        if control is not None:
            gradient, totals = linear.split(control.gradient)
            # the full gradient holds the ridge at the anchor: each step adds its own, so take that away again
            ridge = problem.penalty.l2 * linear.split(control.anchor)[0]
            self._drift = ((gradient - ridge) / columns.scale[:, None], totals)
            self._anchor = columns.to_raw(*linear.split(control.anchor))

    @property
    def parameters(self) -> Floats:
        """Where the walk has come to, on standardised columns."""
        return self._linear.join(self._weights * self.problem.columns.scale[:, None], self._intercepts)

    def step(self, batch: Rows, rate: float) -> float:
        """Step against the mean gradient of a batch, and return the sum of its losses before the step."""
        problem, penalty = self.problem, self.problem.penalty
        R, loss = self._derivatives(batch)
        pace = rate / (len(batch) * self._mean_weight)
        totals = R.sum(axis=0, dtype=np.float64)
        step = pace * problem.kernels.pull_back(batch.X, R).astype(np.float64, copy=False)
        if not self._as_they_are:
            step -= self._center * (pace * totals)
            step *= self._units
        if penalty.l2:
            self._weights *= 1.0 - rate * penalty.l2
        self._weights -= step
        if self._drift is not None:
            self._weights -= rate * self._drift[0]
        if self._linear.intercept:
            self._intercepts -= pace * totals
            if self._drift is not None:
                self._intercepts -= rate * self._drift[1]
        if penalty.l1:
            self._weights = penalty.shrunk(self._weights, rate * self._units * problem.columns.scale[:, None])
        return loss

    def _derivatives(self, batch: Rows) -> tuple[Dense, float]:
        """Return the weighted derivatives by the margins, less those at the anchor, and the sum of the losses."""
        objective, product = self.problem.objective, self.problem.kernels.product
        offsets = self._intercepts
        if not self._as_they_are:
            offsets = offsets - (self._center * self._weights).sum(axis=0)
        if self._anchor is None:
            Z = product(batch.X, self._weights)
        else:
            both = product(batch.X, np.hstack([self._weights, self._anchor[0]]))
            Z = np.ascontiguousarray(both[:, : len(offsets)])
        Z += offsets.astype(Z.dtype, copy=False)
        loss, R = objective.measured(Z, batch)
        if self._anchor is not None:
            there = both[:, len(offsets) :] + self._anchor[1].astype(Z.dtype, copy=False)
            R = R - batch.weighted(objective.residuals(there, batch.y))
        return R, loss


def walk(problem: Problem, start: Floats, control: Control | None = None) -> Walk:
    """Return the walk that suits the problem's architecture."""
    kind = LinearWalk if problem.architecture.is_linear else Walk
    return kind(problem, start, control)
