"""The worker as a Ray actor: a thin shell around ``WorkerState``."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from threadpoolctl import threadpool_limits

from workers.data.shard import DataSet
from workers.environment import Environment, environment
from workers.problem import Problem
from workers.wire import decode, encode
from workers.worker_state import WorkerState, probe


@dataclass(frozen=True)
class Beating:
    """How a worker gives signs of life: to which server (the actor's ``beat``, and its id), and how often."""

    server: Any
    server_id: str
    every_s: float = 1.0


class SgdWorker:
    """One SGD process: computes the calls of a parameter server on the shards that it is given, job after job.

    BLAS is held to one thread: the last bits of a matrix product depend on the number of threads.
    """

    def __init__(self, job: str, index: int, memory_bytes: float) -> None:
        self._limits = threadpool_limits(limits=1)
        self._job, self._name = job, f"worker-{index}"
        self._memory_bytes = memory_bytes
        self._run = self._server_id = ""
        self._state: WorkerState
        self._resting = threading.Event()

    def __repr__(self) -> str:
        """Say what the dashboard is to show."""
        node = ray.get_runtime_context().get_node_id()[:8]
        memory = f"up to {self._memory_bytes / 2**20:,.0f} MiB of shards"
        return f"SgdWorker({self._job}, {self._name} on node {node}, {memory})"

    def probe(self, problem: Problem, work: float) -> float:
        """Return seconds per row of the job's own objective; there is ``work`` (rows) to be done here."""
        return probe(problem, work, time.perf_counter)

    def take(
        self, data: DataSet | bytes, shards: Sequence[int], run: str, beating: Beating
    ) -> tuple[int, int, Environment]:
        """Begin a job's ``run``, or go on with it for another server: read the worker's shards, and beat from then on.

        Returns the bytes read, the process id, and what computes here.
        """
        if run != self._run or not run:
            known = decode(data) if isinstance(data, bytes) else data
            self._state, self._run = WorkerState(self._name, known, self._memory_bytes, time.perf_counter), run
        self._server_id = beating.server_id
        self._beat(beating)
        return self._state.prepare(shards), os.getpid(), environment()

    def _beat(self, beating: Beating) -> None:
        """Give signs of life to this server, and to no other any more."""
        self._resting.set()
        resting = self._resting = threading.Event()
        me = ray.get_runtime_context().get_actor_id()

        def beat() -> None:
            num_reads = 0
            while not resting.wait(beating.every_s):
                num_reads += self._state.is_reading  # nobody knows how long that may take
                beating.server.beat.remote(me, self._state.num_done + num_reads)

        threading.Thread(target=beat, name="beating", daemon=True).start()

    def fetch(self, server_id: str, shards: Sequence[int]) -> None:
        """Read shards that the next round is likely to want here."""
        if server_id == self._server_id:
            self._state.fetch(shards)

    def run(self, server_id: str, message: bytes, problem: bytes | None, shards: Sequence[int] | None) -> bytes:
        """Compute shards for an encoded ``Message``, and return the encoded ``CallResult``.

        ``problem`` has the job's constants, an encoded ``Problem``, where they are new to this worker; ``shards`` are
        the call's, where they are others than in the call before.

        Raises
        ------
        RuntimeError
            If another server has taken over: what was left out of its calls would be this one's.
        """
        if server_id != self._server_id:
            raise RuntimeError(f"{self._name} works for server {self._server_id}, not for {server_id} any more")
        if problem is not None:
            self._state.configure(decode(problem))
        return encode(self._state.run(decode(message), shards))
