"""Multilayer perceptrons: gradients against differences, margins against a second opinion, training, saving."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learning_cases import classification, cut, fused, learn, objective_at, problem_for, regression
from scipy.sparse import csr_array
from sklearn.neural_network import MLPClassifier

from workers.architectures import ARCHITECTURES, Mlp
from workers.architectures.mlp import ACTIVATIONS
from workers.choice import Wishes, choose
from workers.columns import Columns
from workers.data.rows import Floats, Rows
from workers.data.shard import Shard
from workers.errors import DataError
from workers.kernels import FAST, STRICT, Kernels
from workers.model import Model, load_model
from workers.objectives import OBJECTIVES
from workers.objectives.huber import Huber
from workers.problem import Problem
from workers.solvers import SOLVERS

COLUMNS = Columns(np.array([0.5, -2.0, 0.0]), np.array([2.0, 0.3, 1.0]))


def mlp_problem(
    X: Floats, y: Floats, num_shards: int = 4, objective: str = "softmax", hidden: tuple[int, ...] = (8,), **rest: Any
) -> Problem:
    problem = problem_for(X, y, num_shards, objective, **rest)
    linear = problem.architecture
    return replace(problem, architecture=Mlp(linear.num_features, linear.num_outputs, linear.intercept, hidden, "tanh"))


def some_rows(objective: str, sparse: bool, weighted: bool) -> Rows:
    random = np.random.default_rng(7)
    X = random.standard_normal((12, 3)) * (random.random((12, 3)) < 0.6) * [2.0, 0.3, 1.0]
    y = random.integers(0, 3 if objective == "softmax" else 2, 12).astype(np.float64)
    weights = random.uniform(0.5, 2.0, 12) if weighted else None
    return Rows(csr_array(X) if sparse else X, y, weights)


# --- gradients -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_gradients_are_those_of_differences(objective: str, sparse: bool, weighted: bool, intercept: bool) -> None:
    rows = some_rows(objective, sparse, weighted)
    columns = COLUMNS if intercept else Columns(np.zeros(3), COLUMNS.scale)
    outputs = 3 if objective == "softmax" else 1
    random = np.random.default_rng(3)
    for activation in ACTIVATIONS:
        architecture = Mlp(3, outputs, intercept, (5, 4), activation, offset=0.3, unit=1.7)
        plain = problem_for(np.zeros((12, 3)), rows.y, 1, objective)
        problem = replace(plain, architecture=architecture, columns=columns)
        parameters = problem.start() + 0.1 * random.standard_normal(problem.num_parameters)
        loss, gradient = problem.loss_and_gradient(parameters, rows)
        assert loss == pytest.approx(problem.loss_sum(parameters, rows))
        width = 1e-6
        for place in range(problem.num_parameters):
            step = width * (np.arange(problem.num_parameters) == place)
            change = problem.loss_sum(parameters + step, rows) - problem.loss_sum(parameters - step, rows)
            assert gradient[place] == pytest.approx(change / (2 * width), rel=1e-5, abs=1e-7), (activation, place)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_activations_are_what_they_are_called(activation: str) -> None:
    Z = np.array([-800.0, -3.0, -1e-9, 0.0, 1e-9, 0.5, 800.0])
    with np.errstate(over="ignore"):
        expected = {"relu": np.maximum(Z, 0), "tanh": np.tanh(Z), "logistic": 1 / (1 + np.exp(-Z))}[activation]
    np.testing.assert_allclose(ACTIVATIONS[activation].value(Z, FAST), expected, rtol=1e-14, atol=1e-16)
    assert ACTIVATIONS[activation].value(Z.astype(np.float32), FAST).dtype == np.float32


def test_sparse_rows_give_the_margins_of_dense_ones_and_single_precision_is_kept() -> None:
    rows = some_rows("softmax", sparse=True, weighted=False)
    architecture = Mlp(3, 2, hidden=(6,))
    parameters = architecture.start(np.random.default_rng(0))
    dense, _ = architecture.forward(parameters, rows.X.toarray(), COLUMNS, FAST)
    sparse, _ = architecture.forward(parameters, rows.X, COLUMNS, FAST)
    np.testing.assert_allclose(sparse, dense, rtol=1e-12, atol=1e-12)
    single, backward = architecture.forward(parameters, rows.X.toarray().astype(np.float32), COLUMNS, FAST)
    assert single.dtype == np.float32
    assert backward(np.ones_like(single)).dtype == np.float64
    np.testing.assert_allclose(single, dense, rtol=1e-4, atol=1e-4)


def test_no_sparse_row_is_made_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = some_rows("softmax", sparse=True, weighted=False)
    monkeypatch.setattr(csr_array, "toarray", lambda *_: pytest.fail("made dense"))
    monkeypatch.setattr(csr_array, "todense", lambda *_: pytest.fail("made dense"))
    architecture = Mlp(3, 2, hidden=(6,))
    Z, backward = architecture.forward(architecture.start(np.random.default_rng(0)), rows.X, COLUMNS, FAST)
    assert backward(np.ones_like(Z)).shape == (architecture.num_parameters,)


# --- parameters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("activation", "gain"), [("relu", 6 / 100), ("tanh", 6 / 150), ("logistic", 6 / 150)])
def test_the_start_has_the_variance_that_the_papers_want(activation: str, gain: float) -> None:
    architecture = Mlp(100, 10, True, (50,), activation)
    arrays = architecture.to_arrays(architecture.start(np.random.default_rng(1)), Columns.raw(100))
    first, last = arrays["layer_1.weights"], arrays["layer_2.weights"]
    assert np.abs(first).max() <= np.sqrt(gain)
    assert first.var() == pytest.approx(gain / 3, rel=0.05)
    assert last.var() == pytest.approx(6 / 60 / 3, rel=0.2)
    assert not arrays["layer_1.intercepts"].any()


def test_the_seed_decides_where_layers_start() -> None:
    problem = mlp_problem(*classification(3))
    assert problem.start().tobytes() == replace(problem).start().tobytes()
    assert problem.start().tobytes() != replace(problem, seed=1).start().tobytes()


@pytest.mark.parametrize("intercept", [True, False])
def test_arrays_apply_to_raw_columns_and_lead_back(intercept: bool) -> None:
    architecture = Mlp(3, 2, intercept, (5, 4), "tanh", offset=7.0 * intercept, unit=30.0)
    columns = COLUMNS if intercept else Columns(np.zeros(3), COLUMNS.scale)
    parameters = np.random.default_rng(2).standard_normal(architecture.num_parameters)
    arrays = architecture.to_arrays(parameters, columns)
    assert [(name, array.shape) for name, array in arrays.items()] == [
        ("layer_1.weights", (3, 5)),
        ("layer_1.intercepts", (5,)),
        ("layer_2.weights", (5, 4)),
        ("layer_2.intercepts", (4,)),
        ("layer_3.weights", (4, 2)),
        ("layer_3.intercepts", (2,)),
    ]
    np.testing.assert_allclose(architecture.from_arrays(arrays, columns), parameters, rtol=1e-12)
    X = np.random.default_rng(3).standard_normal((6, 3))
    expected = architecture.forward(parameters, X, columns, FAST)[0]
    stored = replace(architecture, offset=0.0, unit=1.0)
    np.testing.assert_allclose(stored.margins(arrays, X, FAST), expected, rtol=1e-10, atol=1e-12)
    H = np.tanh(
        np.tanh(X @ arrays["layer_1.weights"] + arrays["layer_1.intercepts"]) @ arrays["layer_2.weights"]
        + arrays["layer_2.intercepts"]
    )
    by_hand = H @ arrays["layer_3.weights"] + arrays["layer_3.intercepts"]
    np.testing.assert_allclose(expected, by_hand, rtol=1e-10, atol=1e-12)


def test_weights_are_penalised_and_intercepts_are_not() -> None:
    architecture = Mlp(3, 2, hidden=(5,))
    arrays = architecture.to_arrays(architecture.mask, Columns.raw(3))
    assert {name: set(array.ravel()) for name, array in arrays.items()} == {
        "layer_1.weights": {1.0},
        "layer_1.intercepts": {0.0},
        "layer_2.weights": {1.0},
        "layer_2.intercepts": {0.0},
    }


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown activation 'rely'\. Did you mean 'relu'"):
        Mlp(3, 2, activation="rely")
    with pytest.raises(ValueError, match=r"at least 1 unit, got \[4, 0\]"):
        Mlp(3, 2, hidden=(4, 0))


def test_a_saved_model_is_built_again(tmp_path: Path) -> None:
    architecture = Mlp(3, 3, hidden=(5, 4), activation="logistic")
    parameters = architecture.start(np.random.default_rng(0))
    model = Model(
        name="m",
        objective=OBJECTIVES["softmax"],
        architecture=architecture,
        feature_names=("a", "b", "c"),
        target_name="t",
        classes=("x", "y", "z"),
        columns=(),
        arrays=architecture.to_arrays(parameters, COLUMNS),
        provenance={},
    )
    loaded = load_model(model.save(tmp_path))
    assert loaded.architecture == architecture
    assert ARCHITECTURES[loaded.architecture.kind] is Mlp
    X = np.random.default_rng(3).standard_normal((6, 3))
    assert loaded.margins(X).tobytes() == model.margins(X).tobytes()
    description = (tmp_path / "model.json").read_text()
    (tmp_path / "model.json").write_text(description.replace('"logistic"', '"logisti"'))
    with pytest.raises(DataError, match=r"model.json: incomplete or damaged: .*unknown activation 'logisti'"):
        load_model(tmp_path)


# --- training ------------------------------------------------------------------------------------------------


def ring(num_rows: int = 400) -> tuple[Floats, Floats]:
    """Return a disc inside a ring: what no linear model tells apart."""
    random = np.random.default_rng(0)
    y = np.arange(num_rows) % 2
    angle = random.uniform(0, 2 * np.pi, num_rows)
    radius = np.where(y == 1, 2.0, 0.7) + 0.15 * random.standard_normal(num_rows)
    return np.c_[radius * np.cos(angle), 40 * radius * np.sin(angle) + 9], y.astype(np.float64)


@pytest.mark.parametrize(
    ("solver", "rounds"),
    [(None, 300), ("gradient-descent", 250), ("local-sgd", 150), ("local-svrg", 250), ("lbfgs", 60)],
)
@pytest.mark.parametrize("objective", ["softmax", "logistic"])
def test_every_solver_for_layers_learns_what_is_not_linear(solver: str | None, rounds: int, objective: str) -> None:
    X, y = ring()
    problem = mlp_problem(X, y, 4, objective, l2=1e-4)
    choice = choose(problem, Wishes(solver=solver))
    shards = cut(X, y, 4)
    outcome, training = learn(choice.applied(problem), shards, choice.solver, rounds)
    assert outcome.metric[0] >= 0.99
    assert objective_at(training, shards) < 0.2


def test_auto_takes_mini_batches_and_adam_unless_a_penalty_wants_proximal_steps() -> None:
    problem = mlp_problem(*classification(3))
    choice = choose(problem, Wishes())
    assert (choice.solver, choice.options.server.name, choice.options.learning_rate) == ("sgd", "adam", 1.0)
    assert choice.reason == "a 'mlp' has layers: mini-batches, with adam at the server"
    lasso = choose(mlp_problem(*classification(3), l1=0.01), Wishes())
    assert (lasso.solver, lasso.options.server.name, lasso.reason) == (
        "sgd",
        "average",
        "a 'mlp' has layers: mini-batches",
    )
    local = choose(problem, Wishes(solver="local-sgd"))
    assert local.options.server.name == "average"


@pytest.mark.parametrize("solver", [None, "local-sgd", "gradient-descent"])  # the first step of lbfgs has a unit
@pytest.mark.parametrize("objective", ["squared", "huber"])
def test_the_unit_of_the_target_does_not_matter(objective: str, solver: str | None) -> None:
    """What is learnt in other units is the same model in other units: layers are told the target's zero and unit."""
    X, y = regression(200)
    y = np.sin(y / 2) + 0.1 * X[:, 0]
    answers = []
    for offset, unit in ((0.0, 1.0), (-5e4, 2.0**20)):
        target = offset + unit * y
        problem = mlp_problem(X, target, 4, objective)
        if objective == "huber":
            problem = replace(problem, objective=Huber(delta=unit))
        choice = choose(problem, Wishes(solver=solver))
        outcome, training = learn(choice.applied(problem), cut(X, target, 4), choice.solver, 40)
        margins = Mlp(4, 1, True, (8,), "tanh").margins(outcome.arrays, X, FAST)
        answers.append((margins[:, 0] - offset) / unit)
        assert training.problem.architecture.unit == pytest.approx(target.std())
        assert training.problem.architecture.offset == pytest.approx(target.mean())
        assert outcome.metric[0] < target.var()
    np.testing.assert_allclose(answers[1], answers[0], rtol=0, atol=0.02)


