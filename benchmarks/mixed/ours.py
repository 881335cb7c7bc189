"""Our runs on a gang that is there already, and the bound that the measured speeds set."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from policies.interface import Floats
from policies.presets import resolve
from scheduler.driving import train
from scheduler.gang import Gang
from scheduler.observer import Observer
from scheduler.outputs import conclude
from scheduler.placing import placed
from scheduler.preparation import Prepared
from scheduler.run import RunResult
from workers.outcome import RoundReport


@dataclass(frozen=True)
class Timed:
    """A run: its result, the hash of its model, and the seconds from the first probe to the last answer."""

    policy: str
    result: RunResult
    sha256: str
    whole_s: float

    @property
    def rows(self) -> Floats:
        """Rows of the shards that each worker holds at the end, shape ``(workers,)``."""
        return np.array([worker.rows for worker in self.result.workers], dtype=np.float64)

    @property
    def round_s(self) -> list[float]:
        """Seconds of each round of the solver."""
        return list(self.result.seconds_by_round)

    def busy_s(self, solver: str) -> Floats:
        """Return how long each worker was busy in each round of the solver; shape ``(rounds, workers)``."""
        pairs = zip(self.result.reports, self.result.rounds, strict=True)
        return np.array([outcome.busy_s for report, outcome in pairs if report.stage == solver])


@contextmanager
def gang_for(prepared: Prepared) -> Iterator[Gang]:
    """Yield a gang for a job's workers; several jobs run on it one after another, and none waits for its start."""
    gang = placed(prepared.view(time.time()), resolve("spread+equal"), 0, lambda: False)
    try:
        yield gang
    finally:
        gang.stop()


class Rounds(Observer):
    """Counts the solver's rounds, and calls somebody once there are so many."""

    def __init__(self, solver: str, number: int, then: Callable[[], None]) -> None:
        self._solver, self._left, self._then = solver, number, then

    def trained(self, report: RoundReport) -> None:
        """Count one."""
        if report.stage == self._solver:
            self._left -= 1
            if self._left == 0:
                self._then()


def timed(gang: Gang, prepared: Prepared, policy: str, observer: Observer | None = None) -> Timed:
    """Train a job on a gang that is at rest; its workers read their shards anew."""
    chosen = resolve(policy)
    gang.rest()
    began_s = time.perf_counter()
    result = train(gang, prepared, chosen, observer or Observer())
    whole_s = time.perf_counter() - began_s
    return Timed(policy, result, conclude(prepared, policy, result, whole_s).summary.model_sha256, whole_s)


def speeds(run: Timed, solver: str, rounds: slice = slice(None)) -> Floats:
    """Return rows per second of each worker in a run that hands out the same shards in every round."""
    busy_s = np.median(run.busy_s(solver)[rounds], axis=0)
    return np.where(busy_s > 0, run.rows / np.where(busy_s > 0, busy_s, 1.0), 0.0)


def bound_s(run: Timed) -> float:
    """Return how long all rounds of a run would take if every worker computed without a pause, at its speed then.

    The run is one that hands out the same shards in every round.
    """
    rows, total = run.rows, 0.0
    for outcome in run.result.rounds:
        busy_s = np.array(outcome.busy_s)
        there = busy_s > 0
        total += float(rows.sum() / (rows[there] / busy_s[there]).sum())
    return total


def to_target_s(round_s: Sequence[float], objectives: Sequence[float], target: float) -> float | None:
    """Return the seconds of the rounds up to the first whose objective is at the target, None if none is."""
    for number, value in enumerate(objectives):
        if value <= target:
            return float(sum(round_s[: number + 1]))
    return None
