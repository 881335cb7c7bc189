"""Least squares in one round, from Gram sums."""

from __future__ import annotations

import numpy as np

from workers.columns import COPIED_BYTES, blocks
from workers.data.rows import Floats
from workers.data.shard import Shard
from workers.exact_sum import Ints
from workers.penalty import quadratic_minimum
from workers.problem import Problem
from workers.solvers.base import Payload, Solver, State
from workers.solvers.packed import packed, packed_blocks, unpacked


class Exact(Solver):
    """The exact least-squares optimum in one round: sums of ``a a'`` and ``a y``, then the normal equations.

    ``a`` is a standardised row with a one for the intercept, so the system is as well-scaled as it can be;
    where it is singular (collinear columns), the solution of least norm is taken. With an L1 penalty the same
    sums are minimised by coordinate descent.
    """

    name = "exact"
    source = "Gauss, Theoria combinationis observationum erroribus minimis obnoxiae (1823)"
    needs_rate = False
    takes_layers = False

    def refuse(self, problem: Problem) -> str | None:
        """Refuse whatever is not least squares."""
        reason = super().refuse(problem)
        if reason or problem.objective.name == "squared":
            return reason
        others = "'newton', 'lbfgs' or 'local-svrg'" if problem.objective.is_curved else "'local-sgd' or 'sgd'"
        return (
            f"solver 'exact' solves objective 'squared' only, not '{problem.objective.name}': "
            f"its optimum is no linear system; use {others}"
        )

    def broadcast(self, problem: Problem, state: State) -> Payload:
        """Return nothing: the sums do not depend on parameters."""
        del problem, state
        return {}

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return the blocks of the packed sums."""
        del payload
        return packed_blocks(problem.num_parameters)

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the packed sums of ``a a'``, ``a y`` and ``y y`` over the shard's rows."""
        del payload, round_
        width = problem.num_parameters
        gram = np.zeros((width + 1, width + 1))
        for rows in blocks(shard.train, 4 * width, COPIED_BYTES):
            ones = [np.ones(len(rows))] if problem.intercept else []
            side = np.column_stack([*ones, rows.y.astype(np.float64)])
            gram += problem.columns.gram(rows.X, side, rows.weights, problem.kernels)
        return packed(gram[:width, :width], gram[:width, width], gram[width, width])

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Solve the penalised normal equations."""
        width = problem.num_parameters
        gram, moment, square = unpacked(sums / problem.weight, width)
        system = gram + np.diag(problem.ridge)
        if problem.penalty.l1:
            thresholds = problem.penalty.l1 * problem.architecture.mask
            parameters = quadratic_minimum(system, -moment, np.zeros(width), thresholds, problem.kernels)
        else:
            parameters = problem.kernels.solve(system, moment)
        product = (gram * parameters).sum(axis=1)
        loss = 0.5 * float((parameters * (product - 2.0 * moment)).sum() + square)
        slope = problem.slope(parameters, product - moment + problem.ridge * parameters)
        return State(parameters, state.round + 1, loss + problem.cost(parameters), slope, solved="solved exactly")