def test_weights_count_in_the_target_s_unit_and_a_constant_target_is_no_error() -> None:
    X, y = regression(60)
    weights = np.linspace(0.0, 3.0, 60)
    shards = [Shard(0, Rows(X, y, weights), Rows(X[:0], y[:0]))]
    problem = replace(mlp_problem(X, y, 1, "squared"), total_weight=None)
    choice = choose(problem, Wishes())
    _, training = learn(choice.applied(problem), shards, "sgd", 1)
    architecture, mean = training.problem.architecture, np.average(y, weights=weights)
    assert architecture.offset == pytest.approx(mean)
    assert architecture.unit == pytest.approx(np.sqrt(np.average((y - mean) ** 2, weights=weights)))
    constant = np.full(60, 0.1)
    outcome, training = learn(choice.applied(mlp_problem(X, constant, 2, "squared")), cut(X, constant, 2), "sgd", 50)
    assert training.problem.architecture.unit == 1.0
    assert outcome.metric[0] < 0.1


def test_the_optimum_of_lbfgs_is_as_good_as_that_of_scikit_learn() -> None:
    """Local minima differ, so losses are compared; both minimise the same objective by the same kind of method."""
    X, y = classification(3, 180)
    shards = cut(X, y, 3)
    l2 = 0.05
    problem = mlp_problem(X, y, 3, "softmax", hidden=(6,), l2=l2)
    _, training = learn(problem, shards, "lbfgs", 400)
    A = training.problem.columns.standardised(X)
    peer = MLPClassifier((6,), activation="tanh", solver="lbfgs", alpha=l2 * len(y), max_iter=2000, random_state=0)
    peer.fit(A, y)
    weights = sum((W * W).sum() for W in peer.coefs_)
    chances = peer.predict_proba(A)[np.arange(len(y)), y.astype(int)]
    theirs = -np.log(chances).mean() + l2 / 2 * weights
    assert objective_at(training, shards) <= theirs * 1.01
    gradient = sum(training.problem.gradient(fused(training), shard.train) for shard in shards) / len(y)
    assert np.abs(gradient + training.problem.ridge * fused(training)).max() < 1e-3


def test_what_needs_a_linear_model_refuses_layers() -> None:
    problem = mlp_problem(*regression(), objective="squared")
    for solver in ("newton", "exact", "sklearn-sgd"):
        assert "is for linear models, not for 'mlp'" in str(SOLVERS[solver].refuse(problem))


def test_strict_arithmetic_gives_the_same_numbers() -> None:
    rows = some_rows("softmax", sparse=False, weighted=True)
    plain = replace(problem_for(np.zeros((12, 3)), rows.y, 1, "softmax"), columns=COLUMNS)

    def learnt_with(kernels: Kernels, X: Any) -> tuple[float, Floats]:
        problem = replace(plain, architecture=Mlp(3, 3, hidden=(5, 4), activation="tanh"), kernels=kernels)
        return problem.loss_and_gradient(problem.start(), replace(rows, X=X))

    expected = learnt_with(FAST, rows.X)
    for X in (rows.X, csr_array(rows.X)):
        loss, gradient = learnt_with(STRICT, X)
        assert loss == pytest.approx(expected[0], rel=1e-12)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-9, atol=1e-12)
