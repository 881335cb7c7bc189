"""The stages of a training, and its end: limits, tolerances, numbers that overflow."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from learning_cases import classification, cut, learn, problem_for, regression

from workers.data.rows import Rows
from workers.data.shard import Shard
from workers.exact_sum import NonFiniteError
from workers.outcome import Outcome
from workers.sequential import rounds
from workers.solvers import SOLVERS
from workers.stopping import STEADY_ROUNDS, Stopping
from workers.training import DivergedError, Training


def end_of(training: Training, shards: list[Shard]) -> Outcome:
    for _ in rounds(training, shards):
        pass
    assert training.outcome is not None
    return training.outcome


def test_a_diverging_rate_names_the_round_and_a_smaller_rate() -> None:
    X, y = regression()
    training = Training(problem_for(X, y, 3, learning_rate=5.0), "gradient-descent", Stopping(1000, 0.0), True)
    seen = []
    with pytest.raises(DivergedError) as caught:
        seen.extend(report for report in rounds(training, cut(X, y, 3)) if report.stage == "gradient-descent")
    message = str(caught.value)
    done = 0
    fresh = Training(problem_for(X, y, 3, learning_rate=5.0), "gradient-descent", Stopping(1000, 0.0), True)
    with pytest.raises(DivergedError):
        for report in rounds(fresh, cut(X, y, 3)):
            done = report.round if report.stage == "gradient-descent" else 0
    assert message.startswith(f"gradient-descent, round {done + 1}: the loss has grown from ")
    assert "the learning rate 5 is too large: try 'learning_rate: 0.5'" in message


def test_a_rate_that_overflows_within_a_round_is_seen() -> None:
    X, y = regression()
    problem = problem_for(X, y, 3, learning_rate=1e200, batch_size=4)
    training = Training(problem, "local-sgd", Stopping(10, 0.0), True)
    with pytest.raises(NonFiniteError, match=r"shard 0: [56] of 6 values are not finite"):
        end_of(training, cut(X, y, 3))
    message = str(training.diverged("shard 0: overflow"))
    assert message.startswith("local-sgd, round 1: shard 0: overflow; the learning rate 1e+200 is too large")
    assert "1e+199" in message


def test_sums_that_overflow_are_seen_before_they_are_used() -> None:
    X = np.array([[1.5e308], [1.5e308]])
    training = Training(problem_for(X, X[:, 0], 2), "exact", Stopping(1, 0.0), True)
    with pytest.raises(DivergedError, match=r"moments, round 1: the sums .* not finite; look for extreme values"):
        end_of(training, cut(X, X[:, 0], 2))


def test_the_limit_of_rounds() -> None:
    X, y = regression()
    for solver in ("gradient-descent", "local-sgd", "local-svrg"):
        outcome, _ = learn(problem_for(X, y, 3), cut(X, y, 3), solver, 5)
        assert (outcome.rounds, outcome.converged) == (5, False)
        assert outcome.reason == "the limit of 5 rounds was reached"


@pytest.mark.parametrize("solver", ["gradient-descent", "local-svrg"])
def test_the_tolerance_ends_training(solver: str) -> None:
    X, y = regression()
    training = Training(problem_for(X, y, 3, l2=0.1), solver, Stopping(2000, 1e-6), True)
    losses = [
        report.loss for report in rounds(training, cut(X, y, 3)) if report.stage == solver and report.loss is not None
    ]
    outcome = training.outcome
    assert outcome is not None and outcome.converged and outcome.rounds < 2000
    assert outcome.reason == f"the loss changed by less than 1e-06 of itself, {STEADY_ROUNDS} times"
    changes = [abs(b - a) / a <= 1e-6 for a, b in pairwise(losses)]
    assert changes[-STEADY_ROUNDS:] == [True] * STEADY_ROUNDS
    assert not any(all(changes[end - STEADY_ROUNDS : end]) for end in range(STEADY_ROUNDS, len(changes)))
    assert outcome.loss == losses[-1]


def test_a_tolerance_of_zero_never_ends_training() -> None:
    X, y = np.ones((4, 1)), np.zeros(4)
    outcome, _ = learn(problem_for(X, y, 2), cut(X, y, 2), "gradient-descent", 10, tolerance=0.0)
    assert (outcome.rounds, outcome.converged, outcome.loss) == (10, False, 0.0)


def test_the_stages_of_a_training() -> None:
    X, y = regression()
    stages = {}
    for solver in SOLVERS:
        training = Training(problem_for(X, y, 3), solver, Stopping(2, 0.0), True)
        stages[solver] = [report.stage for report in rounds(training, cut(X, y, 3))]
    moments, curvature = ["moments"] * 2, ["curvature"] * 8
    assert stages.pop("exact") == [*moments, "exact", "evaluate"]
    assert stages.pop("newton") == [*moments, "newton", "newton", "exact", "evaluate"]
    assert stages.pop("lbfgs") == [*moments, "lbfgs", "lbfgs", "exact", "evaluate"]
    assert stages.pop("diloco") == [*moments, "diloco", "diloco", "exact", "evaluate"]
    for solver, seen in stages.items():
        assert seen == [*moments, *curvature, solver, solver, "exact", "evaluate"]
    X, y = classification(2)
    training = Training(problem_for(X, y, 3, "logistic", learning_rate=0.1), "local-sgd", Stopping(1, 0.0), False)
    assert [report.stage for report in rounds(training, cut(X, y, 3))] == ["local-sgd", "evaluate"]
    with pytest.raises(AttributeError):
        training.outcome.rounds = 3  # type: ignore[union-attr, misc]


def test_test_rows_are_judged_and_not_learnt() -> None:
    X, y = regression()
    shards = cut(X[:180], y[:180], 3)
    plain, _ = learn(problem_for(X[:180], y[:180], 3), shards, "exact")
    assert np.isnan(plain.metric[1])
    kept = [X[180:], y[180:]]
    shards[1] = replace(shards[1], test=Rows(*kept))
    outcome, _ = learn(problem_for(X[:180], y[:180], 3), shards, "exact")
    np.testing.assert_array_equal(outcome.weights, plain.weights)
    errors = kept[0] @ outcome.weights[:, 0] + outcome.intercepts - kept[1]
    assert outcome.metric[1] == pytest.approx((errors**2).mean(), rel=1e-9)
