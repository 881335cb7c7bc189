"""The harness at tiny size, with the peers that need neither Ray nor another library."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from benchmarks import learning, problems
from benchmarks.peers import PEERS, Goal, Limits, follow
from benchmarks.peers.base import Peer, Point, Points
from benchmarks.reference import Reference

CHEAP = ["numpy", "normal-equations", "sklearn-sgd", "sklearn-lbfgs", "sklearn-direct"]


def options(*more: str) -> list[str]:
    return ["--peers", *CHEAP, "--rows", "3000", "--repeats", "2", "--gap", "0.05", "--epochs", "40", *more]


def test_every_peer_that_fits_reaches_the_gap_and_the_figures_are_written(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    arguments = learning.parsed(options("--problems", "least-squares", "logistic", "--json", str(path)))
    arguments.array_bytes = 4_000_000
    learning.run(arguments)
    figures = json.loads(path.read_text(encoding="utf-8"))
    for result in figures["problems"]:
        assert result["bandwidth_gb_per_s"].keys() == {"1", "2"}
        assert min(result["bandwidth_gb_per_s"].values()) > 0
    squared, logistic = (result["peers"] for result in figures["problems"])
    assert {name for name, row in squared.items() if "skipped" in row} == {"sklearn-lbfgs"}
    assert {name for name, row in logistic.items() if "skipped" in row} == {"normal-equations", "sklearn-direct"}
    for row in (*squared.values(), *logistic.values()):
        if "skipped" not in row:
            assert row["seconds_to_gap"] > 0
            assert row["gap"] <= 0.05
            assert len(row["turns"]) == 2


class Scripted(Peer):
    name = "scripted"
    timed = "nothing"

    def __init__(self, *points: Point) -> None:
        self.script = points

    def points(self, *_: object) -> Points:  # type: ignore[override]
        yield from self.script


@pytest.fixture
def goal() -> Goal:
    problem = problems.least_squares(500, features=3)
    reference = Reference("squared", problem.X, problem.y, 0.0)
    return Goal(reference, reference.minimise()[1], 0.01)


def test_a_training_is_followed_to_the_first_point_that_is_close_enough(goal: Goal) -> None:
    values = [goal.optimum * factor for factor in (2.0, 1.005, 1.0)]
    peer = Scripted(*(Point(float(place + 1), place + 1, objective=value) for place, value in enumerate(values)))
    followed = follow(peer, problems.least_squares(5), {}, goal, Limits(10, 10.0))
    turn = learning.turn_of(followed, goal.gap)
    assert (turn.seconds_to_gap, turn.epochs, turn.seconds_per_epoch) == (2.0, 2, 1.0)
    assert turn.gap == pytest.approx(0.005)


def test_a_gap_that_is_missed_once_has_no_median_time(goal: Goal) -> None:
    far, near = Point(3.0, 3, objective=2 * goal.optimum), Point(2.0, 1, objective=goal.optimum)
    turns = [
        learning.turn_of(follow(Scripted(point), problems.least_squares(5), {}, goal, Limits(3, 9.0)), goal.gap)
        for point in (near, far)
    ]
    assert learning.median_of(turns)["seconds_to_gap"] is None
    assert learning.median_of(turns[:1])["seconds_to_gap"] == 2.0


def test_a_diverged_training_is_given_up(goal: Goal) -> None:
    point = Point(1.0, 1, np.full(4, np.nan))
    followed = follow(Scripted(point, point), problems.least_squares(5), {}, goal, Limits(9, 9.0))
    assert [gap for _, gap in followed] == [float("inf")]


def test_a_peer_that_fails_is_left_out_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    problem = problems.least_squares(500, features=3)
    peers = {"broken": Scripted(), "direct": PEERS["sklearn-direct"]}
    rows = learning.compare(problem, peers, 1e-4, Limits(5, 5.0), 2)["peers"]
    assert rows["broken"]["skipped"].startswith("failed: IndexError")
    assert rows["direct"]["seconds_to_gap"] is not None
    assert "failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("objective", "classes", "l2"), [("squared", 0, 0.0), ("logistic", 2, 1e-3), ("softmax", 4, 1e-3)]
)
def test_the_reference_is_where_another_minimiser_ends(objective: str, classes: int, l2: float) -> None:
    random = np.random.default_rng(2)
    X = random.standard_normal((400, 5))
    y = X @ random.standard_normal(5) if not classes else random.integers(classes, size=400).astype(float)
    reference = Reference(objective, X, y, l2)
    start = np.zeros(reference.shape).ravel()
    other = minimize(reference.value, start, method="BFGS", options={"gtol": 1e-7})
    parameters, optimum = reference.minimise()
    assert optimum <= other.fun + 1e-12
    assert optimum == pytest.approx(other.fun, rel=1e-6, abs=1e-9)
    assert reference.value(parameters) == pytest.approx(optimum, rel=1e-12)


def test_least_squares_are_valued_without_the_rows_just_as_with_them() -> None:
    problem = problems.least_squares(700, features=4)
    fresh = Reference("squared", problem.X, problem.y, 0.1)
    known = Reference("squared", problem.X, problem.y, 0.1)
    known.minimise()
    parameters = np.arange(5.0)
    assert known.value(parameters) == pytest.approx(fresh.value(parameters), rel=1e-12)


def test_the_synthetic_target_is_nine_tenths_signal() -> None:
    problem = problems.least_squares(20_000)
    reference = Reference("squared", problem.X, problem.y, 0.0)
    assert 1.0 - 2.0 * reference.minimise()[1] / problem.y.var() == pytest.approx(0.9, abs=0.01)


def test_absent_data_is_said_to_be_absent(tmp_path: Path) -> None:
    assert problems.a9a(tmp_path) is None
