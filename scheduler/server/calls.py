"""Calls on their way between a parameter server and its workers."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray

from policies.interface import Call, Ints
from scheduler.run import INLINE_BYTES, BytesMoved, Seat
from workers.asynchronous_store import AsynchronousStore
from workers.environment import Environment
from workers.parameter_store import ParameterStore
from workers.problem import Problem
from workers.update import Message
from workers.wire import decode, encode
from workers.worker_state import CallResult

DEATHS = (
    ray.exceptions.RayActorError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.ActorUnschedulableError,
    ray.exceptions.ActorPlacementGroupRemoved,
)
"""What Ray raises where the actor that was called is gone, its answer is gone with its node, or its place is."""

OF_MEMORY = "running low on memory"

LOOK_UP_S = 0.1
"""How long to wait for an answer before looking whether something else has happened."""


def how_it_died(error: Exception) -> tuple[str, bool]:
    """Return in a few words why an actor is gone, and whether for want of memory: Ray tells it in many."""
    text = " ".join(str(error).split())
    if isinstance(error, ray.exceptions.OutOfMemoryError) or OF_MEMORY in text:
        return "Ray killed it, since its node was running low on memory", True
    if isinstance(error, ray.exceptions.ObjectLostError):
        return "its answer was lost with its node", False
    if "node" in text and "died" in text and "worker process" not in text:
        return "its node died", False
    detail = re.search(r"Worker exit detail: (\w[^.;]*)", text)
    return f"its process died{f' ({detail[1].strip()})' if detail else ''}", False


def sealed(blob: bytes) -> Any:
    """Return a blob as it is sent to workers: itself, or a reference to it in the object store."""
    return blob if len(blob) < INLINE_BYTES else ray.put(blob)


@dataclass(eq=False)
class Member:
    """A worker as its server knows it.

    Attributes
    ----------
    s_per_work
        As probed; NaN where nobody asked.
    told, queue
        The constants that it has, and the shards that it computes unless a call names others.
    shards, seen
        Those of this round, or of the last in which it was there, and all that it has been given.
    taken
        The reference of its first shards, until it has read them.
    pid, environment
        None until then.
    """

    seat: Seat
    s_per_work: float = np.nan
    told: Problem | None = None
    queue: Ints = field(default_factory=lambda: np.arange(0))
    shards: Ints = field(default_factory=lambda: np.arange(0))
    seen: set[int] = field(default_factory=set)
    busy_s: float = 0.0
    rows: float = 0.0
    taken: Any = None
    pid: int | None = None
    environment: Environment | None = None

    @property
    def rows_per_s(self) -> float:
        """What it has computed a second so far."""
        return self.rows / self.busy_s if self.busy_s else 0.0


@dataclass
class Moved:
    """Bytes moved so far, and in how many calls."""

    shards: int = 0
    parameters: int = 0
    updates: int = 0
    num_calls: int = 0

    def sum(self) -> BytesMoved:
        """Return them as they are reported."""
        return BytesMoved(self.shards, self.parameters, self.updates)


@dataclass(frozen=True)
class Answer:
    """A call's result, when the call was sent, what was moved for it, and whether it waited for its worker."""

    call: Call
    result: CallResult
    sent_s: float
    carried_bytes: int
    num_new: int
    waited: bool

    @property
    def num_bytes(self) -> int:
        """What was moved in all, shards too."""
        return self.carried_bytes + self.result.read_bytes

    def carried_s(self, now_s: float) -> float:
        """Return how long message and update took, if the answer is there now."""
        return now_s - self.sent_s - self.result.busy_s - self.result.read_s


@dataclass(frozen=True)
class Gone:
    """A worker that died at a call: its place, and what Ray says of it."""

    worker: int
    error: Exception


