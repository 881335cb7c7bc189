"""How good parameters are, on the training rows and on the rows kept back."""

from __future__ import annotations

import numpy as np

from workers.columns import blocks
from workers.data.rows import Floats, Rows
from workers.data.shard import Shard
from workers.exact_sum import Ints
from workers.problem import Problem
from workers.solvers.base import Payload, Solver, State, single_blocks


class Evaluation(Solver):
    """The objective's metric of each of ``problem.candidates``, summed over training and test rows."""

    name = "evaluate"
    source = "the metric's definition"
    needs_rate = False

    def broadcast(self, problem: Problem, state: State) -> Payload:
        """Return the candidates' parameters."""
        del state
        return problem.candidates

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return a block for the weight of the test rows, and two for each candidate."""
        del problem
        return single_blocks(1 + 2 * len(payload))

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the weight of the test rows, then each candidate's metric sums over training and test rows."""
        del round_
        sums = [shard.test.total_weight]
        for parameters in payload.values():
            sums += [metric_sum(problem, parameters, rows) for rows in (shard.train, shard.test)]
        return np.array(sums)

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Keep each candidate's means over training and test rows, NaN where there are no test rows."""
        weight = sums[0]
        memory = {
            name: np.array([train / problem.weight, test / weight if weight else np.nan])
            for name, (train, test) in zip(problem.candidates, sums[1:].reshape(-1, 2), strict=True)
        }
        return State(state.parameters, state.round + 1, memory=memory, solved="evaluated")


def metric_sum(problem: Problem, parameters: Floats, rows: Rows) -> float:
    """Return the weighted sum of the rows' metric."""
    total = 0.0
    for block in blocks(rows) if len(rows) else ():
        scores = problem.objective.scores(problem.margins(parameters, block.X), block.y)
        total += float(block.weighted(scores).sum(dtype=np.float64))
    return total


def monitored(problem: Problem, parameters: Floats, shard: Shard) -> Floats:
    """Return what a monitored round measures on the shard's validation rows: their weight, losses and metric."""
    rows = shard.validation
    loss = problem.loss_sum(parameters, rows) if len(rows) else 0.0
    return np.array([rows.total_weight, loss, metric_sum(problem, parameters, rows)])


NUM_MONITORED = 3
"""How many values ``monitored`` returns."""
