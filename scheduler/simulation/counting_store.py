"""A parameter store for simulations. Pure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from policies.interface import Ints
from scheduler.simulation.workload import Learning
from workers.outcome import RoundReport
from workers.parameter_store import Commit, Verdict
from workers.update import CallSums


class CountingStore:
    """A parameter store that keeps no parameters: it counts shards and rounds, as the real one does.

    Attributes
    ----------
    num_committed
        Rounds so far.
    """

    def __init__(self, learning: Learning) -> None:
        self._rounds = learning.rounds
        self._arrived = np.zeros(len(learning.shards), dtype=bool)
        self.num_committed = 0
        self.training: Any = SimpleNamespace(outcome=None)
        self.message: Any = SimpleNamespace(version=0, stage="")

    @property
    def complete(self) -> bool:
        """Whether every shard is in."""
        return bool(self._arrived.all())

    @property
    def num_missing(self) -> int:
        """How many shards are not in yet."""
        return len(self._arrived) - int(np.count_nonzero(self._arrived))

    @property
    def missing(self) -> Ints:
        """Shards that are not in yet, ascending."""
        return np.flatnonzero(~self._arrived)

    def offer(self, version: int, shards: Ints, sums: CallSums, worker: str = "") -> Verdict:
        """Note that shards are in."""
        del sums, worker
        if version != self.message.version:
            return Verdict.STALE
        arrived = self._arrived[shards]
        if arrived.any():
            return Verdict.DUPLICATE if arrived.all() else Verdict.OVERLAPPING
        self._arrived[shards] = True
        return Verdict.ACCEPTED

    def commit(self) -> Commit:
        """Close the round."""
        self.num_committed += 1
        self.begin_again()
        if self.num_committed >= self._rounds:
            self.training.outcome = "all rounds are over"
        return Commit(RoundReport("simulated", self.num_committed, None))

    def begin_again(self) -> None:
        """Forget what is in of this round; what is under way is stale."""
        self._arrived[:] = False
        self.message.version += 1
