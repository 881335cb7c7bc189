"""The estimators on real actors: scikit-learn's own checks, its tools, and what becomes of actors between fits."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from scheduler.errors import UserError
from scheduler.estimators import DistributedClassifier, DistributedRegressor, shutdown
from scheduler.session import Session, connect

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module", autouse=True)
def _warm(session: Session) -> Iterator[None]:
    """Join the cluster of these tests, and leave it as it was."""
    del session
    yield
    shutdown()


@parametrize_with_checks([DistributedRegressor(), DistributedClassifier()])
def test_scikit_learn_accepts_them(estimator: Any, check: Any) -> None:
    check(estimator)


def actors() -> list[psutil.Process]:
    """Return the workers' processes of this test's own cluster."""
    family = psutil.Process().children(recursive=True)
    living = [process for process in family if process.status() != psutil.STATUS_ZOMBIE]
    return [process for process in living if "ray::SgdWorker" in " ".join(process.cmdline())]


def bits(estimator: Any) -> bytes:
    return np.asarray(estimator.coef_).tobytes() + np.asarray(estimator.intercept_).tobytes()


def test_a_regressor_finds_the_optimum_of_least_squares() -> None:
    X, y = load_diabetes(return_X_y=True)
    ours, theirs = DistributedRegressor(l2=0.0).fit(X, y), LinearRegression().fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-8)
    assert ours.intercept_ == pytest.approx(theirs.intercept_)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y))


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_a_classifier_finds_the_optimum_of_logistic_regression(load: Any) -> None:
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    l2 = 1e-2
    ours = DistributedClassifier(l2=l2).fit(X, y)
    theirs = LogisticRegression(C=1 / (l2 * len(y)), tol=1e-10, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.coef_.shape == theirs.coef_.shape and ours.intercept_.shape == theirs.intercept_.shape


def test_workers_and_policy_change_no_bit() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    fitted = [
        DistributedClassifier(num_workers=workers, policy=policy, solver="local-svrg", max_rounds=20, tolerance=0.1)
        for workers, policy in [(1, "equal"), (2, "random"), (2, "speed-proportional")]
    ]
    assert len({bits(estimator.fit(X, y)) for estimator in fitted}) == 1


def test_labels_are_of_any_type() -> None:
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])
    by_name, by_number = DistributedClassifier().fit(X, names[y]), DistributedClassifier().fit(X, y)
    assert bits(by_name) == bits(by_number)
    np.testing.assert_array_equal(by_name.predict(X), names[by_number.predict(X)])
    assert by_name.predict_proba(X).shape == (150, 3)


@pytest.mark.parametrize(
    "estimator", [DistributedRegressor(), DistributedClassifier()], ids=["regressor", "classifier"]
)
def test_sparse_rows_and_weights(estimator: Any) -> None:
    random = np.random.default_rng(0)
    X = random.standard_normal((80, 6)) * (random.random((80, 6)) < 0.4)
    y = (X.sum(axis=1) + 0.3 * random.standard_normal(80) > 0).astype(int)
    weights = random.integers(0, 4, 80)
    dense = clone(estimator).fit(X, y, sample_weight=weights)
    sparse = clone(estimator).fit(csr_array(X), y, sample_weight=weights)
    repeated = clone(estimator).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=1e-8)
    np.testing.assert_allclose(repeated.coef_, dense.coef_, rtol=1e-8)
    np.testing.assert_allclose(sparse.predict(csr_array(X)), dense.predict(X), rtol=1e-6)


def test_in_a_pipeline_a_grid_search_and_cross_validation() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), DistributedClassifier()), {"distributedclassifier__l2": [1e-3, 10.0]}
    )
    assert search.fit(X, y).best_params_ == {"distributedclassifier__l2": 1e-3}
    assert search.best_score_ > 0.97
    assert cross_val_score(DistributedRegressor(), *load_diabetes(return_X_y=True)).mean() > 0.45


def test_a_fitted_estimator_survives_a_pickle() -> None:
    X, y = load_iris(return_X_y=True)
    fitted = DistributedClassifier().fit(X, y)
    copy = pickle.loads(pickle.dumps(fitted))  # noqa: S301
    np.testing.assert_array_equal(copy.predict_proba(X), fitted.predict_proba(X))
    assert bits(copy.fit(X, y)) == bits(fitted)


def test_partial_fit_goes_on_from_what_is_there() -> None:
    random = np.random.default_rng(1)
    X = random.standard_normal((400, 5))
    y = X @ np.arange(5.0) + 1.0
    regressor = DistributedRegressor(l2=0.0)
    errors = []
    for _ in range(15):
        for part in range(4):
            regressor.partial_fit(X[part::4], y[part::4])
        errors.append(float(np.square(regressor.predict(X) - y).mean()))
    assert errors[-1] < 1e-3 * errors[0] and regressor.n_iter_ == 60
    labels = np.array(["low", "high"])[(y > 1).astype(int)]
    classifier = DistributedClassifier()
    classifier.partial_fit(X[:1], labels[:1], classes=["low", "high"])  # a batch may lack classes
    for part in range(40):
        classifier.partial_fit(X[part % 4 :: 4], labels[part % 4 :: 4])
    assert classifier.score(X, labels) > 0.95
    with pytest.raises(ValueError, match=r"\['other'\] are not among the classes"):
        classifier.partial_fit(X[:1], ["other"])


def test_actors_stay_for_the_next_fit() -> None:
    X, y = load_diabetes(return_X_y=True)
    regressor = DistributedRegressor(num_workers=2).fit(X, y)
    pids = {process.pid for process in actors()}
    assert bits(DistributedRegressor(num_workers=2, solver="exact").fit(X, y)) == bits(regressor)
    assert {process.pid for process in actors()} == pids


def test_a_worker_that_died_between_fits_is_replaced() -> None:
    X, y = load_diabetes(return_X_y=True)
    regressor = DistributedRegressor(num_workers=2).fit(X, y)
    before = bits(regressor)
    for process in actors():
        process.kill()
    assert bits(regressor.fit(X, y)) == before


def test_idle_actors_make_room_for_others() -> None:
    X, y = load_diabetes(return_X_y=True)
    wanted = bits(DistributedRegressor(bundle={"cpu": 8}).fit(X, y))
    assert bits(DistributedRegressor(bundle={"cpu": 7}).fit(X, y)) == wanted
    with pytest.raises(UserError, match="cpu 9 requested, 8 free"):
        DistributedRegressor(bundle={"cpu": 9}).fit(X, y)


def test_shutdown_gives_everything_back() -> None:
    DistributedRegressor().fit(*load_diabetes(return_X_y=True))
    shutdown()
    assert [group for group in ray.util.placement_group_table().values() if group["state"] != "REMOVED"] == []
    assert ray.is_initialized()  # the connection is the tests' own
    DistributedRegressor().fit(*load_diabetes(return_X_y=True))


ALONE = """
import ray
from sklearn.datasets import load_diabetes
from scheduler.estimators import DistributedRegressor
X, y = load_diabetes(return_X_y=True)
regressor = DistributedRegressor()
fitted = [regressor.fit(X, y).coef_.tobytes()]
fitted.append(regressor.fit(X, y).coef_.tobytes())
ray.shutdown()
fitted.append(regressor.fit(X, y).coef_.tobytes())
ray.shutdown()
ray.init(address="local", num_cpus=2, log_to_driver=False)
mine = ray.get_runtime_context().get_node_id()
fitted.append(regressor.fit(X, y).coef_.tobytes())
assert ray.get_runtime_context().get_node_id() == mine
print(len(set(fitted)))
"""


@pytest.mark.long
def test_a_program_of_its_own_needs_no_cluster_and_leaves_no_process(tmp_path: Path) -> None:
    script = tmp_path / "alone.py"
    script.write_text(ALONE, encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "APPORTION_TEST": str(tmp_path),
    }
    with subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True) as program:
        output, _ = program.communicate(timeout=240)
    assert program.returncode == 0
    assert output.strip() == "1"
    assert wait_until(lambda: not marked(f"APPORTION_TEST={tmp_path}"))


def marked(mark: str) -> list[int]:
    """Return the processes that have a mark in their environment."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
    return found


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + 20.0
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return condition()


def test_another_cluster_is_refused_while_this_one_is_connected() -> None:
    shutdown()
    for _ in range(2):  # the first fit and a later one
        with pytest.raises(UserError, match=r"connected to the Ray cluster at .*, not 192.0.2.9:6379: call shutdown"):
            DistributedRegressor(address="192.0.2.9:6379").fit(*load_diabetes(return_X_y=True))
        DistributedRegressor(address="auto").fit(*load_diabetes(return_X_y=True))
    with pytest.raises(UserError, match="connected already"), connect():
        pytest.fail("there is a connection")
    assert ray.is_initialized()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"solver": "newtom"}, r"training.solver: .*unknown solver 'newtom'. Did you mean"),
        ({"l2": -1.0, "batch_size": 0}, r"model.l2: .*training.batch_size: "),
        ({"objective": "logistic"}, "objective 'logistic' is for classification"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"DistributedRegressor: .*{message}"):
        DistributedRegressor(**parameters).fit(*load_diabetes(return_X_y=True))
