"""Scikit-learn's SGD as a solver: near the optimum, the step that it is said to take, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from learning_cases import classification, cut, learn, objective_at, problem_for, regression
from scipy.sparse import csr_array

from workers.choice import Wishes, choose
from workers.columns import Columns
from workers.data.rows import Floats, Rows
from workers.data.shard import Shard
from workers.errors import DataError
from workers.objectives import OBJECTIVES
from workers.solvers import SOLVERS
from workers.solvers.scikit_learn import LOSSES

SOLVER = SOLVERS["sklearn-sgd"]


def data(objective: str, num_rows: int = 240) -> tuple[Floats, Floats]:
    return regression(num_rows) if OBJECTIVES[objective].task == "regression" else classification(2, num_rows)


@pytest.mark.parametrize("objective", sorted(LOSSES))
def test_it_comes_near_the_optimum(objective: str) -> None:
    X, y = data(objective)
    y = y - y.mean() if OBJECTIVES[objective].task == "regression" else y
    shards = cut(X, y, 4)
    problem = problem_for(X, y, 4, objective, l2=0.01)
    choice = choose(problem, Wishes(solver="sklearn-sgd", schedule="inverse-sqrt"))
    _, training = learn(choice.applied(problem), shards, "sklearn-sgd", 200)
    # the subgradient method is slow on corners: a long run of it is the yardstick there
    yardstick, rounds = ("lbfgs", 300) if OBJECTIVES[objective].is_curved else ("local-sgd", 600)
    best = choose(problem, Wishes(solver=yardstick)).applied(problem)
    _, reference = learn(best, shards, yardstick, rounds)
    assert objective_at(training, shards) <= objective_at(reference, shards) * 1.01 + 1e-4


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("objective", sorted(LOSSES))
def test_one_row_is_one_step_of_local_sgd(objective: str, weighted: bool) -> None:
    """Of a shard of one row, whatever is drawn, both make the same step: losses, penalty and weights agree."""
    X, y = data(objective, 6)
    columns = Columns(X.mean(axis=0), X.std(axis=0))
    problem = problem_for(X, y, 6, objective, l2=0.3, learning_rate=0.07, batch_size=1, local_epochs=3)
    problem = replace(problem, columns=columns, total_weight=7.5 if weighted else 6.0)
    start = np.random.default_rng(0).standard_normal(problem.num_parameters)
    for place in range(6):
        rows = Rows(X[place : place + 1], y[place : place + 1], np.array([1.7]) if weighted else None)
        shard = Shard(place, rows, rows[:0])
        ours, theirs = (
            SOLVERS[name].contribute(problem, {"parameters": start}, shard, 0) for name in ("local-sgd", "sklearn-sgd")
        )
        np.testing.assert_allclose(theirs[:-1], ours[:-1], rtol=1e-9, atol=1e-11)


def test_rounds_and_shards_have_streams_of_their_own() -> None:
    X, y = data("logistic")
    problem = problem_for(X, y, 2, "logistic", learning_rate=0.01)
    rows = Rows(X[:100], y[:100])
    payload = {"parameters": np.zeros(4)}
    updates = [
        SOLVER.contribute(problem, payload, Shard(index, rows, rows[:0]), round_).tobytes()
        for index, round_ in ((0, 0), (0, 0), (1, 0), (0, 1))
    ]
    assert updates[0] == updates[1]
    assert len(set(updates)) == 3


def test_a_shard_of_one_class_is_no_error() -> None:
    X, y = data("hinge")
    order = np.argsort(y, kind="stable")
    shards = cut(X[order], y[order], 4)
    assert {len(set(shard.train.y)) for shard in shards} == {1}
    problem = choose(problem_for(X, y, 4, "hinge", l2=0.01), Wishes(solver="sklearn-sgd", learning_rate=0.01))
    outcome, _ = learn(problem.applied(problem_for(X, y, 4, "hinge", l2=0.01)), shards, "sklearn-sgd", 60)
    assert outcome.metric[0] > 0.6


def test_sparse_rows_stay_sparse_and_cannot_be_centred(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data("logistic")
    X = X * (np.random.default_rng(1).random(X.shape) < 0.5)
    problem = problem_for(X, y, 1, "logistic", intercept=False, learning_rate=0.01)
    problem = replace(problem, columns=Columns(np.zeros(3), X.std(axis=0)))
    payload = {"parameters": np.zeros(3)}
    dense = SOLVER.contribute(problem, payload, Shard(0, Rows(X, y), Rows(X[:0], y[:0])), 0)
    with monkeypatch.context() as patched:
        patched.setattr(csr_array, "toarray", lambda *_: pytest.fail("made dense"))
        shard = Shard(0, Rows(csr_array(X), y), Rows(csr_array(X[:0]), y[:0]))
        sparse = SOLVER.contribute(problem, payload, shard, 0)
    np.testing.assert_allclose(sparse, dense, rtol=1e-9)
    centred = replace(problem, columns=Columns(np.ones(3), np.ones(3)))
    with pytest.raises(DataError, match=r"cannot centre sparse rows: set 'training\.standardise: false'"):
        SOLVER.contribute(centred, payload, shard, 0)


def test_numbers_that_overflow_are_not_an_error_of_scikit_learn() -> None:
    X, y = regression(40)
    problem = problem_for(X, y, 1, "squared", learning_rate=1e300, local_epochs=5)
    rows = Rows(X, y)
    assert np.isnan(SOLVER.contribute(problem, {"parameters": np.zeros(5)}, Shard(0, rows, rows[:0]), 0)).all()


@pytest.mark.parametrize("objective", ["softmax", "poisson"])
def test_losses_that_it_has_not_are_refused(objective: str) -> None:
    X, y = classification(2)
    reason = SOLVER.refuse(problem_for(X, y, 2, objective))
    assert reason is not None and f"scikit-learn's SGD has no '{objective}': use 'local-sgd'" in reason
