"""DiLoCo: many steps of AdamW on every shard, and momentum between their averages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from workers.data.rows import Floats, Rows
from workers.data.shard import Shard
from workers.problem import Problem
from workers.server_optimisers import Adam
from workers.solvers.base import Payload
from workers.solvers.local_sgd import LocalSgd, batches


class Diloco(LocalSgd):
    """``local_steps`` steps of AdamW on each shard from common parameters; the average change goes to the server.

    The server's optimiser is the outer one: Nesterov's with rate 0.7 and momentum 0.9, if the job names no other. The
    moments of AdamW start anew in every round, since no state lives in a worker: that is what is given up against the
    paper, whose workers keep theirs. The ridge is AdamW's decoupled decay, so that with one the parameters come to rest
    beside the minimum, as AdamW's do.

    A first step of Adam says the sign of the gradient and not its size: where shards differ so much that their signs
    cancel (a class each, say), their average may lead nowhere. The data is shuffled for that.
    """

    name = "diloco"
    source = "Douillard et al., DiLoCo: Distributed Low-Communication Training of Language Models (2023)"
    batch_noise = None
    needs_rate = False
    own_rate = 0.003
    takes_lasso = False
    takes_parts = False

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return weight times the parameters' change over the shard's steps, and weight times the mean loss met."""
        start, ridge = payload["parameters"], problem.ridge
        # Steps of Adam are as long whatever the target's unit is, so the rate is not divided by it.
        rate = replace(problem.options, rate_divisor=1.0).rate(round_)
        inner, memory, parameters = Adam(rate=rate), dict[str, Floats](), start
        loss, weight = 0.0, 0.0
        for batch in islice(_endless(problem, shard, round_), problem.options.local_steps):
            measured, gradient = problem.loss_and_gradient(parameters, batch)
            step, memory = inner.step(memory, -gradient / (len(batch) * problem.mean_weight))
            parameters = parameters * (1.0 - rate * ridge) + step
            loss, weight = loss + measured, weight + batch.total_weight
        heavy = shard.train.total_weight
        return np.append(heavy * (parameters - start), heavy * loss / weight if weight else 0.0)


def _endless(problem: Problem, shard: Shard, round_: int) -> Iterator[Rows]:
    """Yield the mini-batches of as many epochs as somebody wants; nothing of a shard without rows."""
    epochs = problem.options.local_steps if len(shard.train) else 0
    many = replace(problem, options=replace(problem.options, local_epochs=epochs))
    yield from batches(many, shard, round_)
