"""DiLoCo: AdamW on each shard by the formulas of its paper, and momentum between the averages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from learning_cases import classification, cut, learn, problem_for, regression, standardised

from workers.choice import Wishes, choose
from workers.data.rows import Rows
from workers.server_optimisers import Average
from workers.solvers import SOLVERS
from workers.solvers.local_sgd import batches


def test_the_steps_are_those_of_adamw() -> None:
    """By hand, as Loshchilov and Hutter write them (Decoupled Weight Decay Regularization, ICLR 2019)."""
    X, y = regression(40)
    shard = cut(X, y, 1)[0]
    problem = standardised(problem_for(X, y, 1, l2=0.3, batch_size=40, local_steps=5, learning_rate=0.05), Rows(X, y))
    start = np.full(problem.num_parameters, 0.5)
    first, second, w = np.zeros_like(start), np.zeros_like(start), start.copy()
    losses = []
    for step in range(1, 6):
        batch = next(batches(problem, shard, 0))
        loss, gradient = problem.loss_and_gradient(w, batch)
        gradient = gradient / len(batch)
        losses.append(loss)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        unbiased, spread = first / (1 - 0.9**step), second / (1 - 0.999**step)
        decay = np.where(np.arange(len(w)) < X.shape[1], 0.3, 0.0)  # not of the intercept
        w = w - 0.05 * decay * w - 0.05 * unbiased / (np.sqrt(spread) + 1e-6)
    sums = SOLVERS["diloco"].contribute(problem, {"parameters": start}, shard, 0)
    np.testing.assert_allclose(sums[:-1], 40 * (w - start), rtol=1e-9)
    assert sums[-1] == pytest.approx(40 * np.mean(losses) / 40)


@pytest.mark.parametrize("steps", [1, 3, 50])
def test_so_many_steps_are_taken_however_many_batches_there_are(steps: int) -> None:
    """A first step of Adam is as long as its rate, and of one row all are alike: the way has ``steps`` such parts."""
    X, y = np.ones((1, 1)), np.array([1e6])
    shard = cut(X, y, 1)[0]
    problem = problem_for(X, y, 1, intercept=False, local_steps=steps, learning_rate=0.01)
    change = SOLVERS["diloco"].contribute(problem, {"parameters": np.zeros(1)}, shard, 0)[0]
    assert change == pytest.approx(0.01 * steps, rel=1e-3)


def test_it_learns_and_the_outer_momentum_helps() -> None:
    X, y = classification(3)
    shards = cut(X, y, 6)
    problem = problem_for(X, y, 6, "softmax", l2=0.001, batch_size=8)
    newton = learn(problem, shards, "newton", 30)[0]
    chosen = choose(problem, Wishes("diloco", batch_size=8)).applied(problem)
    plain = replace(chosen, options=replace(chosen.options, server=Average()))
    with_momentum, without = (learn(one, shards, "diloco", 30)[0] for one in (chosen, plain))
    assert with_momentum.learning_rate == 0.003  # its own, not the curvature's
    assert chosen.options.schedule == "inverse-sqrt"
    assert with_momentum.metric[0] >= newton.metric[0] - 0.02
    assert with_momentum.loss is not None and without.loss is not None and with_momentum.loss < without.loss
