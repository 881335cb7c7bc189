"""Variance-reduced SGD on every shard: converges to the optimum where plain averaging stalls."""

from __future__ import annotations

import numpy as np

from workers.data.rows import Floats
from workers.data.shard import Shard
from workers.exact_sum import Ints
from workers.problem import Problem
from workers.solvers.base import Payload, Solver, State, parameter_blocks
from workers.solvers.gradient_descent import GradientDescent
from workers.solvers.local_sgd import batches
from workers.walk import Control, walk

NOISE = 1e-12
"""Relative rise of the loss that is rounding, not a step that was too long."""


class LocalSvrg(Solver):
    """SGD on each shard with the full gradient as a control variate, so that local steps agree at the optimum.

    Two rounds make an iteration: one sums the full gradient at an anchor, the next takes local steps along
    ``gradient(batch, parameters) - gradient(batch, anchor) + full gradient`` and averages them by rows. Shards
    may differ so much that local steps overshoot: an iteration that raised the loss is taken back and repeated
    at half the rate.
    """

    name = "local-svrg"
    source = "Johnson, Zhang, Stochastic Gradient Descent using Predictive Variance Reduction (NeurIPS 2013)"
    stochastic = True
    batch_noise = "spread"
    rounds_per_step = 2

    def start(self, problem: Problem) -> State:
        """Begin with the whole rate."""
        return State(problem.start(), memory={"factor": np.array(1.0)})

    def broadcast(self, problem: Problem, state: State) -> Payload:
        """Return the parameters; for local steps also the full gradient there and the factor of the rate."""
        del problem
        payload = {"parameters": state.parameters}
        if state.round % 2:
            payload |= {"gradient": state.memory["gradient"], "factor": state.memory["factor"]}
        return payload

    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return the parameters' blocks, and one for the loss in gradient rounds."""
        return parameter_blocks(problem, int("gradient" not in payload))

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return the shard's gradient and loss, or weight times the change over its local steps."""
        if "gradient" not in payload:
            return GradientDescent().contribute(problem, payload, shard, round_)
        anchor = payload["parameters"]
        rate = problem.options.rate(round_ // 2) * float(payload["factor"])
        steps = walk(problem, anchor, Control(anchor, payload["gradient"]))
        for batch in batches(problem, shard, round_):
            steps.step(batch, rate)
        return shard.train.total_weight * (steps.parameters - anchor)

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Keep the full gradient, or move by the average change, or take the last move back."""
        if state.round % 2:
            parameters = state.parameters + sums / problem.weight
            return State(parameters, state.round + 1, memory={**state.memory, "anchor": state.parameters})
        loss, gradient = problem.mean(state.parameters, sums)
        memory = state.memory
        if "anchor" in memory and loss > float(memory["loss"]) + NOISE * abs(float(memory["loss"])):
            halved = {**memory, "factor": memory["factor"] / 2.0}
            return State(memory["anchor"], state.round + 1, memory=halved)
        kept = {"factor": memory["factor"], "gradient": gradient, "loss": np.array(loss)}
        return State(state.parameters, state.round + 1, loss, problem.slope(state.parameters, gradient), kept)
