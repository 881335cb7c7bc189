"""The optima of scikit-learn, for every objective and penalty, from rows in every form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from learning_cases import cut_rows, fused, learn, problem_of, rows_for, varied
from sklearn.linear_model import (
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from workers.data.rows import Floats, Rows
from workers.objectives import OBJECTIVES
from workers.penalty import Penalty, quadratic_minimum

TIGHT: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6}
LOOSE: dict[str, Any] = {"rtol": 1e-2, "atol": 2e-3}


def learnt(rows: Rows, solver: str, objective: str, num_rounds: int = 100, **settings: Any) -> Floats:
    """Return the parameters on standardised columns."""
    _, training = learn(problem_of(rows, 3, objective, **settings), cut_rows(rows, 3), solver, num_rounds)
    return fused(training)


def columns_of(rows: Rows) -> Floats:
    columns: Floats = StandardScaler().fit_transform(rows.X, sample_weight=rows.weights)
    return columns


def sklearn_parameters(model: Any) -> Floats:
    return np.append(np.ravel(model.coef_), model.intercept_)


def weighted(rows: Rows) -> Rows:
    return varied(rows, weights=np.random.default_rng(4).uniform(0.0, 3.0, len(rows)))


# --- least squares -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_weights", [False, True])
@pytest.mark.parametrize("solver", ["exact", "newton", "lbfgs"])
@pytest.mark.parametrize(("l2", "l1"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.2), (0.1, 0.3)])
def test_least_squares(solver: str, l2: float, l1: float, has_weights: bool) -> None:
    rows = rows_for("squared")
    rows = weighted(rows) if has_weights else rows
    if l1 and solver == "lbfgs":
        return
    n, total = len(rows), rows.total_weight
    alpha, ratio = l1 + l2, l1 / (l1 + l2 or 1.0)
    model = {
        (False, False): LinearRegression(),
        (True, False): Ridge(alpha=l2 * total),
        (False, True): Lasso(alpha=alpha, tol=1e-13, max_iter=100000),
        (True, True): ElasticNet(alpha=alpha, l1_ratio=ratio, tol=1e-13, max_iter=100000),
    }[bool(l2), bool(l1)]
    del n
    model.fit(columns_of(rows), rows.y, sample_weight=rows.weights)
    np.testing.assert_allclose(learnt(rows, solver, "squared", l2=l2, l1=l1), sklearn_parameters(model), **TIGHT)


@pytest.mark.parametrize("server", ["average", "nesterov", "momentum"])
def test_gradient_descent_finds_the_elastic_net_with_any_velocity(server: str) -> None:
    """The velocity must not carry the L1 penalty away: its pull is part of the step that the server is given."""
    from workers.server_optimisers import server_optimiser

    rows = rows_for("squared")
    expected = learnt(rows, "exact", "squared", l2=0.05, l1=0.3)
    assert (expected[:-1] == 0).any()
    got = learnt(rows, "gradient-descent", "squared", 300, l2=0.05, l1=0.3, server=server_optimiser(server, {}))
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)
    assert (got[expected == 0] == 0).all()


# --- classification ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_weights", [False, True])
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("objective", ["logistic", "softmax"])
def test_logistic_regression(objective: str, solver: str, has_weights: bool) -> None:
    rows, l2 = rows_for(objective), 0.02
    rows = weighted(rows) if has_weights else rows
    model = LogisticRegression(C=1.0 / (l2 * rows.total_weight), tol=1e-10, max_iter=2000)
    model.fit(columns_of(rows), rows.y, sample_weight=rows.weights)
    got = learnt(rows, solver, objective, l2=l2)
    if objective == "softmax":
        weights, intercepts = got[:9].reshape(3, 3), got[9:]
        np.testing.assert_allclose(weights, model.coef_.T, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            intercepts - intercepts.mean(), model.intercept_ - model.intercept_.mean(), atol=1e-4
        )
    else:
        np.testing.assert_allclose(got, sklearn_parameters(model), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("solver", ["newton", "local-svrg", "gradient-descent"])
def test_logistic_regression_with_an_l1_penalty(solver: str) -> None:
    rows, l1 = rows_for("logistic"), 0.06
    model = LogisticRegression(C=1.0 / (l1 * len(rows)), l1_ratio=1.0, solver="saga", tol=1e-12, max_iter=20000).fit(
        columns_of(rows), rows.y
    )
    expected = sklearn_parameters(model)
    got = learnt(rows, solver, "logistic", 400, l1=l1)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(got == 0, expected == 0)


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_the_squared_hinge_is_that_of_liblinear(solver: str) -> None:
    """LIBLINEAR's loss is twice ours, and its intercept is penalised unless its scale is large."""
    rows, l2 = rows_for("squared-hinge"), 0.1
    model = LinearSVC(
        loss="squared_hinge", C=0.5 / (l2 * len(rows)), dual=False, intercept_scaling=1e4, tol=1e-10, max_iter=20000
    ).fit(columns_of(rows), rows.y)
    got = learnt(rows, solver, "squared-hinge", l2=l2)
    np.testing.assert_allclose(got, sklearn_parameters(model), rtol=1e-3, atol=1e-4)


