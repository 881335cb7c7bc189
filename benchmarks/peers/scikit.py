"""One process and scikit-learn: stochastic gradient, L-BFGS, and its direct least squares."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier, SGDRegressor

from benchmarks.peers.base import ESCALATION, Goal, Limits, Peer, Point, Points, Settings, fastest
from benchmarks.problems import LearningProblem


def flat(model: Any) -> NDArray[Any]:
    """Return a fitted model's weights and intercept as one vector."""
    return np.concatenate([np.ravel(model.coef_), np.ravel(model.intercept_)])


def stochastic(problem: LearningProblem, settings: Settings) -> Any:
    """Return ``SGDRegressor`` or ``SGDClassifier`` for the problem, its defaults but for the settings."""
    if problem.objective == "squared":
        return SGDRegressor(alpha=problem.l2, random_state=0, **settings)
    return SGDClassifier(loss="log_loss", alpha=problem.l2, random_state=0, **settings)


class ScikitSgd(Peer):
    """``SGDRegressor`` or ``SGDClassifier``, pass by pass."""

    name = "scikit-learn SGD"
    timed = "partial_fit"

    def tune(self, problem: LearningProblem, goal: Goal, limits: Limits) -> Settings:
        """Search powers of ten of ``eta0`` for the schedules that have one; the classifier's own has none."""
        eta0s = [10.0**power for power in range(-1, -6, -1)]
        candidates: list[Settings] = [{"learning_rate": "invscaling", "eta0": eta0} for eta0 in eta0s]
        if problem.objective == "logistic":
            candidates.insert(0, {"learning_rate": "optimal"})
        return fastest(self, problem, candidates, goal, Limits(min(limits.epochs, 5), limits.seconds))

    def points(self, problem: LearningProblem, settings: Settings, goal: Goal, limits: Limits) -> Points:
        """Yield the parameters after every ``partial_fit``."""
        del goal
        model = stochastic(problem, settings)
        more = {} if problem.objective == "squared" else {"classes": np.array([0.0, 1.0], dtype=np.float32)}
        seconds = 0.0
        for epoch in range(limits.epochs):
            started_s = time.perf_counter()
            try:
                model.partial_fit(problem.X, problem.y, **more)
            except ValueError:  # "Floating-point under-/overflow occurred": the rate is too large
                yield Point(seconds, epoch + 1, np.full(problem.X.shape[1] + 1, np.nan))
                return
            seconds += time.perf_counter() - started_s
            yield Point(seconds, epoch + 1, flat(model))


SCIKIT_SGD = ScikitSgd()


class ScikitLbfgs(Peer):
    """``LogisticRegression`` by L-BFGS, with more and more iterations: each point is a fit of its own."""

    name = "scikit-learn L-BFGS"
    epoch = "iteration"
    timed = "one fit with max_iter just large enough, all BLAS threads"

    def unavailable(self, problem: LearningProblem) -> str | None:
        """Refuse least squares, for which scikit-learn has no L-BFGS."""
        return None if problem.objective == "logistic" else "LogisticRegression is for classes"

    def points(self, problem: LearningProblem, settings: Settings, goal: Goal, limits: Limits) -> Points:
        """Yield the parameters of every fit."""
        del goal, limits, settings
        for iterations in ESCALATION:
            C = 1.0 / (problem.l2 * len(problem.y))
            model = LogisticRegression(C=C, solver="lbfgs", max_iter=iterations, tol=1e-10)
            started_s = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(problem.X, problem.y)
            yield Point(time.perf_counter() - started_s, iterations, flat(model))


class ScikitDirect(Peer):
    """``LinearRegression``: LAPACK's least squares."""

    name = "scikit-learn LinearRegression"
    epoch = "fit"
    timed = "fit, all BLAS threads"

    def unavailable(self, problem: LearningProblem) -> str | None:
        """Refuse classes and penalties."""
        return None if problem.objective == "squared" and not problem.l2 else "LinearRegression is for least squares"

    def points(self, problem: LearningProblem, settings: Settings, goal: Goal, limits: Limits) -> Points:
        """Yield the solution."""
        del settings, goal, limits
        started_s = time.perf_counter()
        model = LinearRegression().fit(problem.X, problem.y)
        yield Point(time.perf_counter() - started_s, 1, flat(model))
