"""What a worker does, without Ray: keeps shards, answers calls, measures itself.

Nothing that matters lives here: the shards are a cache, and a call's answer depends on its arguments alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from workers.data.rows import Rows
from workers.data.shard import DataSet, Shard
from workers.errors import DataError
from workers.exact_sum import Floats, Ints, NonFiniteError
from workers.problem import Problem
from workers.update import CallSums, Message, call_update

PROBE_ROWS, PROBE_VALUES = 2048, 1 << 20
PROBE_SECONDS, LONGEST_PROBE_SECONDS = 0.02, 0.5
PROBE_PART = 0.03


@dataclass(frozen=True)
class CallResult:
    """A worker's answer to a call.

    Attributes
    ----------
    sums
        None if an update was not finite; ``failure`` says which.
    busy_s
        Seconds of computing.
    read_bytes, read_s
        Of the shards that were read before, or fetched ahead since the last call, and in how many seconds.
    """

    version: int
    sums: CallSums | None
    busy_s: float
    failure: str | None = None
    read_bytes: int = 0
    read_s: float = 0.0


class WorkerState:
    """One worker's cache of shards and its answers.

    Parameters
    ----------
    memory_bytes
        The hard limit of resident shard bytes: the memory of the worker's bundle.
    clock
        Returns seconds; injected, so that tests decide what time it is.

    Attributes
    ----------
    num_done
        How many shards were computed so far.
    is_reading
        Whether shards are being read just now.
    """

    def __init__(self, name: str, data: DataSet, memory_bytes: float, clock: Callable[[], float]) -> None:
        self.name = name
        self.data = data
        self.memory_bytes = memory_bytes
        self._clock = clock
        self._problem: Problem | None = None
        self._cache: dict[int, Shard] = {}
        self.queue: Ints = np.arange(0)
        self._held: dict[int, Floats] = {}
        self._held_for: tuple[str, int] | None = None
        self._work, self._nbytes = data.work, data.nbytes
        self._fetched_bytes, self._fetched_s = 0, 0.0
        self.rows_done = self.num_done = 0
        self.is_reading = False
        self.busy_s = 0.0

    @property
    def resident_bytes(self) -> int:
        """Bytes of the shards in the cache."""
        return sum(shard.nbytes for shard in self._cache.values())

    def configure(self, problem: Problem) -> None:
        """Take the job's constants; they change between stages only."""
        self._problem = problem

    def prepare(self, shards: Sequence[int]) -> int:
        """Make ``shards`` the queue, read those that are not in the cache, and return the bytes that were read.

        Others stay in the cache while there is room, those that were used last first.

        Raises
        ------
        DataError
            If they do not fit into the worker's memory, or cannot be read.
        """
        wanted = sorted({int(shard) for shard in shards})
        need = int(self._nbytes[wanted].sum())
        if need > self.memory_bytes:
            raise DataError(
                f"worker {self.name}: {need:,} bytes of shards do not fit into its {self.memory_bytes:,.0f} bytes"
            )
        here = {shard: self._cache.pop(shard) for shard in wanted if shard in self._cache}
        room = self.memory_bytes - need
        for shard in reversed(list(self._cache)):
            if self._nbytes[shard] <= room:
                room -= self._nbytes[shard]
            else:
                del self._cache[shard]
        loaded = self._read([shard for shard in wanted if shard not in here])
        self._cache |= here | {shard.index: shard for shard in loaded}
        self.queue = np.array(wanted, dtype=np.int64)
        return sum(shard.nbytes for shard in loaded)

    def _read(self, shards: list[int]) -> list[Shard]:
        self.is_reading = True
        try:
            return self.data.load(shards)
        finally:
            self.is_reading = False

    def fetch(self, shards: Sequence[int]) -> None:
        """Read shards ahead of a call that is likely to want them, as far as there is room beside what is here.

        Raises
        ------
        DataError
            If they cannot be read.
        """
        room = self.memory_bytes - self.resident_bytes
        wanted = []
        for shard in map(int, shards):
            if shard not in self._cache and self._nbytes[shard] <= room:
                room -= self._nbytes[shard]
                wanted.append(shard)
        began = self._clock()
        for read in self._read(wanted):
            self._cache[read.index] = read
            self._fetched_bytes += read.nbytes
        self._fetched_s += self._clock() - began

    def run(self, message: Message, shards: Sequence[int] | None = None) -> CallResult:
        """Compute and add up the updates of ``shards``, or without them of the queue.

        Raises
        ------
        DataError
            If the shards do not fit into the worker's memory, or cannot be read.
        """
        if self._problem is None:
            raise RuntimeError("configure() comes before run()")
        read_bytes, read_s = self._fetched_bytes, self._fetched_s
        self._fetched_bytes, self._fetched_s = 0, 0.0
        if shards is not None:
            began = self._clock()
            read_bytes += self.prepare(shards)
            read_s += self._clock() - began
        start = self._clock()
        if self._held_for != (message.stage, message.round):
            self._held.clear()
            self._held_for = (message.stage, message.round)
        chosen = self.queue.tolist()
        sums, failure = None, None
        try:
            sums = call_update(self._problem, message, self._each(chosen), self._held)
        except NonFiniteError as error:
            failure = str(error)
        busy = self._clock() - start
        self.busy_s += busy
        self.rows_done += int(self._work[chosen].sum())
        return CallResult(message.version, sums, busy, failure, read_bytes, read_s)

    def _each(self, shards: list[int]) -> Iterator[Shard]:
        for shard in shards:
            yield self._cache[shard]
            self.num_done += 1


def probe(problem: Problem, work: float, clock: Callable[[], float]) -> float:
    """Return seconds per row for gradients of the job's own objective, from a short run on random rows.

    A node that is held to a part of a processor shows it only after a while: the more there is to do, the longer the
    probe, up to ``PROBE_PART`` of what ``work`` (rows) would take.
    """
    random = np.random.default_rng(0)
    num_rows = max(1, min(PROBE_ROWS, PROBE_VALUES // problem.num_features))
    rows = Rows(random.standard_normal((num_rows, problem.num_features)), np.zeros(num_rows))
    parameters = problem.start()
    problem.gradient(parameters, rows)  # the first run pays for imports and page faults
    start, done, elapsed, enough = clock(), 0, 0.0, PROBE_SECONDS
    while elapsed < enough or not done:
        problem.gradient(parameters, rows)
        done += num_rows
        elapsed = clock() - start
        enough = min(max(PROBE_PART * elapsed / done * work, PROBE_SECONDS), LONGEST_PROBE_SECONDS)
    return elapsed / done
