"""From a job file to a simulated job: the job is trained here, in this process, and what that takes is measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from policies.interface import ShardTable, frozen
from scheduler.preparation import Prepared
from scheduler.run import RunResult
from scheduler.simulation.workload import Learning, SimulatedJob
from workers.parameter_store import ParameterStore
from workers.training import RoundReport
from workers.wire import encode
from workers.worker_state import WorkerState

BUDGET_S = 3.0
"""How long a job is trained here at most; what is left of its rounds is taken to be like those that were."""


@dataclass(frozen=True)
class _Trial:
    """What was measured: reports of rounds, and sums over them."""

    reports: tuple[RoundReport, ...]
    ended: bool
    busy_s: float
    message_bytes: float
    update_bytes: float


def profile(
    prepared: Prepared,
    submitted_s: float = 0.0,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.perf_counter,
) -> SimulatedJob:
    """Return a prepared job as the simulator wants it; a machine of speed 1 is this one.

    The rounds and losses are those that the job has on any cluster: they do not depend on the allocation.

    Raises
    ------
    DataError, DivergedError
        If the data cannot be read, or the numbers overflow.
    """
    with threadpool_limits(limits=1):
        trial = _tried(prepared, budget_s, clock)
    num = len(trial.reports)
    rounds = num if trial.ended else max(num, prepared.stopping.max_rounds)
    learning = Learning(
        rounds=rounds,
        shards=ShardTable(frozen(prepared.data.work), frozen(prepared.data.nbytes)),
        s_per_work=trial.busy_s / (num * float(prepared.data.work.sum())),
        message_bytes=trial.message_bytes / num,
        update_bytes=trial.update_bytes / num,
        losses=tuple(report.loss for report in trial.reports),
    )
    return _simulated(prepared, learning, submitted_s)


def recorded(prepared: Prepared, result: RunResult, speeds: Mapping[str, float]) -> SimulatedJob:
    """Return a job that ran on Ray as the simulator wants it: with the rounds that it had, and what they took.

    Parameters
    ----------
    speeds
        Of the nodes, by id; a worker on a node of speed 2 that computed for a second did what takes 2 elsewhere.
    """
    busy_s = sum(worker.busy_s * speeds.get(worker.node, 1.0) for worker in result.workers)
    num_calls = max(result.num_calls, 1)
    learning = Learning(
        rounds=len(result.reports),
        shards=ShardTable(frozen(prepared.data.work), frozen(prepared.data.nbytes)),
        s_per_work=busy_s / (len(result.reports) * float(prepared.data.work.sum())),
        message_bytes=result.bytes_moved.parameters / num_calls,
        update_bytes=result.bytes_moved.updates / num_calls,
        losses=tuple(report.loss for report in result.reports),
    )
    return _simulated(prepared, learning, 0.0)


def _simulated(prepared: Prepared, learning: Learning, submitted_s: float) -> SimulatedJob:
    view = prepared.view(submitted_s)
    view = replace(view, work=learning.rounds * learning.work, rates=_rates(prepared, learning))
    return SimulatedJob(view, learning, balance_seed=prepared.problem.seed)


def _tried(prepared: Prepared, budget_s: float, clock: Callable[[], float]) -> _Trial:
    """Train round by round with one worker that has all shards, for as long as the budget lasts."""
    training = prepared.training()
    store, worker = ParameterStore(training), WorkerState("profile", prepared.data, math.inf, clock)
    shards = np.arange(prepared.job.shards)
    worker.prepare(shards.tolist())
    reports: list[RoundReport] = []
    sent = received = 0.0
    until_s = clock() + budget_s
    for report, message_bytes, update_bytes in _rounds(store, worker):
        sent, received = sent + message_bytes, received + update_bytes
        if report is not None:
            reports.append(report)
        if reports and clock() >= until_s:
            break
    return _Trial(tuple(reports), training.outcome is not None, worker.busy_s, sent, received)


def _rounds(store: ParameterStore, worker: WorkerState) -> Iterator[tuple[RoundReport | None, int, int]]:
    """Answer the store's messages until training ends; tell the report of each attempt, and the bytes of both ways."""
    training = store.training
    while training.outcome is None:
        worker.configure(training.problem)
        message = store.message
        result = worker.run(message)
        if result.sums is None:
            raise training.diverged(str(result.failure))
        store.offer(result.version, worker.queue, replace(result.sums, ahead=None))
        yield store.commit().report, len(encode(message)), len(encode(result))


def _rates(prepared: Prepared, learning: Learning) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return the work per second that 1, 2, ... workers of speed 1 bring, with equal shards."""
    most = prepared.view(0.0).max_workers
    num = np.arange(1, most + 1)
    rounds_share = np.ceil(len(learning.shards) / num) / len(learning.shards)
    return {"": frozen(1.0 / (learning.s_per_work * rounds_share))}
