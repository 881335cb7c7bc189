"""Newton's method and L-BFGS: steps that are taken back, systems without a unique solution, and when they end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from learning_cases import (
    classification,
    cut,
    cut_rows,
    fused,
    learn,
    objective_at,
    problem_for,
    problem_of,
    regression,
    rows_for,
    varied,
)

from workers.data.rows import Floats, Rows
from workers.data.shard import Shard
from workers.outcome import RoundReport, WarmStart
from workers.problem import Problem
from workers.sequential import rounds
from workers.solvers import SOLVERS
from workers.solvers.base import State
from workers.solvers.lbfgs import MEMORY, _inverse_hessian_times, _remember
from workers.stopping import Stopping
from workers.training import Training

SECOND_ORDER = ["newton", "lbfgs"]


def reports(
    problem: Problem, shards: list[Shard], solver: str, max_rounds: int = 100, initial: Any = None
) -> tuple[list[RoundReport], Training]:
    """Return the reports of the solver's rounds."""
    training = Training(
        problem, solver, Stopping(max_rounds, 0.0), True, None if initial is None else WarmStart(initial)
    )
    return [report for report in rounds(training, shards) if report.stage == solver], training


def losses_of(seen: list[RoundReport]) -> list[float]:
    return [report.loss for report in seen if report.loss is not None]


def counts(place: float) -> Rows:
    X, _ = regression(200)
    y = np.random.default_rng(1).poisson(np.exp(place + 0.3 * X[:, 0])).astype(np.float64)
    return Rows(X, y)


def separable() -> Rows:
    X = np.random.default_rng(0).standard_normal((200, 3))
    return Rows(X, (X[:, 0] > 0).astype(np.float64))


@pytest.mark.parametrize("solver", SECOND_ORDER)
@pytest.mark.parametrize("place", [0.0, 4.0, 12.0])
def test_counts_of_any_size_are_learnt_from_zero(solver: str, place: float) -> None:
    """The first parabola leads to e**100000: trial steps overshoot by far, and are taken back."""
    rows = counts(place)
    shards = cut_rows(rows, 3)
    seen, training = reports(problem_of(rows, 3, "poisson"), shards, solver)
    losses = losses_of(seen)
    assert all(b <= a + 1e-12 * abs(a) for a, b in pairwise(losses))
    assert (len(losses) < len(seen)) or place < 12.0
    assert training.outcome is not None and training.outcome.converged and len(seen) < 60
    gradient = sum(training.problem.gradient(fused(training), shard.train) for shard in shards) / len(rows)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6 * rows.y.mean())


@pytest.mark.parametrize("solver", SECOND_ORDER)
def test_a_bad_start_is_no_trap(solver: str) -> None:
    """Raw parameters from elsewhere, where every margin is large and wrong."""
    rows = rows_for("logistic")
    problem, shards = problem_of(rows, 3, "logistic", l2=0.05), cut_rows(rows, 3)
    expected = fused(learn(problem, shards, "newton", 50)[1])
    best = learn(problem, shards, "newton", 50)[0].arrays
    initial = {name: -20.0 * array for name, array in best.items()}
    seen, training = reports(problem, shards, solver, 200, initial)
    np.testing.assert_allclose(fused(training), expected, rtol=1e-5, atol=1e-6)
    first, again = losses_of(seen)[0], losses_of(reports(problem, shards, solver, 5, best)[0])[0]
    assert first > 3.0 > again


@pytest.mark.parametrize("solver", SECOND_ORDER)
@pytest.mark.parametrize("l2", [1e-2, 1e-5, 1e-8])
def test_separable_classes_with_hardly_a_penalty(solver: str, l2: float) -> None:
    rows = separable()
    shards = cut_rows(rows, 3)
    seen, training = reports(problem_of(rows, 3, "logistic", l2=l2), shards, solver)
    assert training.outcome is not None and training.outcome.converged and len(seen) < 60
    assert seen[-1].gradient_norm == pytest.approx(0.0, abs=1e-7)
    assert (np.diff(losses_of(seen)) <= 0).all()


@pytest.mark.parametrize("solver", SECOND_ORDER)
def test_separable_classes_without_a_penalty_end_at_the_limit(solver: str) -> None:
    rows = separable()
    outcome, _ = learn(problem_of(rows, 3, "logistic"), cut_rows(rows, 3), solver, 15)
    assert outcome.loss is not None and outcome.loss < 0.05 and np.isfinite(outcome.weights).all()


