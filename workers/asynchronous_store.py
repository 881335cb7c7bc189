"""The parameter store of the asynchronous modes: every update is applied when it comes, and recorded.

Pure: no Ray, no clock. A worker pulls before it computes and offers what it computed; what it read, when it may go on
and how late it is are known here. Stages before and after the solver's are a ``ParameterStore``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from workers.clocks import Clocks
from workers.errors import CorruptionError, bad_update, listed
from workers.exact_sum import Floats, Ints
from workers.fingerprint import fingerprint
from workers.outcome import RoundReport
from workers.parameter_store import ParameterStore, Verdict
from workers.record import Applied, Record, RecordedCall, Staleness
from workers.training import Training
from workers.update import CallSums, Message, blocks_of


@dataclass(frozen=True)
class Offered:
    """What became of an update, and the report of a round that it ended."""

    verdict: Verdict
    report: RoundReport | None = None


class AsynchronousStore:
    """The versions of one job's parameters, and the workers that read them.

    Attributes
    ----------
    synchronous
        The store of the present synchronous stage; there is another one after the solver's.
    is_open
        Whether the solver's stage is on: ``pull`` and ``offer`` are for it, and for nothing else.
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        self.mode = training.problem.options.mode
        self.synchronous = ParameterStore(training)
        self.is_open = False
        self._applied = Applied(training)
        self._clocks = Clocks(self.mode)
        self._num_messages = 0
        self._under_way: dict[str, tuple[Message, RecordedCall]] = {}
        self._last: dict[str, tuple[int, int]] = {}  # version and fingerprint of what was accepted
        self._known: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._gathered: dict[str, tuple[RecordedCall, Floats, float]] = {}
        self._most_clocks = 0
        self._num_dropped = 0

    @property
    def version(self) -> int:
        """How many updates the parameters hold."""
        return self._applied.version

    @property
    def workers(self) -> tuple[str, ...]:
        """Who is there."""
        return tuple(self._clocks.workers)

    @property
    def staleness(self) -> Staleness:
        """How late the updates were so far."""
        histogram = dict(sorted(self._applied.num_late.items()))
        return Staleness(histogram, self._most_clocks, self.mode.bound, self._num_dropped)

    def record(self) -> Record:
        """Return all that was applied; training has its outcome.

        Raises
        ------
        RuntimeError
            If training goes on.
        """
        if self.training.outcome is None:
            raise RuntimeError("the record is whole once training has its outcome")
        return Record(tuple(self._applied.updates), self.training.outcome.reason)

    def snapshot(self) -> dict[str, Any]:
        """Return what another store needs to go on from here; what is under way is computed again."""
        return {
            "synchronous": self.synchronous.snapshot(),
            "is_open": self.is_open,
            "version": self._num_messages,
            "applied": self._applied.snapshot(),
            "clocks": self._most_clocks,
            "num_dropped": self._num_dropped,
        }

    @staticmethod
    def resumed(training: Training, snapshot: Mapping[str, Any]) -> AsynchronousStore:
        """Return a store that goes on from a snapshot, for a training that does."""
        store = AsynchronousStore(training)
        store.synchronous = ParameterStore(training, **snapshot["synchronous"])
        store._applied.resume(snapshot["applied"])
        store._most_clocks, store._num_dropped = int(snapshot["clocks"]), int(snapshot["num_dropped"])
        if snapshot["is_open"]:
            store.open()
            store._num_messages = int(snapshot["version"])
        return store

    def open(self) -> None:
        """Begin the solver's stage; its messages are numbered on from those before."""
        if not self.training.is_asynchronous:
            raise RuntimeError(f"stage {self.training.stage} is synchronous")
        self.is_open = True
        self._num_messages = self.synchronous.message.version
        self._clocks = Clocks(self.mode, self.training.state.round)
        self._size = blocks_of(self.training.problem, self.training.stage, self.training.payload())[1]

    def _close(self) -> None:
        self.is_open = False
        self._under_way.clear()
        self._gathered.clear()
        self.synchronous = ParameterStore(self.training, self._num_messages)

    def begin_again(self) -> None:
        """Forget what is under way in the solver's stage: answers to it will be stale. What is in of a round stays."""
        self._num_dropped += len(self._under_way)
        self._under_way.clear()

    def come(self, worker: str) -> None:
        """Let a worker in; it begins with the clock of the slowest. Nothing happens if it is there."""
        self._clocks.come(worker)

    def leave(self, worker: str) -> RoundReport | None:
        """Forget a worker and what it has under way; return the report of a round that waited for it alone."""
        self._clocks.leave(worker)
        self._num_dropped += self._under_way.pop(worker, None) is not None
        return self._commit() if self._gathered else None

    def may_pull(self, worker: str) -> bool:
        """Say whether a worker may begin a call: it is there, has none under way, and need not wait for others."""
        busy = worker in self._under_way or worker in self._gathered
        return self.is_open and not busy and self._clocks.may_begin(worker)

    def pull(self, worker: str, shards: Ints) -> Message:
        """Let a worker begin a call over ``shards``, and return the newest parameters for it.

        Raises
        ------
        RuntimeError
            If it may not.
        """
        if not self.may_pull(worker):
            raise RuntimeError(f"{worker} may not begin a call now")
        training = self.training
        round_ = training.state.round if self.mode.commits_rounds else self._clocks[worker]
        self._clocks.begin(worker)
        self._num_messages += 1
        message = Message(self._num_messages, training.stage, round_, training.payload(), None, plain=True)
        chosen = tuple(sorted(shards.tolist()))
        chosen = self._known.setdefault(chosen, chosen)  # calls are many, and share what they have in common
        call = RecordedCall(worker, self.version, round_, chosen)
        self._under_way[worker] = message, call
        return message

    def message_for(self, worker: str) -> Message:
        """Return what a worker is to be told: what it has pulled, or the message of a synchronous stage."""
        return self._under_way[worker][0] if self.is_open else self.synchronous.message

    def offer(self, worker: str, version: int, shards: Ints, sums: CallSums) -> Offered:
        """Take the sums of a call over ``shards``, computed on the message of ``version``, and apply what is due.

        Raises
        ------
        BadUpdateError
            If the sums have another length or type than this stage's, are not finite, or are over other shards than
            were pulled for.
        CorruptionError
            If they are not those that were accepted from the worker for this message before.
        DivergedError
            If the training left the finite numbers.
        """
        message, call = self._under_way.get(worker, (None, None))
        if message is None or call is None or message.version != version:
            return Offered(self._late(worker, version, shards, sums))
        plain = self._checked(worker, call, shards, sums)
        del self._under_way[worker]
        behind = self._clocks.finish(worker)
        if self.mode.commits_rounds:
            if call.read != self.version:
                self._num_dropped += 1
                return Offered(Verdict.STALE)
            behind = 0
        self._most_clocks = max(self._most_clocks, behind)
        self._last[worker] = version, fingerprint(plain.view(np.int64))
        self._gathered[worker] = call, plain, sums.weight
        return Offered(Verdict.ACCEPTED, self._commit())

    def _checked(self, worker: str, call: RecordedCall, shards: Ints, sums: CallSums) -> Floats:
        """Return the plain sums of an update that is as it should be."""
        if tuple(sorted(shards.tolist())) != call.shards:
            raise bad_update(worker, shards, f"it was to compute {list(call.shards)}")
        if sums.plain is None or sums.plain.shape != (self._size,) or sums.plain.dtype != np.float64:
            raise bad_update(worker, shards, f"expected plain sums of shape ({self._size},), of type float64")
        if not (np.isfinite(sums.plain).all() and np.isfinite(sums.weight)):
            raise bad_update(worker, shards, "the sums are not finite")
        return np.ascontiguousarray(sums.plain)

    def _late(self, worker: str, version: int, shards: Ints, sums: CallSums) -> Verdict:
        """Say what an answer is that nobody waits for: an old one, or one that comes twice with the same content."""
        known_version, known = self._last.get(worker, (None, 0))
        if known_version != version:
            return Verdict.STALE
        if sums.plain is None or fingerprint(np.ascontiguousarray(sums.plain).view(np.int64)) != known:
            raise CorruptionError(
                f"{self.training.stage}: an answer of worker {worker} for shards {listed(shards)} came twice, with "
                "different content; look for bad memory or a bad connection on its node, and leave it out"
            )
        return Verdict.DUPLICATE

    def _commit(self) -> RoundReport | None:
        """Apply what has been gathered, if that is enough."""
        if len(self._gathered) < self.mode.num_awaited(len(self._clocks)):
            return None
        calls, totals, weights = zip(*self._gathered.values(), strict=True)
        self._gathered.clear()
        report = self._applied.apply(calls, totals, sum(weights))
        if not self.training.is_asynchronous:
            self._close()
        return report
