"""The peer: Ray's textbook parameter server, with nothing of Apportion in it.

This is the synchronous pattern of Ray's own parameter-server example. The driver asks every worker for the
gradient of one mini-batch at the current weights, hands the gradients' references to the server actor, which
stacks and sums them, and passes the reference of the new weights on to the next round. The driver waits for
the weights once every ``ROUNDS_PER_EVALUATION`` rounds, as that example does to evaluate the model.

The functions that measure expect that Ray is initialised, with a free CPU for each worker, and remove their
actors again. Nothing here is shared with the code that it is compared with, on purpose.
"""

import time
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

Vector = NDArray[np.float64]

LEARNING_RATE = 0.1
ROUNDS_PER_EVALUATION = 10
WARM_UP_ROUNDS = 200


@ray.remote(num_cpus=0)
class ParameterServer:
    """Holds the weights and applies the workers' gradients."""

    def __init__(self, num_parameters: int, learning_rate: float) -> None:
        self._weights: Vector = np.zeros(num_parameters)
        self._learning_rate = learning_rate

    def apply_gradients(self, *gradients: Vector) -> Vector:
        """Take one step along the mean of the gradients, and return the new weights."""
        mean = np.stack(gradients).sum(axis=0) / len(gradients)
        self._weights = self._weights - self._learning_rate * mean
        return self._weights

    def get_weights(self) -> Vector:
        """Return the current weights."""
        return self._weights


@ray.remote(num_cpus=1)
class GradientWorker:
    """Computes least-squares gradients on one mini-batch that it makes up itself."""

    def __init__(self, seed: int, rows: int, num_parameters: int) -> None:
        generator = np.random.default_rng(seed)
        self._features: Vector = generator.standard_normal((rows, num_parameters))
        self._targets: Vector = self._features @ generator.standard_normal(num_parameters)

    def compute_gradient(self, weights: Vector) -> Vector:
        """Return the gradient of half the mean squared error at `weights`."""
        residuals = self._features @ weights - self._targets
        gradient: Vector = self._features.T @ residuals / len(residuals)
        return gradient

    def ready(self) -> bool:
        """Answer as soon as the constructor has run."""
        return True


def milliseconds_per_round(num_rounds: int, num_workers: int = 2, num_parameters: int = 50, rows: int = 100) -> float:
    """Return the mean wall time of one round, in milliseconds.

    It is a mean, since rounds between two evaluations overlap and have no time of their own.

    Parameters
    ----------
    num_rounds
        Rounds that are timed, after ``WARM_UP_ROUNDS`` that are not.
    num_workers
        Worker actors, each with one CPU.
    num_parameters
        Columns of a mini-batch, and length of a gradient.
    rows
        Rows of a mini-batch.
    """
    server, workers = _start_actors(num_workers, num_parameters, rows)
    try:
        _run_rounds(server, workers, WARM_UP_ROUNDS)
        started_s = time.perf_counter()
        _run_rounds(server, workers, num_rounds)
        return (time.perf_counter() - started_s) / num_rounds * 1e3
    finally:
        _stop_actors(server, workers)


def startup_seconds(num_workers: int = 2, num_parameters: int = 50, rows: int = 100) -> float:
    """Return the seconds from asking for the server and its workers until all of them answer."""
    started_s = time.perf_counter()
    server, workers = _start_actors(num_workers, num_parameters, rows)
    elapsed_s = time.perf_counter() - started_s
    _stop_actors(server, workers)
    return elapsed_s


# An actor handle's methods are made when Ray decorates the class, where no type checker sees them: `Any`.
def _start_actors(num_workers: int, num_parameters: int, rows: int) -> tuple[Any, list[Any]]:
    """Start one server and its workers, and wait until all of them answer."""
    server_class: Any = ParameterServer
    worker_class: Any = GradientWorker
    server = server_class.remote(num_parameters, LEARNING_RATE)
    workers = [worker_class.remote(seed, rows, num_parameters) for seed in range(num_workers)]
    ray.get([server.get_weights.remote(), *(worker.ready.remote() for worker in workers)])
    return server, workers


def _run_rounds(server: Any, workers: list[Any], num_rounds: int) -> None:
    """Run the textbook loop, and wait for its last weights."""
    weights = server.get_weights.remote()
    for round_number in range(1, num_rounds + 1):
        gradients = [worker.compute_gradient.remote(weights) for worker in workers]
        weights = server.apply_gradients.remote(*gradients)
        if round_number % ROUNDS_PER_EVALUATION == 0:
            ray.get(weights)
    ray.get(weights)


def _stop_actors(server: Any, workers: list[Any]) -> None:
    """Kill the actors, so that their CPUs are free for the next measurement."""
    for actor in (server, *workers):
        ray.kill(actor)
