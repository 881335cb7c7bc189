"""One process and NumPy: the mini-batch loop that anyone would write, and the normal equations."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from threadpoolctl import threadpool_limits

from benchmarks.peers.base import Goal, Limits, Peer, Point, Points, Settings, fastest
from benchmarks.problems import LearningProblem

RATES = [2.0**power for power in range(2, -12, -2)]
DECAYS = {"constant": lambda epoch: 1.0, "inverse": lambda epoch: 1.0 / (1.0 + epoch)}


class NumpyLoop(Peer):
    """Contiguous mini-batches in float32, one BLAS thread; ``batches`` of the problem's size make a step."""

    timed = "the loop over batches"

    def __init__(self, batches: int = 1) -> None:
        self.name = "NumPy mini-batch loop"
        self.batches = batches

    def tune(self, problem: LearningProblem, goal: Goal, limits: Limits) -> Settings:
        """Search powers of four, each constant and falling with the inverse of the epoch."""
        candidates = [{"rate": rate, "decay": decay} for rate in RATES for decay in DECAYS]
        return fastest(self, problem, candidates, goal, limits)

    def points(self, problem: LearningProblem, settings: Settings, goal: Goal, limits: Limits) -> Points:
        """Yield the parameters after every pass."""
        del goal
        parameters = np.zeros(problem.X.shape[1] + 1, dtype=np.float32)
        seconds = 0.0
        for epoch in range(limits.epochs):
            rate = np.float32(settings["rate"] * DECAYS[settings["decay"]](epoch))
            started_s = time.perf_counter()
            with threadpool_limits(limits=1), np.errstate(all="ignore"):
                one_pass(problem, parameters, rate, problem.batch_size * self.batches)
            seconds += time.perf_counter() - started_s
            yield Point(seconds, epoch + 1, parameters.copy())


TWO_BATCHES = NumpyLoop(2)
"""Takes the steps of two workers that average the gradients of a batch each."""


def one_pass(problem: LearningProblem, parameters: NDArray[Any], rate: np.float32, batch_size: int) -> None:
    """Take a step on each batch in turn, in place."""
    weights, logistic = parameters[:-1], problem.objective == "logistic"
    shrink = np.float32(1.0 - rate * problem.l2)
    for start in range(0, len(problem.y), batch_size):
        X, y = problem.X[start : start + batch_size], problem.y[start : start + batch_size]
        margins = X @ weights
        margins += parameters[-1]
        residuals = (expit(margins) if logistic else margins) - y
        step = rate / np.float32(len(y))
        weights *= shrink
        weights -= step * (residuals @ X)
        parameters[-1] -= step * residuals.sum()


class NormalEquations(Peer):
    """Least squares in one go: ``X'X`` in float32, block by block, all BLAS threads, solved in float64."""

    name = "NumPy normal equations"
    epoch = "fit"
    timed = "products and solution"

    def unavailable(self, problem: LearningProblem) -> str | None:
        """Refuse what has no closed form."""
        return None if problem.objective == "squared" else "there is no closed form"

    def points(self, problem: LearningProblem, settings: Settings, goal: Goal, limits: Limits) -> Points:
        """Yield the solution."""
        del settings, goal, limits
        started_s = time.perf_counter()
        width = problem.X.shape[1] + 1
        gram, moment = np.zeros((width, width)), np.zeros(width)
        for start in range(0, len(problem.y), 1 << 14):
            X, y = problem.X[start : start + (1 << 14)], problem.y[start : start + (1 << 14)]
            gram[:-1, :-1] += X.T @ X
            gram[-1, :-1] += X.sum(axis=0)
            moment[:-1] += y @ X
            moment[-1] += y.sum()
        gram[:-1, -1], gram[-1, -1] = gram[-1, :-1], len(problem.y)
        gram[np.arange(width - 1), np.arange(width - 1)] += problem.l2 * len(problem.y)
        parameters = np.linalg.solve(gram, moment)
        yield Point(time.perf_counter() - started_s, 1, parameters)
