"""Losses, their derivatives, and what is predicted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_cases import quick
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error

from workers.exact_sum import Floats
from workers.objectives import OBJECTIVES, Objective
from workers.objectives.huber import Huber

STEP = 1e-5


@st.composite
def rows_of(draw: st.DrawFn, reach: float = 20.0) -> tuple[Objective, Floats, Floats]:
    """Draw an objective, margins and targets."""
    objective = OBJECTIVES[draw(st.sampled_from(sorted(OBJECTIVES)))]
    classes = draw(st.integers(2, 5)) if objective.name == "softmax" else 2
    number, outputs = draw(st.integers(1, 6)), objective.num_outputs(classes)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    Z = random.uniform(-reach, reach, (number, outputs)) * random.choice([1.0, 0.01], (number, 1))
    if objective.task == "regression":
        return objective, Z, random.uniform(-reach, reach, number)
    return objective, Z, random.integers(0, classes, number).astype(np.float64)


def shifted(Z: Floats, output: int, step: float) -> Floats:
    moved = Z.copy()
    moved[:, output] += step
    return moved


@quick
@given(rows_of())
def test_residuals_are_the_derivative_of_the_losses(case: tuple[Objective, Floats, Floats]) -> None:
    objective, Z, y = case
    residuals = objective.residuals(Z, y)
    assert residuals.shape == Z.shape
    assert objective.losses(Z, y).shape == y.shape
    for output in range(Z.shape[1]):
        up, down = (objective.losses(shifted(Z, output, sign * STEP), y) for sign in (1, -1))
        np.testing.assert_allclose((up - down) / (2 * STEP), residuals[:, output], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("delta", [0.0, -1.0, np.inf, np.nan])
def test_a_delta_that_is_none(delta: float) -> None:
    with pytest.raises(ValueError, match="delta must be finite and greater than 0, got"):
        Huber(delta=delta)


@quick
@given(rows_of(reach=4.0))
def test_smoothness_bounds_the_second_derivative(case: tuple[Objective, Floats, Floats]) -> None:
    objective, Z, y = case
    outputs = Z.shape[1]
    hessians = np.empty((len(y), outputs, outputs))
    for output in range(outputs):
        up, down = (objective.residuals(shifted(Z, output, sign * STEP), y) for sign in (1, -1))
        hessians[:, output] = (up - down) / (2 * STEP)
    eigenvalues = np.linalg.eigvalsh((hessians + hessians.transpose(0, 2, 1)) / 2)
    assert eigenvalues.max() <= objective.smoothness + 1e-8
    assert eigenvalues.min() >= -1e-8  # convex


@pytest.mark.parametrize(("name", "margins"), [("squared", [0.0]), ("logistic", [0.0]), ("softmax", [0.0, 0.0])])
def test_smoothness_is_reached(name: str, margins: list[float]) -> None:
    """A bound that is too high would make the default learning rate needlessly small."""
    objective, Z, y = OBJECTIVES[name], np.array([margins]), np.zeros(1)
    direction = np.array([[1.0]]) if len(margins) == 1 else np.array([[1.0, -1.0]]) / np.sqrt(2)
    up, down = (objective.residuals(Z + sign * STEP * direction, y) for sign in (1, -1))
    curvature = float(((up - down) * direction).sum() / (2 * STEP))
    assert curvature == pytest.approx(objective.smoothness, rel=1e-6)


def test_losses_are_those_of_sklearn() -> None:
    random = np.random.default_rng(0)
    Z, y = random.standard_normal((50, 3)), random.integers(0, 3, 50).astype(np.float64)
    softmax, logistic, squared = (OBJECTIVES[name] for name in ("softmax", "logistic", "squared"))
    expected = log_loss(y, np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True))
    assert softmax.losses(Z, y).mean() == pytest.approx(expected)
    assert softmax.scores(Z, y).mean() == accuracy_score(y, softmax.predict(Z))
    binary = (y > 0).astype(np.float64)
    expected = log_loss(binary, 1.0 / (1.0 + np.exp(-Z[:, 0])))
    assert logistic.losses(Z[:, :1], binary).mean() == pytest.approx(expected)
    assert logistic.scores(Z[:, :1], binary).mean() == accuracy_score(binary, logistic.predict(Z[:, :1]))
    assert squared.scores(Z[:, :1], y).mean() == pytest.approx(mean_squared_error(y, Z[:, 0]))
    assert squared.losses(Z[:, :1], y).mean() == pytest.approx(mean_squared_error(y, Z[:, 0]) / 2)


def test_predictions() -> None:
    assert OBJECTIVES["squared"].predict(np.array([[1.5], [-2.0]])).tolist() == [1.5, -2.0]
    assert OBJECTIVES["logistic"].predict(np.array([[0.1], [-0.1], [0.0]])).tolist() == [1.0, 0.0, 0.0]
    Z = np.array([[0.0, 2.0, 1.0], [3.0, 3.0, 3.0]])
    assert OBJECTIVES["softmax"].predict(Z).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_large_margins_overflow_nowhere(size: float) -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        Z, y = np.array([[size], [size]]), np.array([0.0, 1.0])
        logistic = OBJECTIVES["logistic"]
        wrong = float(size < 0)
        expected = [1e3, 0.0] if size > 0 else [0.0, 1e3]
        assert logistic.losses(Z, y).tolist() == expected
        assert logistic.residuals(Z, y)[:, 0].tolist() == [1.0 - wrong, -wrong]
        Z = np.array([[size, 0.0, -size]] * 2)
        best = int(Z[0].argmax())
        softmax = OBJECTIVES["softmax"]
        targets = np.array([float(best), float(2 - best)])
        assert softmax.losses(Z, targets).tolist() == [0.0, 2e3]
        residuals = softmax.residuals(Z, targets)
        assert residuals[0].tolist() == [0.0, 0.0, 0.0]
        assert residuals[1, best] == 1.0 and residuals[1, 2 - best] == -1.0


def test_a_small_loss_keeps_its_digits() -> None:
    Z, y = np.array([[40.0]]), np.array([1.0])
    logistic = OBJECTIVES["logistic"]
    assert logistic.losses(Z, y)[0] == pytest.approx(np.exp(-40.0), rel=1e-12)
    assert logistic.residuals(-Z, 0.0 * y)[0, 0] == pytest.approx(np.exp(-40.0), rel=1e-12)


def test_probabilities_add_up_to_one() -> None:
    Z = np.linspace(-50, 50, 21)[:, None]
    for name, margins in (("logistic", Z), ("softmax", np.hstack([Z, 0 * Z, -Z]))):
        probabilities = OBJECTIVES[name].probabilities(margins)  # type: ignore[attr-defined]
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-15)


def test_logistic_refuses_more_than_two_classes() -> None:
    logistic = OBJECTIVES["logistic"]
    assert logistic.refuse(2) is None
    assert "the target has 3: use 'softmax'" in str(logistic.refuse(3))
    assert OBJECTIVES["softmax"].refuse(30) is None
    assert OBJECTIVES["squared"].refuse(0) is None


def test_every_objective_is_found_by_its_name() -> None:
    assert {name: objective.name for name, objective in OBJECTIVES.items()} == {
        name: name for name in ("squared", "huber", "poisson", "logistic", "hinge", "squared-hinge", "softmax")
    }
    assert [OBJECTIVES[name].num_outputs(4) for name in ("squared", "logistic", "softmax")] == [1, 1, 4]
