"""Mini-batch SGD: batches without bias, losses that are of a batch, and rounds that go on where others ended."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from learning_cases import cut, problem_for, regression

from workers.data.rows import Rows
from workers.data.shard import Shard
from workers.outcome import WarmStart
from workers.sequential import rounds, train
from workers.stopping import Stopping
from workers.training import Training


@pytest.mark.parametrize("solver", ["sgd", "local-sgd"])
def test_rounds_one_by_one_are_the_rounds_in_one_go(solver: str) -> None:
    """The random streams go on with the round, not from the first one."""
    X, y = regression(120)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    shards = cut(X, y, 3)
    problem = problem_for(X, y, 3, batch_size=7, learning_rate=0.1, schedule="inverse")
    whole = train(Training(problem, solver, Stopping(6), False), shards)
    start, outcome = None, whole
    for _ in range(6):
        outcome = train(Training(problem, solver, Stopping(1), False, start), shards)
        start = WarmStart(outcome.arrays, outcome.rounds)
    assert outcome.weights.tobytes() == whole.weights.tobytes()
    assert outcome.rounds == 6


def test_a_first_batch_of_small_targets_is_no_divergence() -> None:
    random = np.random.default_rng(0)
    X, y = random.standard_normal((320, 2)), 1e-3 * random.standard_normal(320)
    y[7] = 1000.0
    problem = problem_for(X, y, 1)
    assert train(Training(problem, "sgd", Stopping(30), True), cut(X, y, 1)).rounds == 30


def test_the_gradient_of_a_batch_does_not_end_training() -> None:
    X, y = regression(300)
    weights = np.where(np.arange(300) % 5 == 0, 1.0, 0.0)
    shards = [Shard(0, Rows(X, y, weights), Rows(X[:0], y[:0]))]
    problem = replace(problem_for(X, y, 1, batch_size=3), total_weight=None)
    training = Training(problem, "sgd", Stopping(40, gradient_norm=1e-3), True)
    seen = [report for report in rounds(training, shards) if report.stage == "sgd"]
    assert len(seen) == 40 and all(report.gradient_norm is None for report in seen)


def test_rows_of_a_longer_shard_count_as_much_as_others() -> None:
    """Of 65 rows the 33 in the first shard have target 1: the mean of the targets is 33 / 65."""
    X, y = np.ones((65, 1)), np.r_[np.ones(33), np.zeros(32)]
    shards = [Shard(0, Rows(X[:33], y[:33]), Rows(X[:0], y[:0])), Shard(1, Rows(X[33:], y[33:]), Rows(X[:0], y[:0]))]
    problem = problem_for(X, y, 2, intercept=False, batch_size=32, learning_rate=0.02)
    outcome = train(Training(problem, "sgd", Stopping(2000), False), shards)
    assert outcome.weights[0, 0] == pytest.approx(33 / 65, abs=0.03)
