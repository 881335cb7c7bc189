"""The one idea on real processes: allocation changes the time, never the result."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from policies.presets import PRESETS, resolve
from scheduler.errors import UserError
from scheduler.inventory import logical_views
from scheduler.job import Job
from scheduler.job_file import load_job
from scheduler.observer import Observer
from scheduler.outputs import Finished
from scheduler.preparation import prepare
from scheduler.runner import run_connected
from scheduler.session import Session
from workers.sequential import train
from workers.solvers import SOLVERS

pytestmark = pytest.mark.cluster
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

Launch = Callable[..., Finished]


def job_of(**overrides: Any) -> Job:
    fields = {"training.rounds": 6, "training.local_epochs": 1, "shards": 8}
    return load_job(EXAMPLES / "diabetes.yaml", fields | {name.replace("__", "."): v for name, v in overrides.items()})


@pytest.fixture
def launch(session: Session) -> Launch:
    del session

    def run(policy: Any = "equal", **overrides: Any) -> Finished:
        return run_connected(prepare(job_of(**overrides)), resolve(policy), Observer())

    return run


def sequential(job: Job) -> bytes:
    prepared = prepare(job)
    outcome = train(prepared.training(), prepared.data.load(range(job.shards)))
    return b"".join(array.tobytes() for array in outcome.arrays.values())


def bits(finished: Finished) -> bytes:
    return b"".join(array.tobytes() for array in finished.model.arrays.values())


PAIRS = list(zip(PRESETS, itertools.cycle([1, 2, 3, 5]), strict=False))
"""Every policy once and every number of workers: the others are tested where there is more time."""


@pytest.mark.parametrize(
    ("policy", "workers"),
    PAIRS
    + [
        pytest.param(*pair, marks=pytest.mark.long)
        for pair in itertools.product(PRESETS, [1, 2, 3, 5])
        if pair not in PAIRS
    ],
)
def test_every_policy_and_number_of_workers_gives_the_same_model(launch: Launch, policy: str, workers: int) -> None:
    wanted = sequential(job_of())
    for _ in range(2):
        finished = launch(policy, workers__count=workers)
        assert bits(finished) == wanted
        assert len(finished.summary.workers) == workers
        assert sorted(s for worker in finished.summary.workers for s in worker.shards) == list(range(8))


@pytest.mark.parametrize(
    ("solver", "policy", "workers"), list(zip(SOLVERS, itertools.cycle(PRESETS), itertools.cycle([3, 7, 2, 1])))
)
def test_every_solver_equals_the_sequential_reference(launch: Launch, solver: str, policy: str, workers: int) -> None:
    finished = launch(policy, workers__count=workers, training__solver=solver)
    assert bits(finished) == sequential(job_of(training__solver=solver))


def test_layers_validation_and_robust_sums_equal_the_sequential_reference(launch: Launch) -> None:
    fields = {
        "model": {"objective": "squared", "hidden": [5]},
        "training": {"solver": "sgd", "rounds": 9, "patience": 2, "aggregation": "median"},
        "validation_fraction": 0.2,
    }
    assert bits(launch("random", workers__count=3, **fields)) == sequential(job_of(**fields))


def test_the_seed_changes_a_stochastic_model(launch: Launch) -> None:
    assert launch(training__seed=1).summary.model_sha256 != launch(training__seed=2).summary.model_sha256


def test_one_changed_row_changes_the_model(launch: Launch, tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((60, 3))
    hashes = []
    for change in (0.0, 1e-3):
        X[17, 1] += change
        np.savez(tmp_path / "data.npz", X=X, y=X.sum(axis=1))
        hashes.append(launch(data={"npz": str(tmp_path / "data.npz")}).summary.model_sha256)
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize(("example", "objective"), [("breast_cancer", "logistic"), ("digits", "softmax")])
def test_classifiers_are_at_least_as_good_as_scikit_learn(session: Session, example: str, objective: str) -> None:
    from sklearn import datasets
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    del session
    job = load_job(EXAMPLES / f"{example}.yaml")
    assert job.model.objective == objective
    finished = run_connected(prepare(job), resolve(job.policy), Observer())
    X, y = getattr(datasets, f"load_{example}")(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=job.test_fraction, random_state=42)
    peers = [SGDClassifier(random_state=42), make_pipeline(StandardScaler(), SGDClassifier(random_state=42))]
    best = max(peer.fit(X_train, y_train).score(X_test, y_test) for peer in peers)
    assert finished.summary.metric.test is not None
    assert finished.summary.metric.test >= best
    assert np.mean(finished.model.predict(X_test) == y_test) == pytest.approx(finished.summary.metric.test)


def test_diabetes_reaches_the_exact_optimum(session: Session) -> None:
    del session
    job = load_job(EXAMPLES / "diabetes.yaml")
    summary = run_connected(prepare(job), resolve(job.policy), Observer()).summary
    assert summary.optimum is not None
    assert summary.metric.train <= summary.optimum.train * 1.001
    assert summary.optimum.test == pytest.approx(2900.19, abs=0.01)  # scikit-learn's LinearRegression


def test_california_reaches_the_exact_optimum(session: Session, data_folder: Path) -> None:
    del session
    csv = str(data_folder / "tabular" / "california_housing.csv")
    job = load_job(EXAMPLES / "california.yaml", {"data.csv": csv})
    summary = run_connected(prepare(job), resolve(job.policy), Observer()).summary
    assert summary.optimum is not None
    assert summary.metric.train <= summary.optimum.train * 1.001


def test_nothing_is_left_behind(launch: Launch) -> None:
    launch(workers__count=3)
    groups = [g for g in ray.util.placement_group_table().values() if g["state"] != "REMOVED"]
    assert groups == []
    deadline_s = time.monotonic() + 10.0
    while any(view.free != view.capacity for view in logical_views()):  # Ray reports freed resources late
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def test_more_workers_than_fit_says_which_resource_and_how_much(launch: Launch) -> None:
    with pytest.raises(UserError, match=r"only 8 of 9 fit(?s:.)*cpu 1 requested, 0 free"):
        launch(workers__count=9, shards=9)


def test_more_memory_than_there_is(launch: Launch) -> None:
    with pytest.raises(UserError, match=r"memory 1,048,576.0 MiB requested"):
        launch(workers={"count": 2, "bundle": {"memory": "1TiB"}})


def test_shards_larger_than_the_workers_memory(launch: Launch) -> None:
    with pytest.raises(UserError, match=r"shards of job diabetes(?s:.)*bundle.memory"):
        launch(workers={"count": 2, "bundle": {"memory": "10KiB"}})
