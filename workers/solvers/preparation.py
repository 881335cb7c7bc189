"""What must be known of the data before training: weights, moments for standardising, curvature for the rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array

from workers.columns import Columns, blocks, sample
from workers.data.rows import Floats, Rows
from workers.data.shard import Shard
from workers.errors import DataError
from workers.exact_sum import Ints
from workers.kernels import Kernels
from workers.problem import Problem
from workers.solvers.base import Payload, Solver, State, generator, norm, single_blocks

POWER_ROUNDS = 8
"""Enough for the largest eigenvalue to a few percent, which the safety factor covers."""

SAFETY = 1.1

PIVOT_ROWS = 1024
CURVATURE_ROWS = 8192
"""Rows of each shard that are enough to place a column's zero roughly, and to estimate the curvature."""

LONGEST = 1e19
"""Longer rows count as this long (squared) for the reach: its powers would overflow. Standardised rows are shorter."""


class Weighing(Solver):
    """The sum of the training rows' weights."""

    name = "weigh"
    source = "the definition of a weighted mean"
    needs_rate = False

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return one block."""
        del problem, payload
        return single_blocks(1)

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the shard's weight."""
        del problem, payload, round_
        return np.array([shard.train.total_weight])

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Keep the sum; raise `DataError` where there is none."""
        del problem
        if not sums[0] > 0:
            raise DataError(
                f"the weights of the training rows add up to {sums[0]:g}: give at least one of them a weight above 0."
            )
        return State(state.parameters, state.round + 1, memory={"total": sums}, solved="weighed")


class Moments(Solver):
    """Mean and standard deviation of every column: about a pivot near the mean, so that no digits cancel.

    One round finds the pivot from a sample of each shard, the next goes through all rows once.
    """

    name = "moments"
    source = "Chan, Golub, LeVeque, Algorithms for Computing the Sample Variance (1983)"
    needs_rate = False

    def start(self, problem: Problem) -> State:
        """Begin without a pivot; without an intercept columns are not centred, and the pivot is 0."""
        memory = {} if problem.intercept else {"pivot": np.zeros(problem.num_features)}
        return State(np.zeros(0), memory=memory)

    def broadcast(self, problem: Problem, state: State) -> Payload:
        """Return the pivot once it is known."""
        del problem
        return state.memory

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return a block for each column's sum and, in the second round, for its sum of squares."""
        return single_blocks(2 * problem.num_features if "pivot" in payload else problem.num_features + 1)

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return a sample's column sums and size, or all rows' sums of ``x - pivot`` and of its squares."""
        del round_
        if "pivot" not in payload:
            parts = list(sample(shard.train, PIVOT_ROWS))
            totals = sum((np.asarray(part.X.sum(axis=0, dtype=np.float64)) for part in parts), start=0.0)
            return np.append(totals, sum(len(part) for part in parts))
        sums = np.zeros((2, problem.num_features))
        for rows in blocks(shard.train):
            sums += _about(rows, payload["pivot"], problem.kernels)
        return sums.ravel()

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Keep the pivot, then means and standard deviations (1 for a constant column)."""
        if "pivot" not in state.memory:
            return State(state.parameters, state.round + 1, memory={"pivot": sums[:-1] / sums[-1]})
        pivot = state.memory["pivot"]
        first, second = sums.reshape(2, -1) / problem.weight
        mean = pivot + first if problem.intercept else pivot
        variance = second - first * first if problem.intercept else second
        deviations = np.sqrt(np.maximum(variance, 0.0))
        # A constant column can leave rounding dust instead of zero: compare with the size of what was squared.
        constant = deviations <= 1e-12 * np.maximum(np.abs(mean), 1e4 * np.abs(first))
        memory = {"mean": mean, "deviation": np.where(constant | (deviations == 0), 1.0, deviations)}
        return State(state.parameters, state.round + 1, memory=memory, solved="measured")

    def apply(self, problem: Problem, state: State) -> Problem:
        """Return the problem on standardised columns."""
        return replace(problem, columns=Columns(state.memory["mean"], state.memory["deviation"]))


def _about(rows: Rows, pivot: Floats, kernels: Kernels) -> Floats:
    """Return the weighted sums of ``x - pivot`` and of its squares, shape ``(2, features)``."""
    if not isinstance(rows.X, csr_array):
        distances = rows.X - pivot.astype(rows.X.dtype)
        ones = rows.weighted(np.ones(len(rows), dtype=rows.X.dtype))[:, None]
        return np.hstack([kernels.pull_back(distances, ones), kernels.pull_back(distances * distances, ones)]).T
    places, width = rows.X.indices, len(pivot)
    weights = np.ones(len(rows)) if rows.weights is None else rows.weights
    heavy = np.repeat(weights, np.diff(rows.X.indptr))
    distances = rows.X.data - pivot[places]
    absent = weights.sum() - np.bincount(places, heavy, width)
    first = np.bincount(places, heavy * distances, width) - absent * pivot
    second = np.bincount(places, heavy * distances * distances, width) + absent * pivot * pivot
    return np.array([first, second])


