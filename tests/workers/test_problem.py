"""The affine view of the columns: margins, gradients and the penalty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from learning_cases import classification, problem_for, regression
from sklearn.preprocessing import StandardScaler

from workers.architectures import Linear
from workers.columns import Columns
from workers.data.rows import Floats, Rows
from workers.problem import Problem, SolverOptions

CASES = [(objective, intercept) for objective in ("squared", "logistic", "softmax") for intercept in (True, False)]


def standardised_case(objective: str, intercept: bool) -> tuple[Problem, Floats, Floats, Floats]:
    """Return a problem on standardised columns, raw rows, targets and parameters."""
    X, y = {
        "squared": lambda: regression(40),
        "logistic": lambda: classification(2, 40),
        "softmax": lambda: classification(3, 40),
    }[objective]()
    problem = problem_for(X, y, 2, objective, intercept=intercept, l2=0.3)
    problem = replace(problem, columns=Columns(X.mean(axis=0), X.std(axis=0)))
    return problem, X, y, np.random.default_rng(1).standard_normal(problem.num_parameters)


def linear(problem: Problem) -> Linear:
    assert isinstance(problem.architecture, Linear)
    return problem.architecture


@pytest.mark.parametrize(("objective", "intercept"), CASES)
def test_the_gradient_is_the_derivative_of_the_loss(objective: str, intercept: bool) -> None:
    problem, X, y, parameters = standardised_case(objective, intercept)
    loss, gradient = problem.loss_and_gradient(parameters, Rows(X, y))
    assert loss == problem.loss_sum(parameters, Rows(X, y))
    np.testing.assert_array_equal(gradient, problem.gradient(parameters, Rows(X, y)))
    step = 1e-2 if objective == "squared" else 1e-5  # a parabola has no error but rounding
    for position in range(problem.num_parameters):
        unit = np.zeros(problem.num_parameters)
        unit[position] = step
        slope = (problem.loss_sum(parameters + unit, Rows(X, y)) - problem.loss_sum(parameters - unit, Rows(X, y))) / (
            2 * step
        )
        assert slope == pytest.approx(gradient[position], rel=1e-5, abs=1e-4)


@pytest.mark.parametrize(("objective", "intercept"), CASES)
def test_the_penalised_gradient_is_the_derivative_of_loss_and_penalty(objective: str, intercept: bool) -> None:
    problem, _, _, parameters = standardised_case(objective, intercept)
    step = 1e-6
    for position in range(problem.num_parameters):
        unit = np.zeros(problem.num_parameters)
        unit[position] = step
        slope = (problem.cost(parameters + unit) - problem.cost(parameters - unit)) / (2 * step)
        expected = problem.ridge[position] * parameters[position]
        assert slope == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("objective", "intercept"), CASES)
def test_standardising_on_the_fly_is_standardising(objective: str, intercept: bool) -> None:
    problem, X, y, parameters = standardised_case(objective, intercept)
    columns = StandardScaler().fit_transform(X)
    plain = replace(problem, columns=Columns.raw(X.shape[1]))
    np.testing.assert_allclose(problem.margins(parameters, X), plain.margins(parameters, columns), rtol=1e-9, atol=1e-9)
    loss, gradient = problem.loss_and_gradient(parameters, Rows(X, y))
    expected_loss, expected_gradient = plain.loss_and_gradient(parameters, Rows(columns, y))
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(problem.columns.standardised(X), columns, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("objective", "intercept"), CASES)
def test_margins_are_those_of_the_weights_in_raw_units(objective: str, intercept: bool) -> None:
    problem, X, _, parameters = standardised_case(objective, intercept)
    arrays = problem.architecture.to_arrays(parameters, problem.columns)
    weights, intercepts = arrays["weights"], arrays["intercepts"]
    assert weights.shape == (X.shape[1], problem.num_outputs)
    assert intercepts.shape == (problem.num_outputs,)
    np.testing.assert_array_equal(problem.margins(parameters, X), X @ weights + intercepts)
    np.testing.assert_allclose(
        problem.columns.standardised(X) @ linear(problem).split(parameters)[0] + linear(problem).split(parameters)[1],
        X @ weights + intercepts,
        rtol=1e-9,
        atol=1e-9,
    )


def test_without_an_intercept_uncentred_columns_go_through_the_origin() -> None:
    X, y = regression(30)
    problem = problem_for(X, y, 1, intercept=False)
    problem = replace(problem, columns=Columns(np.zeros(4), X.std(axis=0)))
    assert problem.num_parameters == X.shape[1]
    parameters = np.arange(1.0, 5.0)
    assert problem.architecture.to_arrays(parameters, problem.columns)["intercepts"].tolist() == [0.0]
    assert problem.margins(parameters, np.zeros((2, 4))).tolist() == [[0.0], [0.0]]
    assert problem.gradient(parameters, Rows(X, y)).shape == (4,)


def test_intercepts_are_not_penalised() -> None:
    X, y = classification(3)
    problem = problem_for(X, y, 1, "softmax", l2=0.5)
    assert problem.ridge.tolist() == [0.5] * 9 + [0.0] * 3
    parameters = np.concatenate([np.zeros(9), [7.0, 8.0, 9.0]])
    assert problem.cost(parameters) == 0.0
    parameters[:9] = 2.0
    assert problem.cost(parameters) == 0.25 * 9 * 4.0
    assert problem_for(X, y, 1, "softmax", l2=0.5, intercept=False).ridge.tolist() == [0.5] * 9


def test_parameters_start_at_zero_and_are_split_row_by_row() -> None:
    X, y = classification(3)
    problem = problem_for(X, y, 1, "softmax")
    assert problem.start().tolist() == [0.0] * 12
    weights, intercepts = linear(problem).split(np.arange(12.0))
    assert weights.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]] and intercepts.tolist() == [9, 10, 11]


def test_schedules_of_the_rate() -> None:
    rates = {
        name: [SolverOptions(learning_rate=0.6, schedule=name).rate(round_) for round_ in (0, 1, 3)]
        for name in ("constant", "inverse-sqrt", "inverse")
    }
    assert rates["constant"] == [0.6, 0.6, 0.6]
    assert rates["inverse"] == pytest.approx([0.6, 0.3, 0.15])
    assert rates["inverse-sqrt"] == pytest.approx([0.6, 0.6 / 2**0.5, 0.3])
    with pytest.raises(ValueError, match="not resolved yet"):
        SolverOptions().rate(0)


def test_changes_make_new_problems() -> None:
    X, y = regression(20)
    problem = problem_for(X, y, 2)
    assert problem.with_rate(0.25).options.learning_rate == 0.25
    assert problem.with_rows(7).num_rows == 7
    assert (problem.options.learning_rate, problem.num_rows) == (None, 20)
