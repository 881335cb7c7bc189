"""Least squares in one round, from Gram sums."""

from __future__ import annotations

import numpy as np

from workers.data.shard import Shard
from workers.exact_sum import Floats, Ints
from workers.problem import Problem
from workers.solvers.base import Payload, Solver, State

ROWS_AT_ONCE = 4096


class Exact(Solver):
    """The exact least-squares optimum in one round: sums of ``a a'`` and ``a y``, then the normal equations.

    ``a`` is a standardised row with a one for the intercept, so the system is as well-scaled as it can be;
    where it is singular (collinear columns), the solution of least norm is taken.
    """

    name = "exact"
    source = "Gauss, Theoria combinationis observationum erroribus minimis obnoxiae (1823)"

    def refuse(self, problem: Problem) -> str | None:
        """Refuse whatever is not least squares."""
        if problem.objective.name != "squared":
            return (
                f"solver 'exact' solves objective 'squared' only, not '{problem.objective.name}': "
                "its optimum is no linear system; use 'local-svrg'"
            )
        return None

    def broadcast(self, problem: Problem, state: State) -> Payload:
        """Return nothing: the sums do not depend on parameters."""
        del problem, state
        return {}

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return a block for each row of the packed upper triangle, each product with the target, and its square."""
        del payload
        width = problem.num_parameters
        lengths = np.concatenate([np.arange(width, 0, -1), np.ones(width + 1, dtype=np.int64)])
        return np.cumsum(lengths) - lengths, int(lengths.sum())

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the packed sums of ``a a'``, ``a y`` and ``y y`` over the shard's rows."""
        del payload, round_
        width = problem.num_parameters
        gram, moment = np.zeros((width, width)), np.zeros(width)
        for start in range(0, len(shard.train.y), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            columns = problem.standardised(shard.train.X[rows])
            gram += columns.T @ columns
            moment += columns.T @ shard.train.y[rows]
        return np.concatenate([gram[np.triu_indices(width)], moment, [(shard.train.y * shard.train.y).sum()]])

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Solve the penalised normal equations."""
        width = problem.num_parameters
        means = sums / problem.num_rows
        gram = np.zeros((width, width))
        gram[np.triu_indices(width)] = means[: -width - 1]
        gram = np.triu(gram) + np.triu(gram, 1).T
        moment, square = means[-width - 1 : -1], means[-1]
        solution = np.linalg.lstsq(gram + np.diag(problem.penalised), moment, rcond=None)[0]
        parameters = solution.astype(np.float64)
        loss = 0.5 * (parameters @ gram @ parameters - 2.0 * moment @ parameters + square)
        return State(parameters, state.round + 1, float(loss) + problem.penalty(parameters), solved=True)
