"""What a run writes down as it goes: its rounds, and what its workers did when. Pure: it is told the time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policies.interface import Floats
from scheduler.results.outcome import Activity, Interval, RoundOutcome


class RunLog:
    """Rounds and intervals of one job; times are those that it is told.

    Attributes
    ----------
    rounds, intervals
        Of the rounds that were committed; no intervals without ``keeps_timeline``.
    """

    def __init__(self, job: str, keeps_timeline: bool) -> None:
        self._job, self._keeps = job, keeps_timeline
        self.rounds: list[RoundOutcome] = []
        self.intervals: list[Interval] = []
        self._places: tuple[tuple[int, str], ...] = ()
        self._began_s = 0.0
        self._idle_since_s: Floats = np.zeros(0)
        self._busy_s: Floats = np.zeros(0)
        self._is_new: list[bool] = []
        self._bytes_moved = self._shards_moved = 0

    def seat(self, now_s: float, places: Sequence[tuple[int, str]], since_s: Sequence[float | None]) -> None:
        """Let these workers (number, node) go on with the round; ``since_s`` is when a new one was granted, or None."""
        self._places, self._is_new = tuple(places), [since is not None for since in since_s]
        self._idle_since_s = np.array([now_s if since is None else since for since in since_s])
        self._busy_s = np.zeros(len(places))
        self._began_s = now_s

    def leave(self, now_s: float) -> None:
        """Let all workers go; what they have computed for a round that was not committed is done again."""
        self._rest(now_s)
        self._places = ()

    def answered(self, place: int, sent_s: float, now_s: float, busy_s: float, num_bytes: int, num_new: int) -> None:
        """Enter an answer: when its call was sent, how long its worker computed, what was moved for it."""
        idle_since_s = float(self._idle_since_s[place])
        came_s = max(now_s - busy_s, idle_since_s)
        if self._is_new[place]:
            self._note(place, Activity.STARTING, idle_since_s, came_s)
            self._is_new[place] = False
        else:
            left_s = min(max(sent_s, idle_since_s), came_s)
            self._note(place, Activity.WAITING, idle_since_s, left_s)
            self._note(place, Activity.MOVING, left_s, came_s)
        self._note(place, Activity.BUSY, came_s, now_s)
        self._idle_since_s[place] = now_s
        self._busy_s[place] += busy_s
        self._bytes_moved += num_bytes
        self._shards_moved += num_new

    def read(self, num_bytes: int) -> None:
        """Enter shards that were read outside of a call."""
        self._bytes_moved += num_bytes

    def round_ended(self, now_s: float, loss: float | None) -> None:
        """Enter a round that was committed."""
        self._rest(now_s)
        busy_s = tuple(self._busy_s.tolist())
        self.rounds.append(
            RoundOutcome(now_s, now_s - self._began_s, busy_s, self._bytes_moved, self._shards_moved, loss)
        )
        self._busy_s = np.zeros(len(self._places))
        self._bytes_moved = self._shards_moved = 0
        self._began_s = now_s

    def _rest(self, now_s: float) -> None:
        """Note that whoever has nothing to do has waited until now."""
        for place in range(len(self._places)):
            if not self._is_new[place]:
                self._note(place, Activity.WAITING, float(self._idle_since_s[place]), now_s)
                self._idle_since_s[place] = max(now_s, self._idle_since_s[place])

    def _note(self, place: int, activity: Activity, from_s: float, to_s: float) -> None:
        if self._keeps and to_s > from_s:
            number, node = self._places[place]
            self.intervals.append(Interval(node, self._job, number, activity, from_s, to_s, len(self.rounds)))
