"""Synchronous mini-batch SGD."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from workers.data.rows import Floats
from workers.data.shard import Shard
from workers.exact_sum import Ints
from workers.problem import Problem
from workers.solvers.base import Payload, Solver, State, generator, parameter_blocks
from workers.solvers.gradient_descent import moved


class Sgd(Solver):
    """Mini-batch SGD as the textbook has it: draw a batch, compute its gradient, step against it, repeat.

    A round is one step. Its batch is one run of at most ``batch_size`` neighbours from every shard, drawn by (seed,
    round, shard), so the batch of the whole job has ``shards * batch_size`` rows. Every row is as likely as any other.
    """

    name = "sgd"
    source = "Robbins, Monro, A Stochastic Approximation Method (1951)"
    stochastic = True
    batch_noise = "spread"
    takes_server = True
    takes_robust = True
    takes_parts = True
    measures_batches = True

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return the parameters' blocks, one for the loss and one for the weight of the batch."""
        del payload
        return parameter_blocks(problem, 2)

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the sums of the gradients, the losses and the weights over the shard's batch."""
        # As many batches in every shard, or the rows of a shard that is one row longer would count half.
        longest = -(-problem.num_rows // problem.num_shards)
        number = -(-longest // problem.options.batch_size)
        place = int(generator(problem, round_, shard.index).integers(0, number))
        num_rows = len(shard.train)
        batch = shard.train[place * num_rows // number : (place + 1) * num_rows // number]
        loss, gradient = problem.loss_and_gradient(payload["parameters"], batch)
        return np.append(gradient, [loss, batch.total_weight])

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Step against the mean gradient of the batch; the loss is that of the batch before the step."""
        weight = sums[-1] if sums[-1] > 0 else 1.0  # a batch of weightless rows teaches nothing
        gradient = sums[:-2] / weight + problem.ridge * state.parameters
        loss = float(sums[-2] / weight + problem.cost(state.parameters))
        # The gradient of a batch is not the objective's, and ends nothing.
        return replace(moved(problem, state, gradient, loss), gradient_norm=None)

    def apply_part(self, problem: Problem, state: State, sums: Floats, part: float, pace: float) -> State:
        """Step against the mean gradient of a part, at a rate that is ``pace`` times the job's."""
        return self.combine(problem.at_pace(pace), state, sums / part)
