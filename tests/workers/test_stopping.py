"""Why training ends, each reason for itself; what is kept then; and that validation rows teach nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from learning_cases import classification, cut, fused, learn, problem_for, regression

from workers.data.rows import Rows
from workers.data.shard import Shard
from workers.errors import DataError
from workers.exact_sum import Floats
from workers.outcome import Outcome, RoundReport
from workers.sequential import rounds, train
from workers.solvers import SOLVERS
from workers.solvers.base import State
from workers.stopping import Progress, Stopping, Validation
from workers.training import Training


def state(loss: float | None = None, norm: float | None = None, solved: str = "", at: float = 0.0) -> State:
    return State(np.array([at]), loss=loss, gradient_norm=norm, solved=solved)


def validation(loss: float, metric: float = 0.0) -> Validation:
    return Validation(np.array([loss]), None, loss, metric)


def reasons(progress: Progress, states: list[State], validations: list[Validation | None] | None = None) -> list[str]:
    pairs = zip(states, validations or [None] * len(states), strict=True)
    return [progress.reason(*pair) for pair in pairs]


# --- pure ----------------------------------------------------------------------------------------------------


def test_nothing_asked_never_ends() -> None:
    progress = Progress(Stopping(5), True)
    assert reasons(progress, [state(1.0, 0.0)] * 9, [validation(1.0)] * 9) == [""] * 9
    assert not Stopping(5, 1e-3, 1e-3).needs_validation
    assert Stopping(5, patience=1).needs_validation and Stopping(5, target=0.0).needs_validation


def test_a_tolerance_needs_three_quiet_changes_in_a_row() -> None:
    progress = Progress(Stopping(99, tolerance=0.01), False)
    losses = [1.0, 0.5, 0.499, 0.498, 0.4, 0.399, None, 0.398, 0.397]
    got = reasons(progress, [state(loss) for loss in losses])
    assert got == [""] * 8 + ["the loss changed by less than 0.01 of itself, 3 times"]


def test_a_negative_loss_may_be_quiet_too() -> None:
    assert reasons(Progress(Stopping(9, tolerance=0.01), False), [state(-5.0)] * 4)[3] != ""


def test_the_gradients_norm() -> None:
    progress = Progress(Stopping(9, gradient_norm=0.1), False)
    assert reasons(progress, [state(1.0), state(1.0, 0.2), state(1.0, 0.1)]) == [
        "",
        "",
        "the gradient's norm is 0.1, at most 0.1",
    ]


def test_patience_counts_rounds_without_gain_and_keeps_the_best() -> None:
    progress = Progress(Stopping(99, patience=2), False)
    seen = [validation(loss) for loss in (3.0, 2.0, 2.5, 1.5, 1.5, 1.6)]
    assert reasons(progress, [state(1.0)] * 6, seen) == [""] * 5 + [
        "the loss on the validation rows has not fallen for 2 rounds"
    ]
    assert progress.best is seen[3]


def test_rounds_that_measured_no_new_parameters_try_no_patience() -> None:
    """Local steps begin where the gradient was measured, and a step that was taken back is no progress to judge."""
    progress = Progress(Stopping(99, patience=1), False)
    seen = [validation(3.0), validation(3.0), validation(2.0), validation(1.0), validation(2.0)]
    states = [state(1.0), state(None), state(1.0), state(None), state(1.0)]
    assert reasons(progress, states, seen)[:4] == [""] * 4
    assert progress.best is seen[2]


@pytest.mark.parametrize(("higher", "metrics"), [(True, [0.5, 0.89, 0.9]), (False, [2.0, 0.91, 0.9])])
def test_a_target_in_both_directions(higher: bool, metrics: list[float]) -> None:
    progress = Progress(Stopping(99, target=0.9), higher)
    seen = [Validation(np.zeros(1), None, loss, metric) for loss, metric in zip([1.0, 0.5, 0.7], metrics, strict=True)]
    got = reasons(progress, [state(1.0)] * 3, list(seen))
    assert got == ["", "", "the metric on the validation rows is 0.9, the target was 0.9"]
    assert progress.best is seen[2]  # what reached it, though its loss was lower before


def test_what_is_solved_is_judged_as_well() -> None:
    progress = Progress(Stopping(99, patience=3), False)
    assert progress.reason(state(1.0), validation(2.0)) == ""
    assert progress.reason(state(0.5, solved="done", at=7.0), validation(1.0)) == "done"
    assert progress.best is not None and progress.best.parameters.tolist() == [7.0] and progress.best.loss == 1.0
    progress = Progress(Stopping(99, patience=3), False)
    progress.reason(state(1.0), validation(2.0))
    progress.reason(state(0.5, solved="done", at=7.0), validation(3.0))
    assert progress.best is not None and progress.best.loss == 2.0


# --- in training ---------------------------------------------------------------------------------------------


def overfitting() -> tuple[Floats, Floats, list[Shard]]:
    """Return few noisy rows with many columns, and validation rows of the same kind."""
    random = np.random.default_rng(2)
    X, true = random.standard_normal((330, 25)), np.r_[2.0, -1.0, np.zeros(23)]
    y = X @ true + 2.0 * random.standard_normal(330)
    kept = [
        replace(shard, validation=Rows(X[30 + 150 * shard.index :][:150], y[30 + 150 * shard.index :][:150]))
        for shard in cut(X[:30], y[:30], 2)
    ]
    return X[:30], y[:30], kept


def run(
    solver: str, stopping: Stopping, objective: str = "squared", shards: Any = None, **options: Any
) -> tuple[Outcome, Training, list[RoundReport]]:
    X, y, kept = overfitting()
    if objective == "logistic":
        y = (y > 0).astype(np.float64)
        kept = [
            replace(
                s,
                train=Rows(s.train.X, (s.train.y > 0) * 1.0),
                validation=Rows(s.validation.X, (s.validation.y > 0) * 1.0),
            )
            for s in kept
        ]
    training = Training(problem_for(X, y, 2, objective, batch_size=5, **options), solver, stopping, True)
    seen = [report for report in rounds(training, shards or kept) if report.stage == solver]
    assert training.outcome is not None
    return training.outcome, training, seen


@pytest.mark.parametrize("solver", ["gradient-descent", "lbfgs", "local-sgd", "local-svrg", "sgd"])
def test_patience_ends_training_and_keeps_the_best(solver: str) -> None:
    outcome, training, seen = run(solver, Stopping(400, patience=6))
    assert outcome.converged and outcome.reason == "the loss on the validation rows has not fallen for 6 rounds"
    losses = [report.validation[0] for report in seen if report.validation is not None]
    _, _, shards = overfitting()
    kept = sum(training.problem.loss_sum(fused(training), shard.validation) for shard in shards) / 300
    judged = [loss for report, loss in zip(seen, losses, strict=True) if report.loss is not None]
    assert kept == pytest.approx(min(judged), rel=1e-12)
    assert kept < losses[-1]
    assert len(seen) < 400


def test_patience_of_one_lets_local_svrg_take_its_local_steps() -> None:
    outcome, _, _ = run("local-svrg", Stopping(100, patience=1))
    assert outcome.rounds > 2


@pytest.mark.parametrize(("objective", "target"), [("squared", 7.6), ("logistic", 0.65)])
def test_a_target_ends_training(objective: str, target: float) -> None:
    outcome, _, seen = run("gradient-descent", Stopping(400, target=target), objective)
    metrics = [report.validation[1] for report in seen if report.validation is not None]
    reached = [metric <= target if objective == "squared" else metric >= target for metric in metrics]
    assert reached == [False] * (len(seen) - 1) + [True] and len(seen) > 1
    assert "the target was" in outcome.reason and outcome.converged


def test_the_gradients_norm_with_an_l1_penalty_is_that_of_the_shortest_subgradient() -> None:
    X, y = regression()
    for solver in ("gradient-descent", "newton", "local-svrg"):
        problem = problem_for(X, y, 3, l1=0.5)
        training = Training(problem, solver, Stopping(500, gradient_norm=1e-6), True)
        outcome = train(training, cut(X, y, 3))
        assert outcome.reason.startswith("the gradient's norm is") or outcome.reason.startswith("the Newton decrement")
        exact = learn(problem, cut(X, y, 3), "exact")[1]
        np.testing.assert_allclose(fused(training), fused(exact), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_a_solved_training_gives_the_same_whether_monitored_or_not(solver: str) -> None:
    X, y = classification(2)
    shards = [replace(shard, validation=shard.train) for shard in cut(X, y, 3)]
    problem = problem_for(X, y, 3, "logistic")
    plain, watched = (
        Training(problem, solver, stopping, True) for stopping in (Stopping(50), Stopping(50, patience=9))
    )
    outcomes = [train(training, shards) for training in (plain, watched)]
    assert outcomes[0].reason == outcomes[1].reason
    np.testing.assert_allclose(fused(plain), fused(watched), rtol=1e-7)


@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_validation_rows_are_never_learnt_from(solver: str) -> None:
    """Other validation rows, or none: the same path (monitored, a round may have another scale, and rounding)."""
    X, y = regression()
    shards = cut(X, y, 3)
    strange = [replace(shard, validation=Rows(X[:7] * 1e3, y[:7] - 1e5)) for shard in shards]
    absurd = Stopping(6, target=-1.0)  # measured every round, and never reached
    paths = []
    for kept, stopping in ((shards, Stopping(6)), (strange, absurd), (strange, Stopping(6))):
        training = Training(problem_for(X, y, 3, batch_size=8), solver, stopping, True)
        paths.append([report.loss or 0.0 for report in rounds(training, kept) if report.stage == solver])
        assert training.problem.columns.center.tolist() == pytest.approx(X.mean(axis=0).tolist())
    assert paths[0] == paths[2]
    np.testing.assert_allclose(paths[1], paths[0], rtol=1e-11)


def test_the_driver_may_stop_training_at_any_time() -> None:
    X, y = regression()
    for stop_at in range(1, 16):
        training = Training(problem_for(X, y, 3), "gradient-descent", Stopping(3), True)
        for number, report in enumerate(rounds(training, cut(X, y, 3)), start=1):
            if number == stop_at:
                training.stop("the time is up")
                training.stop("a second reason")
            last = report
        assert last.stage == "evaluate"
        outcome = training.outcome
        assert outcome is not None and not outcome.converged
        if stop_at <= 12:  # 2 moments, 8 curvature, and the first two rounds
            assert (outcome.reason, outcome.rounds) == ("the time is up", max(1, stop_at - 10 + 1))
        else:
            assert (outcome.reason, outcome.rounds) == ("the limit of 3 rounds was reached", 3)


def test_validation_rows_without_weight_are_refused() -> None:
    X, y = regression(90)
    shards = [replace(shard, validation=Rows(X[:5], y[:5], np.zeros(5))) for shard in cut(X, y, 3)]
    training = Training(problem_for(X, y, 3), "newton", Stopping(9, patience=2), True)
    with pytest.raises(DataError, match="the weights of the validation rows add up to 0"):
        train(training, shards)


def test_the_loss_is_that_of_the_parameters_that_are_kept() -> None:
    random = np.random.default_rng(0)
    X, y = random.standard_normal((60, 40)), random.standard_normal(60)
    shards = [
        replace(shard, validation=Rows(random.standard_normal((9, 40)), random.standard_normal(9)))
        for shard in cut(X, y, 3)
    ]
    training = Training(problem_for(X, y, 3), "gradient-descent", Stopping(200, patience=5), True)
    outcome = train(training, shards)
    assert outcome.rounds < 200
    assert outcome.loss == pytest.approx(outcome.metric[0] / 2.0, rel=1e-9)
