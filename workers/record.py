"""The record of an asynchronous run: which updates were applied, in which order, and what each was computed on.

Source of the idea: record and replay as in LeBlanc, Mellor-Crummey, Debugging Parallel Programs with Instant Replay
(IEEE Transactions on Computers 1987): keep the order of what raced, and compute everything else again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workers.exact_sum import Floats
from workers.outcome import RoundReport
from workers.training import Training


@dataclass(frozen=True)
class RecordedCall:
    """A call that was applied.

    Attributes
    ----------
    read
        How many updates the parameters held that it was computed on.
    round
        The round in the key (seed, round, shard) of its random streams.
    shards
        Ascending.
    """

    worker: str
    read: int
    round: int
    shards: tuple[int, ...]


Update = tuple[RecordedCall, ...]
"""The calls whose sums were applied together."""


@dataclass(frozen=True)
class Record:
    """All updates of a run's solver in their order, and why it stopped."""

    updates: tuple[Update, ...]
    reason: str


@dataclass(frozen=True)
class Staleness:
    """How late the updates were.

    Attributes
    ----------
    histogram
        Updates that were applied between reading and applying -> how many calls were so late.
    clocks
        The most clocks that the worker of an update was behind another.
    bound
        How many it may be; None where the mode has no bound.
    num_dropped
        Calls that came too late to be applied, or from workers that had left.
    """

    histogram: Mapping[int, int] = field(default_factory=dict)
    clocks: int = 0
    bound: int | None = None
    num_dropped: int = 0

    @property
    def max(self) -> int:
        """The largest."""
        return max(self.histogram, default=0)

    @property
    def mean(self) -> float:
        """The mean over all calls that were applied."""
        num = sum(self.histogram.values())
        return sum(late * count for late, count in self.histogram.items()) / num if num else 0.0

    @property
    def bound_held(self) -> bool:
        """Whether no update was later than the mode allows."""
        return self.bound is None or self.clocks <= self.bound

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "max": self.max,
            "mean": self.mean,
            "histogram": {str(late): num for late, num in self.histogram.items()},
            "clocks": self.clocks,
            "bound": self.bound,
            "bound_held": self.bound_held,
            "num_dropped": self.num_dropped,
        }


class Applied:
    """Applies updates to a training one after the other, and keeps the record: in a run and in its replay.

    Attributes
    ----------
    updates
        Those that were applied.
    num_late
        Staleness -> calls that were applied with it.
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        self.updates: list[Update] = []
        self.num_late: Counter[int] = Counter()
        self._num_applied = 0

    @property
    def version(self) -> int:
        """How many updates the parameters hold."""
        return len(self.updates)

    def snapshot(self) -> dict[str, Any]:
        """Return all that was applied, as plain values and arrays."""
        calls = [(number, call) for number, update in enumerate(self.updates) for call in update]
        workers = list(dict.fromkeys(call.worker for _, call in calls))
        shards = list(dict.fromkeys(call.shards for _, call in calls))
        places = {one: place for place, one in enumerate(workers)}, {one: place for place, one in enumerate(shards)}
        rows = [
            (number, places[0][call.worker], call.read, call.round, places[1][call.shards]) for number, call in calls
        ]
        return {
            "workers": workers,
            "shards": shards,
            "calls": np.array(rows, dtype=np.int64).reshape(len(rows), 5),
            "num_updates": len(self.updates),
            "num_late": sorted(self.num_late.items()),
            "num_applied": self._num_applied,
        }

    def resume(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot; that of the training is taken up apart."""
        shards = [tuple(map(int, one)) for one in snapshot["shards"]]
        updates: list[list[RecordedCall]] = [[] for _ in range(snapshot["num_updates"])]
        for number, worker, read, round_, place in snapshot["calls"].tolist():
            updates[number].append(RecordedCall(snapshot["workers"][worker], read, round_, shards[place]))
        self.updates += map(tuple, updates)
        self.num_late.update({int(late): int(num) for late, num in snapshot["num_late"]})
        self._num_applied = int(snapshot["num_applied"])

    def apply(self, update: Update, totals: Sequence[Floats], weight: float) -> RoundReport | None:
        """Apply the plain sums of an update's calls, in their order, and return the report of a round that it ends.

        A round ends with every update where the mode commits rounds; else once as many shards as the job has were
        applied since the last.

        Parameters
        ----------
        weight
            Of the training rows of all shards of the update.

        Raises
        ------
        DivergedError
            If the training left the finite numbers.
        """
        training = self.training
        mode, problem = training.problem.options.mode, training.problem
        late = [self.version - call.read for call in update]
        self.num_late.update(late)
        self.updates.append(update)
        part = weight / problem.weight
        self._num_applied += sum(len(call.shards) for call in update)
        ends_round = mode.commits_rounds or self._num_applied >= problem.num_shards
        if ends_round:
            self._num_applied = 0 if mode.commits_rounds else self._num_applied - problem.num_shards
        total = totals[0].copy()
        for more in totals[1:]:
            total += more
        return training.advance_part(total, part, mode.pace(part, max(late)), ends_round)
