"""Mini-batch SGD on every shard, averaged once a round."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from workers.data.shard import Shard
from workers.exact_sum import Floats, Ints
from workers.problem import Problem
from workers.solvers.base import Payload, Solver, State, generator, single_blocks


class LocalSgd(Solver):
    """Mini-batch SGD on each shard from common parameters; the results are averaged, weighted by rows.

    It stalls above the optimum at a constant rate, since shards pull apart between averages: a falling
    ``schedule`` brings it closer, ``local-svrg`` all the way.
    """

    name = "local-sgd"
    source = "Stich, Local SGD Converges Fast and Communicates Little (ICLR 2019)"
    stochastic = True
    batch_noise = "reach"

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return a block for each parameter and one for the loss."""
        del payload
        return single_blocks(problem.num_parameters + 1)

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return rows times the parameters' change over the shard's epochs, and the losses met on the way."""
        start = payload["parameters"]
        parameters, loss = start.copy(), 0.0
        rate = problem.options.rate(round_)
        for rows in batches(problem, shard, round_):
            X, y = shard.train.X[rows], shard.train.y[rows]
            batch_loss, gradient = problem.loss_and_gradient(parameters, X, y)
            parameters -= rate * (gradient / len(y) + problem.penalised * parameters)
            loss += batch_loss
        return np.append(len(shard.train.y) * (parameters - start), loss / problem.options.local_epochs)

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Move by the average change; the loss is the mean over the batches before their steps."""
        parameters = state.parameters + sums[:-1] / problem.num_rows
        loss = float(sums[-1] / problem.num_rows + problem.penalty(state.parameters))
        return State(parameters, state.round + 1, loss)


def batches(problem: Problem, shard: Shard, round_: int) -> Iterator[slice]:
    """Yield the mini-batches of the shard's epochs in an order drawn by (seed, round, shard).

    Rows were shuffled when the data was split, so a batch is a run of neighbours: nothing is copied.
    """
    size = problem.options.batch_size
    random = generator(problem, round_, shard.index)
    starts = np.arange(0, len(shard.train.y), size)
    for _ in range(problem.options.local_epochs):
        for start in random.permutation(starts):
            yield slice(start, start + size)