class Target(Solver):
    """Mean and standard deviation of the target, which layers are told: their own numbers are about 1."""

    name = "target"
    source = "LeCun, Bottou, Orr, Mueller, Efficient BackProp (1998), section 4.3"
    needs_rate = False

    def start(self, problem: Problem) -> State:
        """Begin with the mean; without an intercept the zero stays where it is."""
        return State(np.zeros(0), memory={} if problem.intercept else {"mean": np.zeros(1)})

    def broadcast(self, problem: Problem, state: State) -> Payload:
        """Return the mean once it is known."""
        del problem
        return state.memory

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return one block."""
        del problem, payload
        return single_blocks(1)

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the weighted sum of the targets, or of their squared distances from the mean."""
        del problem, round_
        y = shard.train.y.astype(np.float64)
        values = (y - payload["mean"]) ** 2 if "mean" in payload else y
        return np.array([shard.train.weighted(values).sum()])

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Keep the mean, then the standard deviation (1 for a constant target)."""
        value = sums / problem.weight
        if "mean" not in state.memory:
            return State(state.parameters, state.round + 1, memory={"mean": value})
        deviation = np.sqrt(value)
        constant = deviation <= 1e-12 * np.abs(state.memory["mean"])
        memory = {**state.memory, "deviation": np.where(constant, 1.0, deviation)}
        return State(state.parameters, state.round + 1, memory=memory, solved="measured")

    def apply(self, problem: Problem, state: State) -> Problem:
        """Return the problem with the target's zero and unit, by whose square the learning rate is divided."""
        offset, unit = float(state.memory["mean"][0]), float(state.memory["deviation"][0])
        architecture = replace(problem.architecture, offset=offset, unit=unit)
        options = replace(problem.options, rate_divisor=unit * unit)
        return replace(problem, architecture=architecture, options=options)


class Curvature(Solver):
    """The largest eigenvalue of the columns' second moments, by power iteration, and how far rows stick out.

    A step on a batch of ``b`` rows meets a curvature of about ``largest + spread / b`` on average, where
    ``spread`` is ``sum |a|**4 / sum |a|**2`` over standardised rows ``a`` (times the root of their weight over the
    average one); at worst it is ``largest + reach / b``
    with the longest row's ``|a|**2``, taken as the 16-norm of all: sums are all that shards can share. Of a large
    shard, a sample is looked at.
    """

    name = "curvature"
    source = "Bach, Moulines, Non-strongly-convex smooth stochastic approximation (NeurIPS 2013)"
    needs_rate = False

    def start(self, problem: Problem) -> State:
        """Begin with a random direction that belongs to the seed."""
        return State(_unit(generator(problem, 0, 0).random(problem.num_features + problem.intercept) - 0.5))

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return a block for each column, one for the sample's weight and three for the powers of its norms."""
        del problem
        return single_blocks(len(payload["parameters"]) + 4)

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the sums of ``a (a' v)``, the weights, ``|a|**2``, ``|a|**4`` and ``|a|**32`` over the sample."""
        del round_
        columns, kernels, direction = problem.columns, problem.kernels, payload["parameters"][:, None]
        features = problem.num_features
        product, powers = np.zeros(len(direction)), np.zeros(4)
        for rows in sample(shard.train, CURVATURE_ROWS):
            weights, offset = columns.to_raw(direction[:features], direction[features:].sum(axis=0))
            along = rows.weighted(kernels.product(rows.X, weights).astype(np.float64) + offset)
            product[:features] += columns.pull(kernels.pull_back(rows.X, along), along.sum(axis=0))[:, 0]
            product[features:] += along.sum()
            powers += _powers(problem, rows)
        return np.concatenate([product, powers])

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Turn the direction towards the largest eigenvector."""
        weight, second, fourth, last = sums[-4:]
        product = sums[:-4] / weight if weight > 0 else sums[:-4]
        memory = {
            "largest": np.array(norm(product)),
            "spread": np.array(fourth / second if second > 0 else 0.0),
            "reach": np.array(_sixteenth_root(last)),
        }
        solved = "measured" if state.round + 1 == POWER_ROUNDS else ""
        return State(_unit(product), state.round + 1, memory=memory, solved=solved)

    def apply(self, problem: Problem, state: State, noise: str | None, own_batch: int | None = None) -> Problem:
        """Return the problem with the default learning rate: one over the curvature that a step meets.

        ``noise`` names the entry of the state that batches add, None for full gradients; ``own_batch`` is the solver's.
        """
        largest = SAFETY * float(state.memory["largest"])
        if noise is not None:
            largest += float(state.memory[noise]) / (own_batch or problem.smallest_batch)
        curvature = problem.objective.typical_smoothness * largest + problem.penalty.l2
        return problem.with_rate(1.0 / curvature if curvature > 0 else 1.0)


def _powers(problem: Problem, rows: Rows) -> Floats:
    """Return the sums of the weights and of the 2nd, 4th and 32nd powers of the rows' norms.

    A row that counts ``u`` times the average pulls as one whose norm is the root of ``u`` times as long.
    """
    second = problem.columns.squared_norms(rows.X) + problem.intercept
    pull = second if rows.weights is None else second * (rows.weights / problem.mean_weight)
    bounded = np.minimum(pull, LONGEST)
    fourth = bounded * bounded
    sixteenth = (fourth * fourth) * (fourth * fourth)
    heavy = [rows.weighted(values).sum() for values in (second, second * pull)]
    return np.array([rows.total_weight, *heavy, (sixteenth * sixteenth).sum()])


def _sixteenth_root(value: float) -> float:
    """Return ``value**(1 / 16)`` by square roots, which are the same everywhere."""
    return float(np.sqrt(np.sqrt(np.sqrt(np.sqrt(value)))))


def _unit(vector: Floats) -> Floats:
    length = norm(vector)
    return vector / length if length > 0 else vector
