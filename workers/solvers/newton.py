"""Newton's method from summed gradients and Hessians."""

from __future__ import annotations

import numpy as np

from workers.columns import COPIED_BYTES, blocks
from workers.data.rows import Floats
from workers.data.shard import Shard
from workers.exact_sum import Ints
from workers.penalty import quadratic_minimum
from workers.problem import Problem
from workers.solvers.base import Payload, Solver, State, norm
from workers.solvers.exact import unpacked

PRECISION = 1e-14
"""A Newton decrement below this part of the loss promises less than rounding would take away again."""


class Newton(Solver):
    """Each round sums gradient and Hessian, and steps to the minimum of their parabola.

    A step that raised the loss is halved until it does not. With an L1 penalty, the parabola and the penalty are
    minimised together by coordinate descent (proximal Newton). Where the Hessian is singular the shortest step is
    taken.
    """

    name = "newton"
    source = "Lee, Sun, Saunders, Proximal Newton-Type Methods for Minimizing Composite Functions (SIOPT 2014)"
    needs_rate = False
    takes_layers = False
    takes_corners = False

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return a block for each row of the packed upper triangle, each parameter, and the loss."""
        del payload
        width = problem.num_parameters
        lengths = np.concatenate([np.arange(width, 0, -1), np.ones(width + 1, dtype=np.int64)])
        return np.cumsum(lengths) - lengths, int(lengths.sum())

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the packed sums of the Hessians, then of the gradients and the losses, over the shard's rows."""
        del round_
        parameters = payload["parameters"]
        loss, gradient = problem.loss_and_gradient(parameters, shard.train)
        hessian = summed_hessian(problem, parameters, shard)
        return np.concatenate([hessian[np.triu_indices(problem.num_parameters)], gradient, [loss]])

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Step to the parabola's minimum, or take half of the last step if it raised the loss."""
        width = problem.num_parameters
        loss, gradient = problem.mean(state.parameters, sums[-width - 1 :])
        memory = state.memory
        noise = 1e-13 * abs(loss)
        if "anchor" in memory and loss > float(memory["loss"]) + noise:
            anchor = memory["anchor"]
            halfway = anchor + (state.parameters - anchor) / 2.0
            if norm(halfway - anchor) <= 1e-15 * norm(anchor):
                return State(anchor, state.round + 1, solved="no step lowers the loss any more")
            return State(halfway, state.round + 1, memory=memory)
        hessian = unpacked(sums[: -width - 1] / problem.weight, width) + np.diag(problem.ridge)
        target = self._target(problem, state.parameters, hessian, gradient)
        step = target - state.parameters
        decrement = -float((gradient * step).sum()) + problem.cost_change(state.parameters, target)
        done = decrement <= PRECISION * max(abs(loss), 1e-300)
        kept = {"anchor": state.parameters, "loss": np.array(loss)}
        reason = "the Newton decrement is below rounding" if done else ""
        return State(target, state.round + 1, loss, norm(gradient), kept, reason)

    @staticmethod
    def _target(problem: Problem, parameters: Floats, hessian: Floats, gradient: Floats) -> Floats:
        """Return where the parabola at ``parameters``, with the L1 penalty, has its minimum."""
        if problem.penalty.l1:
            linear = np.einsum("ij,j->i", hessian, parameters) - gradient
            return quadratic_minimum(hessian, linear, parameters, problem.penalty.l1 * problem.architecture.mask)
        return parameters - problem.kernels.solve(hessian, gradient)

    def result(self, problem: Problem, state: State) -> Floats:
        """Return the last parameters whose loss is known, unless the step from there is below rounding."""
        del problem
        return state.parameters if state.solved or "anchor" not in state.memory else state.memory["anchor"]


def summed_hessian(problem: Problem, parameters: Floats, shard: Shard) -> Floats:
    """Return the sum of the rows' weighted Hessians, shape ``(num_parameters, num_parameters)``, without penalty."""
    features, outputs, width = problem.num_features, problem.num_outputs, problem.num_parameters
    inner = features + problem.intercept
    order = np.arange(width)
    if outputs > 1:  # a flat buffer has weights by feature, then by output: the blocks below are by output
        order = (np.arange(width) % outputs) * inner + np.arange(width) // outputs
    hessian = np.zeros((inner * outputs, inner * outputs))
    for rows in blocks(shard.train, 4 * inner, COPIED_BYTES):
        curvatures = problem.objective.curvatures(problem.margins(parameters, rows.X), rows.y)
        side = np.ones((len(rows), int(problem.intercept)))
        for a in range(outputs):
            for b in range(a, outputs):
                weights = rows.weighted(np.ascontiguousarray(curvatures[:, a, b], dtype=np.float64))
                part = problem.columns.gram(rows.X, side, weights, problem.kernels)
                hessian[a * inner : (a + 1) * inner, b * inner : (b + 1) * inner] += part
    hessian = np.triu(hessian) + np.triu(hessian, 1).T
    return hessian[np.ix_(order, order)]
