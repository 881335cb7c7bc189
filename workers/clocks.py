"""Worker clocks: how many calls each has finished, who may begin another, and who is behind by how much."""

from __future__ import annotations

from collections.abc import Iterable

from workers.modes import Mode


class Clocks:
    """The clocks of the workers that are there; whoever comes begins with the slowest.

    Attributes
    ----------
    slowest
        The least clock of the workers that are there; it never falls.
    """

    def __init__(self, mode: Mode, start: int = 0) -> None:
        self._mode = mode
        self.slowest = start
        self._finished: dict[str, int] = {}
        self._begun: dict[str, int] = {}

    @property
    def workers(self) -> Iterable[str]:
        """Who is there."""
        return self._finished.keys()

    def __contains__(self, worker: object) -> bool:
        """Say whether a worker is there."""
        return worker in self._finished

    def __len__(self) -> int:
        """Count the workers that are there."""
        return len(self._finished)

    def __getitem__(self, worker: str) -> int:
        """Return the calls that a worker has finished, counted from where it came."""
        return self._finished[worker]

    def come(self, worker: str) -> None:
        """Let a worker in, if it is not there."""
        self._finished.setdefault(worker, self.slowest)

    def leave(self, worker: str) -> None:
        """Forget a worker; nobody waits for it any more."""
        self._finished.pop(worker, None)
        self._begun.pop(worker, None)
        self._look()

    def may_begin(self, worker: str) -> bool:
        """Say whether a worker may begin a call."""
        return worker in self and self._mode.may_go_on(self[worker] - self.slowest)

    def begin(self, worker: str) -> None:
        """Note that a worker begins a call."""
        self._begun[worker] = self[worker]

    def finish(self, worker: str) -> int:
        """Let a worker's clock tick; return how many clocks its call was behind that which another has begun."""
        clock = self[worker]
        self._finished[worker] = clock + 1
        self._look()
        return max(self._begun.values()) - clock

    def _look(self) -> None:
        if self._finished:
            self.slowest = max(self.slowest, min(self._finished.values()))
