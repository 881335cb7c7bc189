"""Mini-batch SGD on every shard, averaged once a round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from workers.data.rows import Floats, Rows
from workers.data.shard import Shard
from workers.exact_sum import Ints
from workers.problem import Problem, batch_edges
from workers.solvers.base import Payload, Solver, State, generator, parameter_blocks
from workers.walk import walk


class LocalSgd(Solver):
    """Mini-batch SGD on each shard from common parameters; the results are averaged, weighted by rows.

    It stalls above the optimum at a constant rate, since shards pull apart between averages: a falling
    ``schedule`` brings it closer, ``local-svrg`` all the way.
    """

    name = "local-sgd"
    source = "Stich, Local SGD Converges Fast and Communicates Little (ICLR 2019)"
    stochastic = True
    batch_noise: ClassVar[str | None] = "reach"
    takes_server = True
    takes_robust = True
    takes_parts = True

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return the parameters' blocks, and one for the loss."""
        del payload
        return parameter_blocks(problem, 1)

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return weight times the parameters' change over the shard's epochs, and the losses met on the way."""
        start, loss = payload["parameters"], 0.0
        steps, rate = walk(problem, start), problem.options.rate(round_)
        for batch in batches(problem, shard, round_):
            loss += steps.step(batch, rate)
        change = shard.train.total_weight * (steps.parameters - start)
        return np.append(change, loss / problem.options.local_epochs)

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Let the server step along the average change; the loss is the mean over the batches before their steps."""
        step, memory = problem.options.server.step(state.memory, sums[:-1] / problem.weight)
        loss = float(sums[-1] / problem.weight + problem.cost(state.parameters))
        return State(state.parameters + step, state.round + 1, loss, memory=memory)

    def apply_part(self, problem: Problem, state: State, sums: Floats, part: float, pace: float) -> State:
        """Let the server step along ``pace`` times the average change of a part."""
        return self.combine(problem, state, np.append(sums[:-1] * (pace / part), sums[-1] / part))


def batches(problem: Problem, shard: Shard, round_: int) -> Iterator[Rows]:
    """Yield the mini-batches of the shard's epochs in an order drawn by (seed, round, shard).

    Rows were shuffled when the data was split, so a batch is a run of neighbours: nothing is copied.
    """
    edges = batch_edges(len(shard.train), problem.options.batch_size)
    random = generator(problem, round_, shard.index)
    for _ in range(problem.options.local_epochs):
        for place in random.permutation(len(edges) - 1):
            yield shard.train[edges[place] : edges[place + 1]]