@pytest.mark.parametrize("solver", SECOND_ORDER)
@pytest.mark.parametrize("place", [3.0, 1000.0, 1e6])
def test_huber_finds_targets_far_from_the_start(solver: str, place: float) -> None:
    """Every error is beyond delta at first: there the second derivative is 0, and no reason to stop."""
    X, _ = regression(200)
    y = place + 2.0 * np.random.default_rng(0).standard_normal(200)
    shards = cut(X, y, 3)
    _, training = reports(problem_for(X, y, 3, "huber"), shards, solver, 200)
    gradient = sum(training.problem.gradient(fused(training), shard.train) for shard in shards) / len(y)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-5)
    assert training.outcome is not None and training.outcome.converged
    assert fused(training)[-1] == pytest.approx(place, abs=1.0)


def test_newton_takes_few_rounds() -> None:
    for objective in ("squared", "logistic", "softmax", "poisson", "squared-hinge", "huber"):
        rows = rows_for(objective)
        outcome, _ = learn(problem_of(rows, 3, objective, l2=0.01), cut_rows(rows, 3), "newton", 50)
        assert outcome.converged and outcome.rounds <= 15, objective
        assert outcome.reason == "the Newton decrement is below rounding"


@pytest.mark.parametrize("solver", SECOND_ORDER)
@pytest.mark.parametrize("objective", ["squared", "logistic", "poisson", "softmax"])
def test_collinear_columns_do_not_matter(solver: str, objective: str) -> None:
    rows = rows_for(objective)
    wide = Rows(np.hstack([rows.X, rows.X[:, :1], rows.X @ np.ones((rows.X.shape[1], 1)) + 3.0]), rows.y)
    gaps = []
    for these in (rows, wide):
        shards = cut_rows(these, 3)
        outcome, training = learn(problem_of(these, 3, objective), shards, solver, 80)
        gaps.append(objective_at(training, shards))
        assert np.abs(fused(training)).max() < 20.0
    assert outcome.converged
    assert gaps[1] == pytest.approx(gaps[0], rel=1e-9)


def test_newton_does_not_move_along_softmaxs_free_direction() -> None:
    rows = rows_for("softmax")
    _, training = learn(problem_of(rows, 3, "softmax"), cut_rows(rows, 3), "newton", 50)
    parameters = fused(training).reshape(-1, 3)
    np.testing.assert_allclose(parameters.sum(axis=1), 0.0, atol=1e-8)
    np.testing.assert_allclose(
        parameters[:-1],
        fused(learn(problem_of(rows, 3, "softmax", l2=1e-9), cut_rows(rows, 3), "newton", 50)[1]).reshape(-1, 3)[:-1],
        atol=1e-4,
    )


@pytest.mark.parametrize("objective", ["squared", "logistic", "poisson", "huber", "squared-hinge", "softmax"])
def test_a_proximal_newton_leaves_no_subgradient(objective: str) -> None:
    rows = rows_for(objective)
    shards = cut_rows(rows, 3)
    seen, training = reports(problem_of(rows, 3, objective, l1=0.03, l2=0.01), shards, "newton")
    problem, parameters = training.problem, fused(training)
    gradient = sum(problem.gradient(parameters, shard.train) for shard in shards) / len(rows)
    assert problem.slope(parameters, gradient + problem.ridge * parameters) < 1e-7
    assert seen[-1].gradient_norm == pytest.approx(0.0, abs=1e-5)
    assert training.outcome is not None and training.outcome.converged


@pytest.mark.parametrize("objective", ["squared", "logistic", "squared-hinge", "softmax"])
@pytest.mark.parametrize("solver", SECOND_ORDER)
def test_float32_rows_end_training_too(solver: str, objective: str) -> None:
    """Their rounding is far above that of the parameters: what cannot be lowered any more must be noticed."""
    rows = varied(rows_for(objective), dtype=np.float32)
    outcome, _ = learn(problem_of(rows, 3, objective, l2=0.01), cut_rows(rows, 3), solver, 100)
    assert outcome.converged, outcome.reason
    exact, _ = learn(
        problem_of(rows_for(objective), 3, objective, l2=0.01), cut_rows(rows_for(objective), 3), solver, 100
    )
    assert outcome.loss == pytest.approx(exact.loss, rel=1e-3)


# --- L-BFGS, by hand ---------------------------------------------------------------------------------------


def quadratic(solver: str = "lbfgs") -> tuple[Problem, Any]:
    """Return a problem whose sums the test makes up, and the solver."""
    X, y = regression(10)
    return problem_for(X, y, 1, intercept=False), SOLVERS[solver]


def sums_of(problem: Problem, loss: float, gradient: Floats) -> Floats:
    return problem.weight * np.append(gradient, loss)


