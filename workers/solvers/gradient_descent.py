"""Full gradient descent."""

from __future__ import annotations

import numpy as np

from workers.data.shard import Shard
from workers.exact_sum import Floats, Ints
from workers.problem import Problem
from workers.solvers.base import Payload, Solver, State, single_blocks


class GradientDescent(Solver):
    """Full gradient descent: initialise, sum the gradient over all rows, step against it, repeat."""

    name = "gradient-descent"
    source = "Cauchy, Methode generale pour la resolution des systemes d'equations simultanees (1847)"

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return a block for each parameter and one for the loss."""
        del payload
        return single_blocks(problem.num_parameters + 1)

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the sums of the gradients and of the losses over the shard's rows."""
        del round_
        loss, gradient = problem.loss_and_gradient(payload["parameters"], shard.train.X, shard.train.y)
        return np.append(gradient, loss)

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Step against the mean gradient; the loss is that of the parameters before the step."""
        loss, gradient = mean_loss_and_gradient(problem, state.parameters, sums)
        step = problem.options.rate(state.round) * gradient
        return State(state.parameters - step, state.round + 1, loss)


def mean_loss_and_gradient(problem: Problem, parameters: Floats, sums: Floats) -> tuple[float, Floats]:
    """Return the objective and its gradient at ``parameters``, penalty included, from summed gradients and losses."""
    gradient = sums[:-1] / problem.num_rows + problem.penalised * parameters
    return float(sums[-1] / problem.num_rows + problem.penalty(parameters)), gradient
