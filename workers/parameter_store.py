"""The parameter store: takes keyed updates in any order, commits a round once every shard is in.

Pure: no Ray, no clock. An update is keyed by the message's version and its shards, so offering it twice
changes nothing; a call is accepted whole or not at all, so no shard is ever counted twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.errors import CorruptionError, bad_update, listed
from workers.exact_sum import Ints, Peaks, Scale
from workers.fingerprint import AcceptedCalls
from workers.outcome import RoundReport
from workers.training import Training
from workers.update import CallSums, Message, blocks_of

Bools = NDArray[np.bool_]


class Verdict(Enum):
    """What became of an update."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    OVERLAPPING = "overlapping"
    STALE = "stale"


@dataclass(frozen=True)
class Commit:
    """A finished attempt: ``report`` is None if the round must be repeated on another scale."""

    report: RoundReport | None


class ParameterStore:
    """The versions of one job's parameters.

    Attributes
    ----------
    message
        What workers are to be told now; a new one after every commit.

    Parameters
    ----------
    version
        Of the last message before this store's.
    peaks
        Of the last round of each kind, as another store's ``snapshot`` has them: they decide on the scale.
    """

    def __init__(self, training: Training, version: int = 0, peaks: Sequence[tuple[Sequence[str], Peaks]] = ()) -> None:
        self.training = training
        self._version = version
        self._peaks_of_last: dict[tuple[str, ...], Peaks] = {tuple(kind): known for kind, known in peaks}
        self.message = self._open()

    def snapshot(self) -> dict[str, Any]:
        """Return with which ``version`` and ``peaks`` another store opens the present round as this one has."""
        return {"version": self._version - 1, "peaks": [(kind, known) for kind, known in self._peaks_of_last.items()]}

    def _open(self) -> Message:
        training = self.training
        payload = training.payload()
        self._starts, self._size = blocks_of(training.problem, training.stage, payload)
        self._kind = (training.stage, *sorted(payload))  # a stage may sum different things in turn
        known = self._peaks_of_last.get(self._kind)
        num_shards = training.problem.num_shards
        scale = None if known is None else Scale.fitting(known, self._starts, self._size, num_shards)
        apart = training.keeps_apart
        self._total: Ints = np.zeros(self._size, dtype=np.int64)
        self._apart = np.zeros((num_shards, self._size)) if apart else None
        self._peaks: Peaks | None = None
        self._overflowed = False
        self._arrived = np.zeros(num_shards, dtype=bool)
        self._accepted = AcceptedCalls(num_shards)
        self._version += 1
        return Message(self._version, training.stage, training.state.round, payload, scale, apart)

    def message_for(self, worker: str) -> Message:
        """Return what a worker is to be told: the same as all others."""
        del worker
        return self.message

    @property
    def num_missing(self) -> int:
        """How many shards are not in yet."""
        return len(self._arrived) - int(np.count_nonzero(self._arrived))

    @property
    def missing(self) -> Ints:
        """Shards that are not in yet, ascending."""
        return np.flatnonzero(~self._arrived)

    @property
    def complete(self) -> bool:
        """Whether every shard is in."""
        return bool(self._arrived.all())

    def offer(self, version: int, shards: Ints, sums: CallSums, worker: str = "") -> Verdict:
        """Take the sums of a call of ``worker`` over ``shards``, computed on message ``version``.

        Raises
        ------
        BadUpdateError
            If the sums have another length or type than this round's, or are not finite, or the shards are none,
            unknown or named twice.
        CorruptionError
            If they are not those that were accepted for the same shards before.
        """
        if version != self._version:
            return Verdict.STALE
        found = self._fault(shards, sums)
        if found is not None:
            raise bad_update(worker, shards, found)
        arrived = self._arrived[shards]
        if arrived.any():
            self._compare(shards, arrived, sums, worker)
            return Verdict.DUPLICATE if arrived.all() else Verdict.OVERLAPPING
        self._arrived[shards] = True
        self._accepted.add(worker, shards, sums)
        self._peaks = sums.peaks if self._peaks is None else np.maximum(self._peaks, sums.peaks)
        if self._apart is not None and sums.apart is not None:
            self._apart[shards] = sums.apart
        elif sums.total is None:
            self._overflowed = True
        else:
            self._total += sums.total
        return Verdict.ACCEPTED

    def _fault(self, shards: Ints, sums: CallSums) -> str | None:
        """Return what is wrong with an update, if anything is."""
        if len(np.unique(shards)) != len(shards):
            return "a call names a shard twice"
        if not len(shards) or shards.min() < 0 or shards.max() >= len(self._arrived):
            return f"expected some of 0..{len(self._arrived) - 1}"
        return self._fault_of_sums(shards, sums)

    def _fault_of_sums(self, shards: Ints, sums: CallSums) -> str | None:
        if (sums.apart is None) != (self._apart is None):
            return "updates must come apart where the message asks for it, and only there"
        size = self._size
        expected = [("peaks", sums.peaks, self._starts.shape, np.int16), ("sums", sums.total, (size,), np.int64)]
        for what, values, shape, kind in [*expected, ("updates", sums.apart, (len(shards), size), np.float64)]:
            if values is not None and values.shape != shape:
                return f"{what} of shape {values.shape}, expected {shape}"
            if values is not None and values.dtype != kind:
                return f"{what} of type {values.dtype}, expected {np.dtype(kind)}"
        if sums.apart is not None and not np.isfinite(sums.apart).all():
            rows = ~np.isfinite(sums.apart).all(axis=1)
            return f"the updates of shards {listed(shards[rows])} are not finite"
        return None

    def _compare(self, shards: Ints, arrived: Bools, sums: CallSums, worker: str) -> None:
        """Raise ``CorruptionError`` if something is in for these shards and differs, as far as that can be known."""
        if self._apart is not None and sums.apart is not None:
            rows = arrived & (self._apart[shards] != sums.apart).any(axis=1)
            wrong = shards[rows]
        else:
            wrong = shards if arrived.all() and self._accepted.differ(shards, sums) else shards[:0]
        if not len(wrong):
            return
        others = ", ".join(self._accepted.workers(wrong))
        training = self.training
        raise CorruptionError(
            f"{training.stage}, round {training.state.round + 1}: what worker {worker} computed for shards "
            f"{listed(wrong)} differs from what worker {others} computed for them, and must be the same to the last "
            "bit; look for bad memory, or for another version of a library, on one of the two nodes, and leave it out"
        )

    def commit(self) -> Commit:
        """Close the attempt: advance the training, or open the round again on the scale that fits.

        Raises
        ------
        RuntimeError
            If shards are missing.
        DivergedError
            If the training left the finite numbers.
        """
        if not self.complete or self._peaks is None:
            raise RuntimeError(f"shards {self.missing.tolist()} are missing")
        self._peaks_of_last[self._kind] = self._peaks
        report = None
        if self._apart is not None:
            report = self.training.advance(self.training.total_of(self._apart))
        else:
            scale = None if self._overflowed else self.message.scale
            if scale is not None and scale.resolves(self._peaks):
                report = self.training.advance(scale.restore(self._total))
        if self.training.outcome is None:
            self.message = self._open()
        return Commit(report)