# --- other regressions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_weights", [False, True])
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_poisson_regression(solver: str, has_weights: bool) -> None:
    rows, l2 = rows_for("poisson"), 0.05
    rows = weighted(rows) if has_weights else rows
    model = PoissonRegressor(alpha=l2, tol=1e-12, max_iter=1000, solver="newton-cholesky")
    model.fit(columns_of(rows), rows.y, sample_weight=rows.weights)
    np.testing.assert_allclose(learnt(rows, solver, "poisson", l2=l2), sklearn_parameters(model), **TIGHT)


@pytest.mark.parametrize("solver", ["newton", "lbfgs", "local-svrg"])
def test_huber_regression_is_that_of_sklearn_at_its_scale(solver: str) -> None:
    """Scikit-learn also learns the scale of the errors: in units of that, its objective is ours."""
    rows = rows_for("huber")
    y = rows.y + 20.0 * (np.arange(len(rows)) % 9 == 0)
    model = HuberRegressor(epsilon=1.35, alpha=0.0, tol=1e-10, max_iter=5000).fit(columns_of(rows), y)
    got = learnt(Rows(rows.X, y / model.scale_), solver, "huber", 200)
    np.testing.assert_allclose(got * model.scale_, sklearn_parameters(model), rtol=1e-3, atol=2e-3)


# --- the form of the rows ------------------------------------------------------------------------------------

SMOOTH = [name for name in OBJECTIVES if OBJECTIVES[name].is_curved]


@pytest.mark.parametrize("objective", SMOOTH)
def test_weights_are_repetitions_and_zeros_are_absent(objective: str) -> None:
    rows = rows_for(objective)
    counts = np.random.default_rng(2).integers(0, 3, len(rows))
    repeated = np.repeat(np.arange(len(rows)), counts)
    longer = Rows(rows.X[repeated], rows.y[repeated])
    expected = learnt(longer, "newton", objective, l2=0.05)
    got = learnt(varied(rows, weights=counts.astype(np.float64)), "newton", objective, l2=0.05)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("objective", SMOOTH)
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_sparse_rows_and_float32_learn_the_same(solver: str, objective: str) -> None:
    rows = rows_for(objective)
    expected = learnt(rows, solver, objective, l2=0.05)
    np.testing.assert_allclose(learnt(varied(rows, sparse=True), solver, objective, l2=0.05), expected, **TIGHT)
    for sparse in (False, True):
        short = varied(rows, sparse, np.float32)
        np.testing.assert_allclose(learnt(short, solver, objective, l2=0.05), expected, **LOOSE)


def test_least_squares_of_sparse_rows_with_zeros() -> None:
    random = np.random.default_rng(6)
    X = random.standard_normal((150, 6)) * (random.random((150, 6)) < 0.2)
    rows = Rows(X, X @ np.arange(6.0) + random.standard_normal(150))
    for settings in ({}, {"l2": 0.1}, {"l1": 0.05}, {"intercept": False}):
        expected = learnt(rows, "exact", "squared", **settings)
        np.testing.assert_allclose(learnt(varied(rows, sparse=True), "exact", "squared", **settings), expected, **TIGHT)


# --- coordinate descent --------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-3])
@pytest.mark.parametrize("l1", [1e-6, 1e-2])
def test_the_lasso_of_nearly_collinear_columns_is_optimal(spread: float, l1: float) -> None:
    """Coordinate descent alone creeps here; what counts is that no subgradient is left."""
    random = np.random.default_rng(0)
    X = random.standard_normal((200, 1)) + spread * random.standard_normal((200, 8))
    y = X @ random.standard_normal(8) + 0.01 * random.standard_normal(200)
    X, y = (X - X.mean(axis=0)) / X.std(axis=0), y - y.mean()
    hessian, moment = X.T @ X / 200, X.T @ y / 200
    best = quadratic_minimum(hessian, -moment, np.zeros(8), np.full(8, l1))
    left = Penalty(l1=l1).steepest(best, hessian @ best - moment, np.ones(8))
    assert np.abs(left).max() <= 1e-12 * np.abs(moment).max()