def test_the_two_loop_recursion_is_the_bfgs_formula() -> None:
    random = np.random.default_rng(0)
    A = random.standard_normal((5, 5))
    A = A @ A.T + np.eye(5)
    steps = random.standard_normal((3, 5))
    changes = steps @ A
    H = np.eye(5) * (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for s, y in zip(steps, changes, strict=True):
        rho = 1.0 / (s @ y)
        V = np.eye(5) - rho * np.outer(s, y)
        H = V @ H @ V.T + rho * np.outer(s, s)
    gradient = random.standard_normal(5)
    np.testing.assert_allclose(_inverse_hessian_times({"steps": steps, "changes": changes}, gradient), H @ gradient)


def test_a_trial_that_does_not_lower_the_loss_comes_closer_and_keeps_the_pairs() -> None:
    problem, lbfgs = quadratic()
    gradient = np.array([1.0, 0.0, 0.0, 0.0])
    first = lbfgs.combine(problem, State(np.zeros(4)), sums_of(problem, 1.0, gradient))
    np.testing.assert_array_equal(first.parameters, -gradient)
    second = lbfgs.combine(problem, first, sums_of(problem, 5.0, gradient))  # the parabola has its minimum at 1/10
    assert second.loss is None and not second.solved
    np.testing.assert_allclose(second.parameters, -0.1 * gradient)
    np.testing.assert_array_equal(lbfgs.result(problem, second), np.zeros(4))  # the last accepted point
    third = lbfgs.combine(problem, second, sums_of(problem, 0.9, 0.5 * gradient))
    assert third.loss == 0.9
    np.testing.assert_allclose(third.memory["steps"], [-0.1 * gradient])
    np.testing.assert_allclose(third.memory["changes"], [-0.5 * gradient])
    np.testing.assert_allclose(third.parameters, second.parameters - 0.1 * gradient)  # the secant's minimum
    np.testing.assert_array_equal(lbfgs.result(problem, third), second.parameters)


def test_steps_grow_while_the_slope_stays_the_same() -> None:
    problem, lbfgs = quadratic()
    gradient, state, lengths = np.array([1.0, 0.0, 0.0, 0.0]), State(np.zeros(4)), []
    for _ in range(5):
        before = state.parameters
        state = lbfgs.combine(problem, state, sums_of(problem, float(state.parameters[0]), gradient))
        lengths.append(float(before[0] - state.parameters[0]))
    assert lengths == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_only_pairs_with_curvature_are_kept_and_only_the_newest() -> None:
    memory: dict[str, Floats] = {}
    for number in range(1, MEMORY + 5):
        _remember(memory, np.full(3, float(number)), np.ones(3))
        _remember(memory, np.full(3, float(number)), -np.ones(3))  # the slope fell along the step: no parabola
    assert memory["steps"][:, 0].tolist() == list(range(5, MEMORY + 5))
    assert (memory["changes"] == 1.0).all()


@pytest.mark.parametrize("solver", SECOND_ORDER)
def test_it_ends_where_no_step_helps(solver: str) -> None:
    """A loss that rises wherever one goes: the parameters are those that it was measured at."""
    problem, method = quadratic(solver)
    gradient, width = np.array([1e-5, 0.0, 0.0, 0.0]), 4
    hessian = np.eye(width)[np.triu_indices(width)] if solver == "newton" else np.zeros(0)
    start = np.arange(1.0, 5.0)
    state, rounds_ = State(start), 0
    while not state.solved:
        sums = np.concatenate([problem.weight * hessian, sums_of(problem, 1.0 + 1e-9 * rounds_, gradient)])
        state = method.combine(problem, state, sums)
        rounds_ += 1
    assert state.solved == "no step lowers the loss any more" and rounds_ < 10
    np.testing.assert_array_equal(method.result(problem, state), start)


@pytest.mark.parametrize("solver", SECOND_ORDER)
def test_what_is_returned_is_what_was_measured(solver: str) -> None:
    """Cut off in the middle of a search, the solver gives the last accepted point, whose loss is the outcome's."""
    rows = counts(12.0)
    shards = cut_rows(rows, 3)
    for max_rounds in range(1, 12):
        outcome, training = learn(problem_of(rows, 3, "poisson"), shards, solver, max_rounds)
        assert outcome.loss == pytest.approx(objective_at(training, shards), rel=1e-9)


def test_a_perfect_start_is_solved_at_once() -> None:
    X, y = classification(2)
    shards = cut(X, y, 3)
    problem = problem_for(X, y, 3, "logistic", l2=0.1)
    best = learn(problem, shards, "newton", 50)[0]
    for solver in SECOND_ORDER:
        seen, training = reports(problem, shards, solver, 50, best.arrays)
        assert len(seen) <= 2 and training.outcome is not None and training.outcome.converged
        assert training.outcome.loss == pytest.approx(best.loss, rel=1e-12)
