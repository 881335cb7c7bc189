"""Bare Ray: the textbook's synchronous parameter server on real rows, with nothing of Apportion in it.

The pattern of ``benchmarks/textbook.py``: the server stacks and sums the gradients of mini-batches, calls are
chained by references, and the driver waits for the weights every few rounds. Each of two workers holds half the rows.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from scipy.special import expit
from threadpoolctl import threadpool_limits

from benchmarks.peers.base import Goal, Limits, Peer, Point, Points, Settings
from benchmarks.peers.numpy_loop import DECAYS, TWO_BATCHES
from benchmarks.problems import LearningProblem
from benchmarks.textbook import ROUNDS_PER_EVALUATION

NUM_WORKERS = 2


class Server:
    """Holds the weights and applies the workers' gradients."""

    def __init__(self, num_parameters: int, l2: float) -> None:
        self._weights = np.zeros(num_parameters, dtype=np.float32)
        self._penalty = np.full(num_parameters, l2, dtype=np.float32)
        self._penalty[-1] = 0.0

    def apply(self, rate: float, *gradients: NDArray[Any]) -> NDArray[Any]:
        """Take one step along the mean of the gradients, and return the new weights."""
        mean = np.stack(gradients).sum(axis=0) / np.float32(len(gradients))
        self._weights = self._weights - np.float32(rate) * (mean + self._penalty * self._weights)
        return self._weights

    def weights(self) -> NDArray[Any]:
        """Return the current weights."""
        return self._weights


class Worker:
    """Computes the gradients of the mini-batches of its part of the rows, which it holds in memory."""

    def __init__(self, files: Path, part: slice, objective: str, batch_size: int) -> None:
        self._limits = threadpool_limits(limits=1)
        self._X = np.array(np.load(files / "X.npy", mmap_mode="r")[part])
        self._y = np.array(np.load(files / "y.npy", mmap_mode="r")[part])
        self._logistic, self._batch_size = objective == "logistic", batch_size

    def gradient(self, weights: NDArray[Any], step: int) -> NDArray[Any]:
        """Return the mean gradient over batch number ``step`` of a pass."""
        rows = slice(step * self._batch_size, (step + 1) * self._batch_size)
        X, y = self._X[rows], self._y[rows]
        margins = X @ weights[:-1]
        margins += weights[-1]
        residuals = (expit(margins) if self._logistic else margins) - y
        return np.append(residuals @ X, residuals.sum()) / np.float32(len(y))

    def ready(self) -> int:
        """Return how many batches a pass has, once the rows are in memory."""
        return -(-len(self._y) // self._batch_size)


class BareRay(Peer):
    """The textbook parameter server with two workers."""

    name = "bare-Ray parameter server"
    timed = "rounds of two workers' mini-batches, chained by references; rows in the workers' memory"
    needs_ray = True

    def tuner(self) -> Peer:
        """Take the rate found in one process, with the batches of both workers as one."""
        return TWO_BATCHES

    def points(self, problem: LearningProblem, settings: Settings, goal: Goal, limits: Limits) -> Points:
        """Yield the weights after every pass."""
        del goal
        server: Any = ray.remote(num_cpus=0)(Server).remote(problem.X.shape[1] + 1, problem.l2)
        actor: Any = ray.remote(num_cpus=1)(Worker)
        parts = [problem.part(number, NUM_WORKERS) for number in range(NUM_WORKERS)]
        workers = [actor.remote(problem.files, part, problem.objective, problem.batch_size) for part in parts]
        try:
            num_steps = min(ray.get([worker.ready.remote() for worker in workers]))
            seconds = 0.0
            for epoch in range(limits.epochs):
                started_s = time.perf_counter()
                weights = _one_pass(server, workers, num_steps, settings["rate"] * DECAYS[settings["decay"]](epoch))
                seconds += time.perf_counter() - started_s
                yield Point(seconds, epoch + 1, weights)
        finally:
            for each in (server, *workers):
                ray.kill(each)


def _one_pass(server: Any, workers: list[Any], num_steps: int, rate: float) -> NDArray[Any]:
    weights = server.weights.remote()
    for step in range(num_steps):
        gradients = [worker.gradient.remote(weights, step) for worker in workers]
        weights = server.apply.remote(rate, *gradients)
        if step % ROUNDS_PER_EVALUATION == 0:
            ray.get(weights)
    result: NDArray[Any] = ray.get(weights)
    return result