class Calls:
    """Sends calls to workers, with what they need to know, and takes their answers."""

    def __init__(
        self,
        team: Sequence[Member],
        store: ParameterStore | AsynchronousStore,
        moved: Moved,
        now_s: Callable[[], float],
        server_id: str,
    ) -> None:
        self._server_id = server_id
        self._team, self._store, self._moved, self._now_s = team, store, moved, now_s
        self._out: dict[Any, tuple[Call, float, int, bool]] = {}
        self._num_out: Counter[int] = Counter()  # by worker
        self._fetching: set[int] = set()
        self._problem: Problem | None = None
        self._encoded: Any = b""
        self._message: Message | None = None
        self._blob: Any = b""
        self._blob_bytes = 0
        self._there: set[str] = set()  # nodes that have the blob in their store

    def send(self, calls: tuple[Call, ...]) -> None:
        """Send the store's message to the workers of ``calls``, and the problem and shards where new to them."""
        if not calls:
            return
        problem = self._store.training.problem
        if problem is not self._problem:
            self._problem, self._encoded = problem, sealed(encode(problem))
        self._moved.num_calls += len(calls)
        sent_s = self._now_s()
        for call in calls:
            member = self._team[call.worker]
            self._encode(self._store.message_for(member.seat.name))
            self._moved.parameters += self._travelling_bytes(member.seat.node)
            news = None if member.told is problem else self._encoded
            shards = None if np.array_equal(member.queue, call.shards) else call.shards
            member.told, member.queue = problem, call.shards
            num_seen = len(member.seen)
            member.seen.update(call.shards.tolist())
            reference = member.seat.worker.run.remote(self._server_id, self._blob, news, shards)
            waits = member.taken is not None or self._num_out[call.worker] > 0 or call.worker in self._fetching
            self._fetching.discard(call.worker)
            self._num_out[call.worker] += 1
            self._out[reference] = (call, sent_s, len(member.seen) - num_seen, waits)

    def _encode(self, message: Message) -> None:
        """Encode a message, once for all workers that are told the same."""
        if message is not self._message:
            blob = encode(message)
            self._message, self._blob, self._blob_bytes = message, sealed(blob), len(blob)
            self._there.clear()

    def _travelling_bytes(self, node: str) -> int:
        """Return what of the message is sent with a call: what lies in the object store goes to a node once."""
        if node in self._there:
            return 0
        if not isinstance(self._blob, bytes):
            self._there.add(node)
        return self._blob_bytes

    def fetch(self, calls: Sequence[Call]) -> None:
        """Let workers read shards that they are likely to want in the next round."""
        for call in calls:
            self._fetching.add(call.worker)
            self._team[call.worker].seat.worker.fetch.remote(self._server_id, call.shards.tolist())

    def forget(self, worker: int) -> None:
        """Wait no longer for the answers of a worker."""
        for reference in [reference for reference, (call, *_) in self._out.items() if call.worker == worker]:
            del self._out[reference]
        self._num_out[worker] = 0

    def under_way(self) -> dict[int, int]:
        """Return how many shards each worker, by its process id, has been sent and not answered; from any thread."""
        found: Counter[int] = Counter()
        for call, *_ in list(self._out.values()):
            if (pid := self._team[call.worker].pid) is not None:
                found[pid] += len(call.shards)
        return dict(found)

    def next_answer(self, within_s: float) -> Answer | Gone | None:
        """Return the next answer, None if there is none for a while, at most ``LOOK_UP_S``."""
        timeout_s = min(max(within_s, 0.0), LOOK_UP_S)
        if not self._out:
            time.sleep(timeout_s)
            return None
        ready = ray.wait(list(self._out), num_returns=1, timeout=timeout_s)[0]
        if not ready:
            return None
        done = ready[0]
        try:
            blob = ray.get(done)
        except DEATHS as error:
            return Gone(self._out[done][0].worker, error)
        call, sent_s, num_new, waited = self._out.pop(done)
        result: CallResult = decode(blob)
        self._moved.updates += len(blob)
        self._moved.shards += result.read_bytes
        self._team[call.worker].busy_s += result.busy_s
        self._num_out[call.worker] -= 1
        return Answer(call, result, sent_s, self._blob_bytes + len(blob), num_new, waited)
