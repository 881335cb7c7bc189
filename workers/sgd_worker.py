"""The worker as a Ray actor: a thin shell around ``WorkerState``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import ray
from threadpoolctl import threadpool_limits

from workers.data.shard import DataSet
from workers.problem import Problem
from workers.wire import decode, encode
from workers.worker_state import WorkerState


class SgdWorker:
    """One SGD process: computes the calls of a parameter server on the shards that it is given.

    BLAS is held to one thread: the last bits of a matrix product depend on the number of threads.
    """

    def __init__(self, job: str, index: int, data: DataSet, memory_bytes: float) -> None:
        self._limits = threadpool_limits(limits=1)
        self._job = job
        self._memory = f"up to {memory_bytes / 2**20:,.0f} MiB of shards"
        self._state = WorkerState(f"worker-{index}", data, memory_bytes, time.perf_counter)

    def __repr__(self) -> str:
        """Say what the dashboard is to show."""
        node = ray.get_runtime_context().get_node_id()[:8]
        return f"SgdWorker({self._job}, {self._state.name} on node {node}, {self._memory})"

    def probe(self, problem: Problem) -> tuple[float, int]:
        """Return seconds per row of the job's own objective, and the process id."""
        return self._state.probe(problem), os.getpid()

    def prepare(self, shards: Sequence[int]) -> int:
        """Read the worker's shards, and return the bytes that were read."""
        return self._state.prepare(shards)

    def configure(self, problem: Problem) -> None:
        """Take the job's constants."""
        self._state.configure(problem)

    def run(self, message: bytes) -> bytes:
        """Compute the queue for an encoded ``Message``, and return the encoded ``CallResult``."""
        return encode(self._state.run(decode(message)))
