"""Gradients and Hessians of every objective: against differences, closed forms, and each other's form of rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_cases import cut_rows, problem_of, quick, rows_for, standardised, varied

from workers.columns import Columns
from workers.data.rows import Floats, Rows, dense
from workers.objectives import OBJECTIVES
from workers.objectives.huber import Huber
from workers.problem import Problem
from workers.solvers.newton import summed_hessian

CURVED = sorted(name for name, objective in OBJECTIVES.items() if objective.is_curved)


@st.composite
def cases(draw: st.DrawFn, names: tuple[str, ...] = tuple(sorted(OBJECTIVES))) -> tuple[Problem, Rows, Floats]:
    """Draw a problem on standardised columns, its rows in some form, and parameters."""
    name = draw(st.sampled_from(names))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = draw(st.sampled_from([None, random.integers(0, 4, 40).astype(np.float64), random.uniform(0, 9, 40)]))
    rows = varied(rows_for(name, 40, int(random.integers(99))), draw(st.booleans()), weights=weights)
    problem = standardised(problem_of(rows, 1, name, intercept=draw(st.booleans())), rows)
    return problem, rows, 0.5 * random.standard_normal(problem.num_parameters)


def closed_forms(problem: Problem, rows: Rows, parameters: Floats) -> tuple[Floats, Floats]:
    """Return gradient and Hessian from explicit standardised columns, one row after the other."""
    X = (dense(rows.X, np.float64) - problem.columns.center) / problem.columns.scale
    X = np.hstack([X, np.ones((len(rows), 1))]) if problem.intercept else X
    outputs = problem.num_outputs
    Z = X @ parameters.reshape(X.shape[1], outputs)
    R, C = problem.objective.residuals(Z, rows.y), problem.objective.curvatures(Z, rows.y)
    gradient, hessian = np.zeros(len(parameters)), np.zeros((len(parameters),) * 2)
    for x, r, c, w in zip(X, R, C, np.ones(len(rows)) if rows.weights is None else rows.weights, strict=True):
        gradient += w * np.kron(x, r)
        hessian += w * np.kron(np.outer(x, x), c)
    return gradient, hessian


@quick
@given(cases())
def test_the_gradient_is_the_slope_of_the_loss(case: tuple[Problem, Rows, Floats]) -> None:
    problem, rows, parameters = case
    gradient = problem.loss_and_gradient(parameters, rows)[1]
    random = np.random.default_rng(0)
    along = random.standard_normal(len(parameters))
    step = 1e-6
    up, down = (problem.loss_sum(parameters + sign * step * along, rows) for sign in (1, -1))
    corner = 1e-2 if problem.objective.name == "hinge" else 1e-6  # a corner may lie between the two
    scale = 1.0 + np.abs(gradient).max() * np.abs(along).max()
    assert abs((up - down) / (2 * step) - gradient @ along) <= corner * scale * 10
    np.testing.assert_array_equal(gradient, problem.gradient(parameters, rows))


@quick
@given(cases(tuple(name for name in CURVED if name != "huber")))
def test_the_hessian_is_the_slope_of_the_gradient(case: tuple[Problem, Rows, Floats]) -> None:
    problem, rows, parameters = case
    if problem.objective.name == "squared-hinge":  # generalised: no row may sit on the corner
        agreement = np.abs(problem.margins(parameters, rows.X)[:, 0])
        rows = replace(rows, weights=np.where(np.abs(agreement - 1) < 1e-3, 0.0, 1.0))
    hessian = summed_hessian(problem, parameters, cut_rows(rows, 1)[0])
    np.testing.assert_array_equal(hessian, hessian.T)
    step, along = 1e-6, np.random.default_rng(0).standard_normal(len(parameters))
    up, down = (problem.gradient(parameters + sign * step * along, rows) for sign in (1, -1))
    expected = (up - down) / (2 * step)
    rounding = 1e-7 * np.abs(up).max()  # what a difference of two gradients loses, over twice the step
    atol = 1e-6 * (1.0 + np.abs(expected).max()) + rounding
    np.testing.assert_allclose(hessian @ along, expected, rtol=1e-5, atol=atol)


@quick
@given(cases(tuple(CURVED)))
def test_gradient_and_hessian_are_the_closed_forms(case: tuple[Problem, Rows, Floats]) -> None:
    problem, rows, parameters = case
    gradient, hessian = closed_forms(problem, rows, parameters)
    got = summed_hessian(problem, parameters, cut_rows(rows, 1)[0])
    np.testing.assert_allclose(got, hessian, rtol=1e-8, atol=1e-8 * np.abs(hessian).max())
    expected = problem.gradient(parameters, rows)
    np.testing.assert_allclose(expected, gradient, rtol=1e-7, atol=1e-8 * (1.0 + np.abs(gradient).max()))


@quick
@given(st.floats(-30, 30), st.floats(-30, 30), st.floats(-30, 30), st.floats(0.1, 5))
def test_hubers_curvature_is_that_of_a_parabola_above_the_loss(z: float, other: float, y: float, delta: float) -> None:
    huber, target = Huber(delta=delta), np.array([y])
    here, there = np.array([[z]]), np.array([[other]])
    slope, curvature = huber.residuals(here, target)[0, 0], huber.curvatures(here, target)[0, 0, 0]
    parabola = huber.losses(here, target)[0] + slope * (other - z) + curvature * (other - z) ** 2 / 2
    assert huber.losses(there, target)[0] <= parabola + 1e-9 * (1 + abs(parabola))
    assert 0 < curvature <= huber.smoothness
    assert (curvature == 1.0) == (abs(z - y) <= delta)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_float32_comes_close_to_float64(name: str) -> None:
    rows = rows_for(name)
    problem = standardised(problem_of(rows, 1, name), rows)
    parameters = 0.1 * np.random.default_rng(1).standard_normal(problem.num_parameters)
    for sparse in (False, True):
        loss, gradient = problem.loss_and_gradient(parameters, rows)
        short = varied(rows, sparse, np.float32)
        assert problem.margins(parameters, short.X).dtype == np.float32
        got_loss, got = problem.loss_and_gradient(parameters, short)
        assert got.dtype == np.float64
        assert got_loss == pytest.approx(loss, rel=2e-3)
        np.testing.assert_allclose(got, gradient, rtol=1e-2, atol=5e-3 * np.abs(gradient).max())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("sparse", [False, True])
def test_columns_far_from_zero_keep_their_digits(sparse: bool, dtype: Any) -> None:
    """A thousand deviations from zero: what is centred by subtraction must not lose more than it has to."""
    random = np.random.default_rng(0)
    A = random.standard_normal((300, 3))
    y = A @ [1.0, 2.0, 3.0]
    rows = varied(Rows(1000.0 + A, y), sparse, dtype)
    problem = standardised(problem_of(rows, 1), rows)
    parameters = np.array([0.5, -0.5, 1.0, 0.2])
    plain = replace(problem, columns=Columns.raw(3))
    near = Rows(problem.columns.standardised(rows.X), rows.y.astype(np.float64))
    digits = 1e-9 if dtype is np.float64 else 2e-3
    size = np.abs(plain.gradient(parameters, near)).max()
    np.testing.assert_allclose(problem.gradient(parameters, rows), plain.gradient(parameters, near), atol=digits * size)
    hessians = [summed_hessian(of, parameters, cut_rows(r, 1)[0]) for of, r in ((problem, rows), (plain, near))]
    np.testing.assert_allclose(*hessians, atol=1e-7 * 300)


@quick
@given(cases(tuple(CURVED)))
def test_weights_are_repetitions(case: tuple[Problem, Rows, Floats]) -> None:
    problem, rows, parameters = case
    counts = np.random.default_rng(1).integers(0, 4, len(rows))
    repeated = np.repeat(np.arange(len(rows)), counts)
    weighted = Rows(rows.X, rows.y, counts.astype(np.float64))
    longer = Rows(rows.X[repeated], rows.y[repeated])
    loss, gradient = problem.loss_and_gradient(parameters, weighted)
    expected_loss, expected = problem.loss_and_gradient(parameters, longer)
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    np.testing.assert_allclose(gradient, expected, atol=1e-9 * (1 + np.abs(expected).max()))
    hessians = [summed_hessian(problem, parameters, cut_rows(r, 1)[0]) for r in (weighted, longer)]
    np.testing.assert_allclose(*hessians, atol=1e-8 * np.abs(hessians[1]).max())
