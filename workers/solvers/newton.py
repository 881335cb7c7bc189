"""Newton's method from summed gradients and Hessians."""

from __future__ import annotations

import numpy as np

from workers.columns import COPIED_BYTES, blocks
from workers.data.rows import Floats
from workers.data.shard import Shard
from workers.exact_sum import Ints
from workers.penalty import quadratic_minimum
from workers.problem import Problem
from workers.solvers.base import Payload, Solver, State
from workers.solvers.line_search import taken_back
from workers.solvers.packed import packed, packed_blocks, unpacked

PRECISION = 1e-14
"""A Newton decrement below this part of the loss promises less than rounding would take away again."""

NOISE = 1e-13
"""A rise of the loss by this part of itself is rounding."""


class Newton(Solver):
    """Each round sums gradient and Hessian, and steps to the minimum of their parabola.

    A step that raised the loss is taken back and repeated, at most half as long. With an L1 penalty, the parabola and
    the penalty are minimised together (proximal Newton). Where the Hessian is singular the shortest step is taken.
    """

    name = "newton"
    source = "Lee, Sun, Saunders, Proximal Newton-Type Methods for Minimizing Composite Functions (SIOPT 2014)"
    needs_rate = False
    takes_layers = False
    takes_corners = False

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return the blocks of the packed sums."""
        del payload
        return packed_blocks(problem.num_parameters)

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the packed sums of the Hessians, then of the gradients and the losses, over the shard's rows."""
        del round_
        parameters = payload["parameters"]
        loss, gradient = problem.loss_and_gradient(parameters, shard.train)
        hessian = summed_hessian(problem, parameters, shard)
        return packed(hessian, gradient, loss)

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Step to the parabola's minimum, or less far than the last time if that raised the loss."""
        width = problem.num_parameters
        loss, gradient = problem.mean(state.parameters, sums[-width - 1 :])
        memory = state.memory
        if "anchor" in memory and loss > float(memory["loss"]) + NOISE * abs(loss):
            return taken_back(state, loss)
        hessian = unpacked(sums / problem.weight, width)[0] + np.diag(problem.ridge)
        target = self._target(problem, state.parameters, hessian, gradient)
        step = target - state.parameters
        decrement = -float((gradient * step).sum()) + problem.cost_change(state.parameters, target)
        done = decrement <= PRECISION * max(abs(loss), 1e-300)
        numbers = {"loss": loss, "slope": -decrement, "length": 1.0, "tries": 0}
        kept = {"anchor": state.parameters, "direction": step, **{key: np.array(numbers[key]) for key in numbers}}
        reason = "the Newton decrement is below rounding" if done else ""
        return State(target, state.round + 1, loss, problem.slope(state.parameters, gradient), kept, reason)

    @staticmethod
    def _target(problem: Problem, parameters: Floats, hessian: Floats, gradient: Floats) -> Floats:
        """Return where the parabola at ``parameters``, with the L1 penalty, has its minimum."""
        if problem.penalty.l1:
            thresholds = problem.penalty.l1 * problem.architecture.mask
            return quadratic_minimum(hessian, gradient, parameters, thresholds, problem.kernels)
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
