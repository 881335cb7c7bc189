"""Server optimisers: the formulas of their papers by hand, and what they are for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from learning_cases import cut, fused, learn, objective_at, problem_for

from workers.exact_sum import Floats
from workers.penalty import Penalty
from workers.server_optimisers import SERVER_OPTIMISERS, Adagrad, Adam, Momentum, ServerOptimiser, server_optimiser

CHANGES = [np.array([0.5, -2.0]), np.array([0.1, 1.0]), np.array([0.0, -3.0])]


def steps_of(optimiser: ServerOptimiser, changes: list[Floats]) -> list[Floats]:
    memory: dict[str, Floats] = {}
    steps = []
    for change in changes:
        step, memory = optimiser.step(memory, change)
        steps.append(step)
    return steps


def by_hand(name: str, changes: list[Floats]) -> list[list[float]]:
    """Return the steps for each parameter alone, in plain Python, as the papers write them."""
    paths = []
    for values in np.array(changes).T.tolist():
        v = m = s = 0.0
        path = []
        for t, d in enumerate(values, start=1):
            if name == "average":
                path.append(d)
            elif name in ("momentum", "nesterov"):
                v = 0.9 * v + d
                path.append(v if name == "momentum" else d + 0.9 * v)
            elif name == "adagrad":
                s += d * d
                path.append(0.1 * d / (s**0.5 + 1e-6))
            else:
                m = 0.9 * m + 0.1 * d
                if name == "adam":
                    s = 0.999 * s + 0.001 * d * d
                else:
                    s -= 0.001 * d * d * ((s > d * d) - (s < d * d))
                path.append(0.1 * (m / (1 - 0.9**t)) / ((s / (1 - 0.999**t)) ** 0.5 + 1e-6))
        paths.append(path)
    return np.array(paths).T.tolist()


@pytest.mark.parametrize("name", sorted(SERVER_OPTIMISERS))
def test_steps_are_those_of_the_paper(name: str) -> None:
    np.testing.assert_allclose(steps_of(server_optimiser(name, {}), CHANGES), by_hand(name, CHANGES), rtol=1e-12)


def test_nesterov_is_the_look_ahead_of_the_textbook() -> None:
    """``x' = y - rate g(y)``, ``y' = x' + momentum (x' - x)``: parameters are where one looks ahead to."""
    slope, rate, momentum = 3.0, 0.1, 0.8
    x = y = 1.0
    ahead, memory = np.array([1.0]), {}
    optimiser = server_optimiser("nesterov", {"momentum": momentum})
    for _ in range(5):
        x, y = y - rate * slope * y, (1 + momentum) * (y - rate * slope * y) - momentum * x
        step, memory = optimiser.step(memory, -rate * slope * ahead)
        ahead = ahead + step
        assert ahead[0] == pytest.approx(y, rel=1e-12)


@pytest.mark.parametrize("name", sorted(SERVER_OPTIMISERS))
def test_a_step_changes_none_of_its_arguments(name: str) -> None:
    optimiser = server_optimiser(name, {})
    _, memory = optimiser.step({}, CHANGES[0])
    kept = {key: value.copy() for key, value in memory.items()}
    change = CHANGES[1].copy()
    first, second = (optimiser.step(memory, change)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(change, CHANGES[1])
    for key, value in kept.items():
        np.testing.assert_array_equal(memory[key], value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("momentum", {"momentum": 1.0}, "momentum must be at least 0 and less than 1, got 1.0"),
        ("nesterov", {"momentum": -0.1}, "momentum must be at least 0"),
        ("adagrad", {"rate": 0.0}, "rate must be greater than 0, got 0.0"),
        ("adam", {"floor": float("nan")}, "floor must be greater than 0"),
        ("yogi", {"second": 1.0}, "second must be at least 0 and less than 1"),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        server_optimiser(name, options)


def test_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="momentum"):
        server_optimiser("adam", {"momentum": 0.9})


def test_without_memory_momentum_is_the_average() -> None:
    assert [step.tolist() for step in steps_of(Momentum(0.0), CHANGES)] == [change.tolist() for change in CHANGES]


def test_adaptive_steps_do_not_depend_on_the_unit_of_the_change() -> None:
    for optimiser in (Adagrad(floor=1e-300), Adam(floor=1e-300)):
        small = steps_of(optimiser, [1e-6 * change for change in CHANGES])
        np.testing.assert_allclose(small, steps_of(optimiser, CHANGES), rtol=1e-12)


def test_a_million_steps_of_adam_are_without_bias_and_quick() -> None:
    step, _ = Adam().step({"count": np.array([1e6]), "mean": np.ones(1), "squares": np.ones(1)}, np.ones(1))
    assert step[0] == pytest.approx(0.1 / (1 + 1e-6), rel=1e-9)


def ill_conditioned() -> tuple[Floats, Floats]:
    random = np.random.default_rng(0)
    X = random.standard_normal((300, 1)) + 0.15 * random.standard_normal((300, 5))
    return X, X @ [1.0, -2.0, 3.0, 0.0, 1.0] + 0.1 * random.standard_normal(300)


def gaps_of(X: Floats, y: Floats, servers: list[ServerOptimiser], standardise: bool) -> list[float]:
    """Return by how much each optimiser's loss is above the optimum after 120 rounds."""
    shards = cut(X, y, 3)
    optimum = objective_at(learn(problem_for(X, y, 3), shards, "exact")[1], shards)
    gaps = []
    for server in servers:
        problem = problem_for(X, y, 3, server=server)
        _, training = learn(problem, shards, "gradient-descent", 120, standardise=standardise)
        gaps.append(objective_at(training, shards) - optimum)
    return gaps


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_a_velocity_speeds_up_where_columns_are_nearly_collinear(name: str) -> None:
    plain, fast = gaps_of(*ill_conditioned(), [server_optimiser("average", {}), server_optimiser(name, {})], True)
    assert fast < plain / 3


