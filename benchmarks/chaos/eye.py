"""Looks at a run from outside: how far its server says that it is."""

from __future__ import annotations

import time
from typing import Any

import ray

from scheduler.run import OpenRound

ANSWERS_WITHIN_S = 0.5


class Eye:
    """Follows the parameter server of a job, whichever that is by now.

    Attributes
    ----------
    seen
        What it said last, and ``seen_s`` when.
    """

    def __init__(self, job: str) -> None:
        self._job = job
        self._gone: set[str] = set()
        self._server: tuple[str, Any] | None = None
        self.seen: OpenRound | None = None
        self.seen_s = 0.0

    def look(self) -> OpenRound | None:
        """Return how far the run is, None where no server says so just now."""
        for name, server in self._servers():
            try:
                found: OpenRound | None = ray.get(server.open_round.remote(), timeout=ANSWERS_WITHIN_S)
            except ray.exceptions.GetTimeoutError:
                continue
            except ray.exceptions.RayError:
                self._gone.add(name)
                self._server = None
                continue
            if found is not None:
                self._server = name, server
                self.seen, self.seen_s = found, time.monotonic()
                return found
        return None

    def forget(self) -> None:
        """Look at none of the present servers any more: their driver was killed, and they end soon."""
        self._gone.update(self._names())
        self._server = None

    def _servers(self) -> list[tuple[str, Any]]:
        if self._server is not None:
            return [self._server]
        found = []
        for name in sorted(self._names() - self._gone, key=lambda one: (len(one), one), reverse=True):
            try:
                found.append((name, ray.get_actor(name)))
            except ValueError:  # it has just ended
                continue
        return found

    def _names(self) -> set[str]:
        return {name for name in ray.util.list_named_actors() if name.startswith(f"{self._job}/") and "/param" in name}
