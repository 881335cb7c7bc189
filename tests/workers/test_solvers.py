"""Every solver arrives where it promises to."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_cases import classification, cut, fused, learn, objective_at, problem_for, quick, regression
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from workers.data.shard import Shard
from workers.exact_sum import Floats
from workers.sequential import rounds
from workers.solvers import SOLVERS
from workers.stopping import Stopping
from workers.training import Training


def columns_of(X: Floats) -> Floats:
    """Return standardised columns; those of sklearn, which leaves constant columns at zero."""
    scaled: Floats = StandardScaler().fit_transform(X)
    return scaled


# --- moments -------------------------------------------------------------------------------------------------


@quick
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(-6, 6), st.integers(-3, 9), st.sampled_from([True, False]))
def test_moments_are_the_mean_and_the_deviation(
    seed: int, num_shards: int, size: int, place: int, intercept: bool
) -> None:
    random = np.random.default_rng(seed)
    X = random.standard_normal((40, 3)) * 10.0**size + 10.0**place
    y = X[:, 0]
    problem = problem_for(X, y, num_shards, intercept=intercept)
    _, training = learn(problem, cut(X, y, num_shards), "exact")
    if intercept:
        far = 1e-14 * (10.0**size + 10.0**place)
        np.testing.assert_allclose(training.problem.columns.center, X.mean(axis=0), rtol=1e-14, atol=far)
        if place - size <= 10:  # beyond that, a column is nearly constant for a float
            digits = 1e-12 + 1e-30 * 100.0 ** (place - size)
            np.testing.assert_allclose(training.problem.columns.scale, X.std(axis=0), rtol=digits)
    else:
        assert training.problem.columns.center.tolist() == [0.0, 0.0, 0.0]
        np.testing.assert_allclose(training.problem.columns.scale, np.sqrt((X * X).mean(axis=0)), rtol=1e-13)


@pytest.mark.parametrize("ratio", [1e-3, 1e-6, 1e-9])
def test_a_small_spread_at_a_far_place_keeps_its_digits(ratio: float) -> None:
    """The sums of the squares must not be held on the scale of the sums of the values."""
    X = 1e6 + 1e6 * ratio * np.random.default_rng(0).standard_normal((3000, 2))
    _, training = learn(problem_for(X, X[:, 0], 3), cut(X, X[:, 0], 3), "exact")
    np.testing.assert_allclose(training.problem.columns.scale, X.std(axis=0), rtol=1e-11)


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, -1e9 / 3, 1e-30])
def test_a_constant_column_changes_nothing(constant: float) -> None:
    X, y = regression()
    wide = np.hstack([X, np.full((len(y), 1), constant)])
    for solver, options in (("exact", {}), ("gradient-descent", {"learning_rate": 0.4})):
        plain, _ = learn(problem_for(X, y, 3, **options), cut(X, y, 3), solver, 20)
        outcome, training = learn(problem_for(wide, y, 3, **options), cut(wide, y, 3), solver, 20)
        assert training.problem.columns.scale[-1] == 1.0
        np.testing.assert_allclose(
            wide @ outcome.weights + outcome.intercepts, X @ plain.weights + plain.intercepts, rtol=1e-6
        )
        np.testing.assert_allclose(outcome.weights[:-1], plain.weights, rtol=1e-7)


def test_without_standardising_the_columns_stay_as_they_are() -> None:
    X, y = regression()
    _, training = learn(problem_for(X, y, 3), cut(X, y, 3), "exact", standardise=False)
    assert (
        training.problem.columns.center.tolist() == [0.0] * 4 and training.problem.columns.scale.tolist() == [1.0] * 4
    )


# --- exact ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_shards", [1, 2, 7, 240])
def test_exact_is_the_linear_regression_of_sklearn(num_shards: int) -> None:
    X, y = regression()
    outcome, _ = learn(problem_for(X, y, num_shards), cut(X, y, num_shards), "exact")
    reference = LinearRegression().fit(X, y)
    np.testing.assert_allclose(outcome.weights[:, 0], reference.coef_, rtol=1e-9)
    assert outcome.intercepts[0] == pytest.approx(reference.intercept_, rel=1e-8)
    assert outcome.loss == pytest.approx(((reference.predict(X) - y) ** 2).mean() / 2, rel=1e-8)
    assert outcome.metric[0] == pytest.approx(((reference.predict(X) - y) ** 2).mean(), rel=1e-8)
    assert (outcome.converged, outcome.rounds, outcome.reason) == (True, 1, "solved exactly")
    assert outcome.optimum == outcome.metric or np.isnan(outcome.metric[1])


@pytest.mark.parametrize("l2", [1e-4, 0.1, 10.0])
def test_exact_with_a_penalty_is_ridge_on_standardised_columns(l2: float) -> None:
    X, y = regression()
    _, training = learn(problem_for(X, y, 4, l2=l2), cut(X, y, 4), "exact")
    reference = Ridge(alpha=l2 * len(y), solver="cholesky").fit(columns_of(X), y)
    parameters = fused(training)
    np.testing.assert_allclose(parameters[:-1], reference.coef_, rtol=1e-9)
    assert parameters[-1] == pytest.approx(reference.intercept_, rel=1e-9)


def test_exact_without_an_intercept() -> None:
    X, y = regression()
    outcome, _ = learn(problem_for(X, y, 4, intercept=False), cut(X, y, 4), "exact")
    reference = LinearRegression(fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(outcome.weights[:, 0], reference.coef_, rtol=1e-6)
    assert outcome.intercepts.tolist() == [0.0]


@pytest.mark.parametrize("seed", range(5))
def test_collinear_columns_get_the_weights_of_least_norm(seed: int) -> None:
    X, y = regression(seed=seed)
    X = np.hstack([X, X[:, :1], X[:, :2] @ [[2.0], [-0.5]]])
    outcome, training = learn(problem_for(X, y, 5), cut(X, y, 5), "exact")
    columns = columns_of(X)
    least = np.linalg.lstsq(columns, y - y.mean(), rcond=1e-10)[0]
    np.testing.assert_allclose(fused(training)[:-1], least, rtol=1e-6, atol=1e-9)
    expected = columns @ least + y.mean()
    np.testing.assert_allclose((X @ outcome.weights + outcome.intercepts)[:, 0], expected, rtol=1e-8, atol=1e-8)


def test_fewer_rows_than_columns() -> None:
    random = np.random.default_rng(1)
    X, y = random.standard_normal((5, 9)), random.standard_normal(5)
    outcome, _ = learn(problem_for(X, y, 2), cut(X, y, 2), "exact")
    np.testing.assert_allclose((X @ outcome.weights + outcome.intercepts)[:, 0], y, atol=1e-10)


def test_exact_refuses_whatever_is_not_least_squares() -> None:
    X, y = classification(2)
    assert "use 'newton', 'lbfgs' or 'local-svrg'" in str(SOLVERS["exact"].refuse(problem_for(X, y, 2, "logistic")))
    assert SOLVERS["exact"].refuse(problem_for(X, y, 2)) is None
    assert all(SOLVERS[name].refuse(problem_for(X, y, 2, "logistic")) is None for name in SOLVERS if name != "exact")


# --- iterative solvers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("solver", "max_rounds"), [("gradient-descent", 200), ("local-svrg", 60)])
@pytest.mark.parametrize("l2", [0.0, 0.2])
@pytest.mark.parametrize("intercept", [True, False])
def test_iterative_solvers_arrive_at_the_exact_optimum(
    solver: str, max_rounds: int, l2: float, intercept: bool
) -> None:
    X, y = regression()
    shards = cut(X, y, 4)
    _, exact = learn(problem_for(X, y, 4, l2=l2, intercept=intercept), shards, "exact")
    problem = problem_for(X, y, 4, l2=l2, intercept=intercept, local_epochs=2)
    if not intercept:
        shards = [replace_columns(shard, X) for shard in shards]  # well-conditioned without centring
        centred = X - X.mean(axis=0)
        _, exact = learn(problem_for(centred, y, 4, l2=l2, intercept=False), shards, "exact")
    outcome, training = learn(problem, shards, solver, max_rounds)
    assert fused(training) == pytest.approx(fused(exact), rel=1e-6, abs=1e-6)
    assert outcome.optimum is not None
    assert outcome.metric[0] == pytest.approx(outcome.optimum[0], rel=1e-9)


def replace_columns(shard: Shard, X: Floats) -> Shard:
    return replace(shard, train=replace(shard.train, X=shard.train.X - X.mean(axis=0)))


@pytest.mark.parametrize("solver", ["gradient-descent", "local-svrg", "local-sgd"])
def test_the_default_rate_lets_the_loss_fall(solver: str) -> None:
    for objective, (X, y) in (
        ("squared", regression()),
        ("logistic", classification(2)),
        ("softmax", classification(4)),
    ):
        training = Training(problem_for(X, y, 3, objective, batch_size=8), solver, Stopping(20, 0.0), True)
        losses = [
            report.loss
            for report in rounds(training, cut(X, y, 3))
            if report.stage == solver and report.loss is not None
        ]
        assert losses[-1] < 0.9 * losses[0], objective
        assert training.outcome is not None and training.outcome.learning_rate is not None
        if solver != "local-sgd":
            assert all(b <= a * (1 + 1e-9) for a, b in pairwise(losses))


@pytest.mark.parametrize("l2", [0.01, 0.1])
def test_local_svrg_arrives_at_the_logistic_regression_of_sklearn(l2: float) -> None:
    X, y = classification(2)
    shards = cut(X, y, 4)
    outcome, training = learn(problem_for(X, y, 4, "logistic", l2=l2, local_epochs=2), shards, "local-svrg", 81)
    reference = LogisticRegression(C=1.0 / (l2 * len(y)), tol=1e-10, max_iter=1000).fit(columns_of(X), y)
    best = np.append(reference.coef_[0], reference.intercept_)
    problem = training.problem
    optimum = sum(problem.loss_sum(best, shard.train) for shard in shards) / len(y) + problem.cost(best)
    assert objective_at(training, shards) == pytest.approx(optimum, rel=1e-9)
    assert outcome.loss == pytest.approx(optimum, rel=1e-9)
    np.testing.assert_allclose(fused(training), best, rtol=1e-3, atol=1e-4)
    assert outcome.metric[0] == pytest.approx(reference.score(columns_of(X), y), abs=0.01)
    assert outcome.optimum is None  # no exact solution to compare with


def test_gradient_descent_arrives_at_the_softmax_regression_of_sklearn() -> None:
    X, y = classification(3)
    shards = cut(X, y, 2)
    _, training = learn(problem_for(X, y, 2, "softmax", l2=0.1), shards, "gradient-descent", 300)
    reference = LogisticRegression(C=1.0 / (0.1 * len(y)), tol=1e-10, max_iter=1000).fit(columns_of(X), y)
    np.testing.assert_allclose(fused(training)[:9].reshape(3, 3), reference.coef_.T, rtol=1e-3, atol=1e-4)


def heterogeneous_shards(num_shards: int = 4) -> tuple[Floats, Floats, list[Shard]]:
    """Return shards that each have columns and a best model of their own."""
    random = np.random.default_rng(8)
    X = random.standard_normal((num_shards, 60, 4)) * random.uniform(0.3, 2.0, (num_shards, 1, 4))
    true = random.standard_normal((num_shards, 4)) * 3.0
    y = np.einsum("snf,sf->sn", X, true).ravel() + 0.1 * random.standard_normal(num_shards * 60)
    flat = X.reshape(-1, 4)
    return flat, y, cut(flat, y, num_shards)


def test_local_svrg_converges_where_local_sgd_stalls() -> None:
    X, y, shards = heterogeneous_shards()
    _, exact = learn(problem_for(X, y, 4), shards, "exact")
    optimum = objective_at(exact, shards)
    gaps = {}
    for solver, max_rounds in (("local-sgd", 60), ("local-svrg", 121)):  # an iteration of svrg has two rounds
        options = {"local_epochs": 3, "batch_size": 10, "learning_rate": 0.05}
        _, training = learn(problem_for(X, y, 4, **options), shards, solver, max_rounds)
        gaps[solver] = objective_at(training, shards) - optimum
    assert gaps["local-sgd"] > 1e-5 * optimum
    assert gaps["local-svrg"] < gaps["local-sgd"] / 100
    assert gaps["local-svrg"] < 1e-8 * optimum


def test_a_falling_rate_brings_local_sgd_closer() -> None:
    X, y, shards = heterogeneous_shards()
    _, exact = learn(problem_for(X, y, 4), shards, "exact")
    gaps = []
    for schedule in ("constant", "inverse"):
        options = {"local_epochs": 3, "batch_size": 10, "learning_rate": 0.05, "schedule": schedule}
        _, training = learn(problem_for(X, y, 4, **options), shards, "local-sgd", 100)
        gaps.append(objective_at(training, shards) - objective_at(exact, shards))
    assert gaps[1] < gaps[0] / 3


def test_local_svrg_takes_back_steps_that_are_too_long() -> None:
    X, y, shards = heterogeneous_shards()
    _, exact = learn(problem_for(X, y, 4), shards, "exact")
    options = {"local_epochs": 2, "batch_size": 10, "learning_rate": 1.2}
    _, training = learn(problem_for(X, y, 4, **options), shards, "local-svrg", 121)
    assert training.fused is not None and float(training.fused.memory["factor"]) < 1.0
    assert objective_at(training, shards) == pytest.approx(objective_at(exact, shards), rel=1e-8)
