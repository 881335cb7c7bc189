"""The agenda of a simulation: what is due, by time. Pure."""

from __future__ import annotations

import heapq
from enum import IntEnum
from itertools import count
from typing import Any


class Rank(IntEnum):
    """What comes first of what happens at one moment."""

    FAULT = 0
    PROGRESS = 1
    RELEASE = 2
    ARRIVAL = 3
    DECIDE = 4
    GIVE_UP = 5


class Agenda:
    """What is due, by time, then by rank; of equals, what was entered first."""

    def __init__(self) -> None:
        self._due: list[tuple[float, Rank, int, Any]] = []
        self._numbers = count()

    def __len__(self) -> int:
        """Count what is due."""
        return len(self._due)

    def enter(self, at_s: float, rank: Rank, what: Any) -> None:
        """Let ``what`` be due."""
        heapq.heappush(self._due, (at_s, rank, next(self._numbers), what))

    def next_s(self) -> float:
        """Return when the next is due; there must be one."""
        return self._due[0][0]

    def pop(self) -> tuple[float, Rank, Any]:
        """Take the next."""
        at_s, rank, _, what = heapq.heappop(self._due)
        return at_s, rank, what

    def has_before(self, at_s: float, rank: Rank) -> bool:
        """Say whether something comes before what would be due at ``at_s`` with ``rank``."""
        return bool(self._due) and self._due[0][:2] < (at_s, rank)
