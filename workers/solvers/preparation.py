"""What must be known of the data before training: moments for standardising, curvature for the learning rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from workers.data.shard import Shard
from workers.exact_sum import Floats, Ints
from workers.problem import Problem
from workers.solvers.base import Payload, Solver, State, generator, single_blocks

POWER_ROUNDS = 8
"""Enough for the largest eigenvalue to a few percent, which the safety factor covers."""

SAFETY = 1.1


class Moments(Solver):
    """Mean and standard deviation of every column, in two rounds, so that no digits cancel."""

    name = "moments"
    source = "Chan, Golub, LeVeque, Algorithms for Computing the Sample Variance (1983)"

    def start(self, problem: Problem) -> State:
        """Begin with unknown means; without an intercept columns are not centred, so one round is enough."""
        memory = {} if problem.intercept else {"mean": np.zeros(problem.num_features)}
        return State(np.zeros(0), memory=memory)

    def broadcast(self, problem: Problem, state: State) -> Payload:
        """Return the means once they are known."""
        del problem
        return state.memory

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return a block for each column."""
        del payload
        return single_blocks(problem.num_features)

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the columns' sums, or the sums of their squared distances from the mean."""
        del problem, round_
        if "mean" not in payload:
            totals: Floats = shard.train.X.sum(axis=0)
            return totals
        centred = shard.train.X - payload["mean"]
        squares: Floats = np.einsum("nf,nf->f", centred, centred)
        return squares

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Keep the means, then the standard deviations (1 for a constant column)."""
        means = sums / problem.num_rows
        if "mean" not in state.memory:
            return State(state.parameters, state.round + 1, memory={"mean": means})
        deviations = np.sqrt(means)
        # A constant column can leave rounding dust instead of zero: compare with the size of its mean.
        constant = deviations <= 1e-12 * np.abs(state.memory["mean"])
        memory = {**state.memory, "deviation": np.where(constant | (deviations == 0), 1.0, deviations)}
        return State(state.parameters, state.round + 1, memory=memory, solved=True)

    def apply(self, problem: Problem, state: State) -> Problem:
        """Return the problem on standardised columns."""
        return replace(problem, center=state.memory["mean"], scale=state.memory["deviation"])


class Curvature(Solver):
    """The largest eigenvalue of the columns' second moments, by power iteration, and how far rows stick out.

    A step on a batch of ``b`` rows meets a curvature of about ``largest + spread / b`` on average, where
    ``spread`` is ``sum |a|**4 / sum |a|**2`` over standardised rows ``a``; at worst it is ``largest + reach / b``
    with the longest row's ``|a|**2``, taken as the 16-norm of all: sums are all that shards can share.
    """

    name = "curvature"
    source = "Bach, Moulines, Non-strongly-convex smooth stochastic approximation (NeurIPS 2013)"

    def start(self, problem: Problem) -> State:
        """Begin with a random direction that belongs to the seed."""
        return State(_unit(generator(problem, 0, 0).standard_normal(problem.num_features + problem.intercept)))

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return a block for each column and two for the powers of the rows' norms."""
        del problem
        return single_blocks(len(payload["parameters"]) + 3)

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the sums of ``a (a' v)``, ``|a|**2``, ``|a|**4`` and ``|a|**32`` over the shard's rows."""
        del round_
        columns = problem.standardised(shard.train.X)
        second = np.einsum("nf,nf->n", columns, columns)
        fourth = second * second
        sixteenth = (fourth * fourth) * (fourth * fourth)
        product = columns.T @ (columns @ payload["parameters"])
        return np.concatenate([product, [second.sum(), fourth.sum(), (sixteenth * sixteenth).sum()]])

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Turn the direction towards the largest eigenvector."""
        product, (second, fourth, last) = sums[:-3] / problem.num_rows, sums[-3:]
        memory = {
            "largest": np.array(float(np.sqrt((product * product).sum()))),
            "spread": np.array(fourth / second if second > 0 else 0.0),
            "reach": np.array(last ** (1 / 16)),
        }
        return State(_unit(product), state.round + 1, memory=memory, solved=state.round + 1 == POWER_ROUNDS)

    def apply(self, problem: Problem, state: State, noise: str | None) -> Problem:
        """Return the problem with the default learning rate: one over the curvature that a step meets.

        ``noise`` names the entry of the state that batches add, None for full gradients.
        """
        largest = SAFETY * float(state.memory["largest"])
        if noise is not None:
            largest += float(state.memory[noise]) / problem.options.batch_size
        curvature = problem.objective.smoothness * largest + problem.l2
        return problem.with_rate(1.0 / curvature if curvature > 0 else 1.0)


def _unit(vector: Floats) -> Floats:
    norm = float(np.sqrt((vector * vector).sum()))
    return vector / norm if norm > 0 else vector
