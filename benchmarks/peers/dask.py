"""dask-ml: L-BFGS of dask-glm, and ``Incremental`` stochastic gradient, on two processes with half of the rows each."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.base import ESCALATION, Goal, Limits, Peer, Point, Points, Settings
from benchmarks.peers.scikit import SCIKIT_SGD, flat, stochastic
from benchmarks.problems import LearningProblem

NUM_WORKERS = 2
NO_PENALTY = 1e-12


class DaskLbfgs(Peer):
    """``LinearRegression`` or ``LogisticRegression`` by L-BFGS, each point a fit of its own.

    dask-glm penalises the intercept too, which moves its optimum by less than the gaps that are asked for here.
    """

    name = "dask-ml L-BFGS, 2 processes"
    epoch = "iteration"
    timed = "one fit with max_iter just large enough; rows in the workers' memory"
    library = "dask_ml"

    def points(self, problem: LearningProblem, settings: Settings, goal: Goal, limits: Limits) -> Points:
        """Yield the parameters of every fit."""
        del settings, goal, limits
        from dask_ml.linear_model import LinearRegression, LogisticRegression

        estimator = LinearRegression if problem.objective == "squared" else LogisticRegression
        C = 1.0 / max(problem.l2 * len(problem.y), NO_PENALTY)
        with held_rows(problem) as (X, y):
            for iterations in ESCALATION:
                model = estimator(solver="lbfgs", C=C, max_iter=iterations, tol=0.0, solver_kwargs={"normalize": False})
                started_s = time.perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)  # dask-glm sets an option by its old name
                    model.fit(X, y)
                yield Point(time.perf_counter() - started_s, iterations, flat(model))


class DaskIncremental(Peer):
    """``Incremental`` around scikit-learn's SGD: one part of the rows after the other, where it lies."""

    name = "dask-ml Incremental SGD, 2 processes"
    timed = "partial_fit; rows in the workers' memory"
    library = "dask_ml"

    def tuner(self) -> Peer:
        """Take what is best for scikit-learn's SGD in one process."""
        return SCIKIT_SGD

    def points(self, problem: LearningProblem, settings: Settings, goal: Goal, limits: Limits) -> Points:
        """Yield the parameters after every pass."""
        del goal
        from dask_ml.wrappers import Incremental

        model = Incremental(stochastic(problem, settings), shuffle_blocks=False)
        more = {} if problem.objective == "squared" else {"classes": [0.0, 1.0]}
        seconds = 0.0
        with held_rows(problem) as (X, y):
            for epoch in range(limits.epochs):
                started_s = time.perf_counter()
                model.partial_fit(X, y, **more)
                parameters = flat(model.estimator_)
                seconds += time.perf_counter() - started_s
                yield Point(seconds, epoch + 1, parameters)


@contextmanager
def held_rows(problem: LearningProblem) -> Iterator[tuple[Any, Any]]:
    """Start two processes of one thread, let each load its half, and give the arrays that they make up."""
    import dask.array as da
    from dask import delayed
    from distributed import Client, LocalCluster, wait

    features = problem.X.shape[1]
    with (
        LocalCluster(n_workers=NUM_WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        names = list(client.scheduler_info()["workers"])
        parts = []
        for number, name in enumerate(names):
            rows = problem.part(number, NUM_WORKERS)
            size = rows.stop - rows.start
            X = da.from_delayed(delayed(_load)(problem.files / "X.npy", rows), (size, features), dtype=np.float32)
            y = da.from_delayed(delayed(_load)(problem.files / "y.npy", rows), (size,), dtype=np.float32)
            parts.append(client.persist([X, y], workers=[name]))
        wait(parts)
        yield da.concatenate([X for X, _ in parts]), da.concatenate([y for _, y in parts])


def _load(path: Path, rows: slice) -> Any:
    return np.array(np.load(path, mmap_mode="r")[rows])