@pytest.mark.parametrize("name", ["adagrad", "adam", "yogi"])
def test_adaptive_steps_speed_up_where_columns_differ_in_size(name: str) -> None:
    random = np.random.default_rng(0)
    X = random.standard_normal((300, 4)) * [10.0, 3.0, 1.0, 0.3]
    y = X @ [0.5, 0.5, -0.5, 1.0] + 0.1 * random.standard_normal(300)
    options = {"rate": 0.3 if name == "adagrad" else 0.05, "floor": 1e-12}
    plain, fast = gaps_of(X, y, [server_optimiser("average", {}), server_optimiser(name, options)], False)
    assert fast < plain / 10


def test_nesterov_with_an_l1_penalty_is_fista() -> None:
    """Beck and Teboulle's steps with a constant momentum, written down plainly."""
    X, y = ill_conditioned()
    shards, l1, rounds = cut(X, y, 3), 0.05, 12
    problem = problem_for(X, y, 3, l1=l1, learning_rate=0.2, server=server_optimiser("nesterov", {"momentum": 0.7}))
    _, training = learn(problem, shards, "gradient-descent", rounds)
    columns = training.problem.columns.standardised(X)
    x = ahead = np.zeros(5)
    for _ in range(rounds):
        gradient = columns.T @ (columns @ ahead - (y - y.mean())) / len(y)
        new = Penalty(l1=l1).shrunk(ahead - 0.2 * gradient, 0.2)
        x, ahead = new, new + 0.7 * (new - x)
    np.testing.assert_allclose(fused(training)[:-1], ahead, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("solver", ["sgd", "local-sgd"])
@pytest.mark.parametrize("name", sorted(SERVER_OPTIMISERS))
def test_every_optimiser_goes_with_mini_batches(solver: str, name: str) -> None:
    X, y = ill_conditioned()
    shards = cut(X, y - y.mean(), 3)
    options: dict[str, Any] = {"server": server_optimiser(name, {}), "learning_rate": 0.02}
    outcome, training = learn(problem_for(X, y - y.mean(), 3, **options), shards, solver, 40)
    assert objective_at(training, shards) < 0.3 * float((y - y.mean()) @ (y - y.mean())) / 2 / len(y)
    assert not outcome.converged
