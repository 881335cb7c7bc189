"""How good parameters are, on the training rows and on the rows kept back."""

from __future__ import annotations

import numpy as np

from workers.data.shard import Shard
from workers.exact_sum import Floats, Ints
from workers.problem import Problem
from workers.solvers.base import Payload, Solver, State, single_blocks


class Evaluation(Solver):
    """The objective's metric of each of ``problem.candidates``, summed over training and test rows."""

    name = "evaluate"
    source = "the metric's definition"

    def broadcast(self, problem: Problem, state: State) -> Payload:
        """Return the candidates' parameters."""
        del state
        return problem.candidates

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return a block for the number of test rows, and two for each candidate."""
        del problem
        return single_blocks(1 + 2 * len(payload))

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the number of test rows, then each candidate's metric sums over training and test rows."""
        del round_
        sums = [float(len(shard.test.y))]
        for parameters in payload.values():
            for X, y in ((shard.train.X, shard.train.y), (shard.test.X, shard.test.y)):
                sums.append(problem.objective.metric_sum(problem.margins(parameters, X), y) if len(y) else 0.0)
        return np.array(sums)

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Keep each candidate's means over training and test rows, NaN where there are no test rows."""
        num_test = sums[0]
        memory = {
            name: np.array([train / problem.num_rows, test / num_test if num_test else np.nan])
            for name, (train, test) in zip(problem.candidates, sums[1:].reshape(-1, 2), strict=True)
        }
        return State(state.parameters, state.round + 1, memory=memory, solved=True)
