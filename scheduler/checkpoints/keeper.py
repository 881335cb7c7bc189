"""Keeps a run's checkpoints, writing them in the background, and finds the last good one.

How often is a matter of cost alone, since a run that goes on from any of them ends with the same bits. The best
interval is ``sqrt(2 * cost * time between failures)``. Source: Young, A first order approximation to the optimum
checkpoint interval, Communications of the ACM 1974.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.checkpoints.storage import CHECKPOINTS, LocalFolder, Url
from workers.checkpoint import decode, pieces
from workers.errors import CheckpointError

BETWEEN_FAILURES_S = 3600.0
"""How often something dies, for the choice of the interval: once an hour."""

LEAST_INTERVAL_S, LARGEST_INTERVAL_S = 0.5, 300.0
FIRST_COST_S = 0.02
"""What a checkpoint is taken to cost until one has been written."""

LONGEST_CLOSING_S = 60.0
"""How long whoever ends waits for what is being written."""


@dataclass(frozen=True)
class Found:
    """A checkpoint that is whole: its number, its tree, and what was wrong with later ones."""

    number: int
    tree: Mapping[str, Any]
    damaged: tuple[str, ...] = ()


class Keeper:
    """The checkpoints of one run in one place.

    Attributes
    ----------
    warnings
        What could not be written, and why; training goes on without it.

    Parameters
    ----------
    run
        The run's own mark: checkpoints of others are no good.
    every_s
        Seconds between checkpoints; None lets cost decide.
    keep
        How many are kept: the newest may turn out to be damaged.
    clock
        Returns seconds.
    """

    def __init__(
        self, storage: LocalFolder | Url, run: str, every_s: float | None, keep: int, clock: Callable[[], float]
    ) -> None:
        self.storage, self.warnings = storage, list[str]()
        self._run, self._every_s, self._keep, self._clock = run, every_s, keep, clock
        self._cost_s, self._last_s = FIRST_COST_S, clock()
        self._writing: threading.Thread | None = None

    @property
    def interval_s(self) -> float:
        """Seconds from one checkpoint to the next."""
        if self._every_s is not None:
            return self._every_s
        best_s = math.sqrt(2 * self._cost_s * BETWEEN_FAILURES_S)
        # A run that has just begun has little to lose, but is as likely to be watched, and stopped, as any.
        return min(max(best_s, LEAST_INTERVAL_S), LARGEST_INTERVAL_S)

    @property
    def is_due(self) -> bool:
        """Whether it is time for a checkpoint, and the last one has been written."""
        writing = self._writing is not None and self._writing.is_alive()
        return not writing and self._clock() - self._last_s >= self.interval_s

    def save(self, number: int, tree: Mapping[str, Any], spent_s: float = 0.0) -> None:
        """Begin to write a checkpoint, in a thread of its own; ``tree`` must not change any more.

        ``spent_s`` is what it took to make it.
        """
        self.wait()
        self._last_s = self._clock()
        arguments = (number, tree, spent_s)
        self._writing = threading.Thread(target=self._write, args=arguments, name="checkpoint", daemon=True)
        self._writing.start()

    def _write(self, number: int, tree: Mapping[str, Any], spent_s: float) -> None:
        began_s = self._clock()
        try:
            self.storage.write(CHECKPOINTS.name(number), pieces({"run": self._run, "number": number, **tree}))
            for old in self.numbers()[: -self._keep]:
                self.storage.remove(CHECKPOINTS.name(old))
        except Exception as error:  # noqa: BLE001  (training goes on whatever a disk, or somebody's storage, says)
            self.warnings.append(f"checkpoint {number} was not kept, those before it are as they were: {error}")
        self._cost_s = spent_s + self._clock() - began_s

    def wait(self) -> None:
        """Wait until what is being written is there."""
        if self._writing is not None:
            self._writing.join(LONGEST_CLOSING_S)

    def numbers(self) -> list[int]:
        """Return the numbers of all checkpoints that are there, whole or not, ascending."""
        return CHECKPOINTS.numbers(self.storage.names())

    def latest(self) -> Found | None:
        """Return the last checkpoint of this run that is whole; None if there never was one.

        Raises
        ------
        CheckpointError
            If there are some, and every one is damaged.
        """
        damaged: list[str] = []
        for number in reversed(self.numbers()):
            blob = self.storage.read(CHECKPOINTS.name(number))
            try:
                tree = decode(blob or b"")
            except CheckpointError as error:
                damaged.append(f"checkpoint {number}: {error}")
                continue
            if tree.get("run") == self._run:
                return Found(number, tree, tuple(damaged))
        if damaged:
            raise CheckpointError("no checkpoint is whole:\n" + "\n".join(f"  - {one}" for one in damaged))
        return None
