"""Full gradient descent."""

from __future__ import annotations

import numpy as np

from workers.data.rows import Floats
from workers.data.shard import Shard
from workers.exact_sum import Ints
from workers.problem import Problem
from workers.solvers.base import Payload, Solver, State, parameter_blocks


class GradientDescent(Solver):
    """Full gradient descent: initialise, sum the gradient over all rows, step against it, repeat.

    With an L1 penalty each step is followed by its proximal step (ISTA); with server optimiser ``nesterov`` it is
    accelerated.
    """

    name = "gradient-descent"
    source = "Cauchy, Methode generale pour la resolution des systemes d'equations simultanees (1847)"
    takes_server = True
    takes_robust = True
    takes_parts = True

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return the parameters' blocks, and one for the loss."""
        del payload
        return parameter_blocks(problem, 1)

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the sums of the gradients and of the losses over the shard's rows."""
        del round_
        loss, gradient = problem.loss_and_gradient(payload["parameters"], shard.train)
        return np.append(gradient, loss)

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Step against the mean gradient; the loss is that of the parameters before the step."""
        loss, gradient = problem.mean(state.parameters, sums)
        return moved(problem, state, gradient, loss)

    def apply_part(self, problem: Problem, state: State, sums: Floats, part: float, pace: float) -> State:
        """Step against the mean gradient of a part, at a rate that is ``pace`` times the job's."""
        return self.combine(problem.at_pace(pace), state, sums / part)


def moved(problem: Problem, state: State, gradient: Floats, loss: float) -> State:
    """Return the state after a step of the server's optimiser along a (proximal) step against ``gradient``.

    What the optimiser is given vanishes at the optimum only, with an L1 penalty, too; ``nesterov`` makes FISTA of
    it. Source: Beck, Teboulle, A Fast Iterative Shrinkage-Thresholding Algorithm (2009).
    """
    rate, parameters = problem.options.rate(state.round), state.parameters
    change = -rate * gradient
    if problem.penalty.l1:
        change = problem.shrunk(parameters + change, rate) - parameters
    step, memory = problem.options.server.step(state.memory, change)
    return State(parameters + step, state.round + 1, loss, problem.slope(parameters, gradient), memory)
