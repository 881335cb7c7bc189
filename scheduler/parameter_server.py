"""The parameter server as a Ray actor: it drives the rounds, so that no array passes through the driver."""

from __future__ import annotations

import time
from collections.abc import Sequence

import ray
from threadpoolctl import threadpool_limits

from scheduler.run import OpenRound, Progress, RunResult, RunSpec, Seat
from scheduler.server.seating import Beats, Seating
from scheduler.server.server_run import ServerRun


class ParameterServer:
    """Holds the parameters of one job at a time, and drives its workers round by round.

    ``run`` occupies one thread to the end of a job; the rest is answered on others.
    """

    def __init__(self, name: str) -> None:
        self._limits = threadpool_limits(limits=1)
        self._name = name
        self._seating, self._beats = Seating(), Beats()
        self._me = ray.get_runtime_context().current_actor
        self._running: ServerRun | None = None

    def __repr__(self) -> str:
        """Say what the dashboard is to show."""
        return f"ParameterServer({self._name})"

    def progress(self, since: int) -> Progress:
        """Return the reports from number ``since`` on of the job that runs now."""
        running = self._running
        return Progress() if running is None else running.progress(since)

    def open_round(self) -> OpenRound | None:
        """Return how far the open round of the job is that runs now, None if none does."""
        running = self._running
        return None if running is None else running.open_round()

    def beat(self, worker: str, num_done: int) -> None:
        """Hear that a worker lives, and how many shards it has computed so far."""
        self._beats.note(worker, time.time(), num_done)

    def num_rounds(self) -> int:
        """Return how many rounds were committed of the job that runs now."""
        return 0 if self._running is None else self._running.num_rounds

    def reseat(self, number: int, seats: Sequence[Seat]) -> None:
        """Let these workers go on with the job, or with the next one; without any it rests. Changes are numbered."""
        self._seating.change(number, seats)

    def run(self, spec: RunSpec) -> RunResult:
        """Train a job to the end; raises what ``ServerRun.run`` raises."""
        running = self._running = ServerRun(spec, self._seating, self._beats, self._me)
        try:
            return running.run()
        finally:
            self._running = None
