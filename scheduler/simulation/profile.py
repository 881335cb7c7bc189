"""From a job file to a simulated job: the job is trained here, in this process, and what that takes is measured."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from policies.interface import frozen
from scheduler.errors import UserError
from scheduler.job import Recipe
from scheduler.preparation import Prepared
from scheduler.run import RunResult
from scheduler.simulation.workload import Learning, SimulatedJob
from workers.outcome import RoundReport
from workers.parameter_store import ParameterStore
from workers.wire import encode
from workers.worker_state import WorkerState

BUDGET_S = 3.0
"""How long a job is trained here at most; what is left of its rounds is taken to be like those that were."""


@dataclass(frozen=True)
class _Attempt:
    """What an attempt at a round took, with all shards in one call; ``report`` is None if it had to be repeated."""

    stage: str
    report: RoundReport | None
    busy_s: float
    message_bytes: int
    update_bytes: int


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
    UserError
        If the job is asynchronous.
    DataError, DivergedError
        If the data cannot be read, or the numbers overflow.
    """
    refuse_asynchronous(prepared.job)
    with threadpool_limits(limits=1):
        tried, ended = _tried(prepared, budget_s, clock)
    losses = [attempt.report.loss for attempt in tried if attempt.report is not None]
    rounds, busy_s = len(losses), sum(attempt.busy_s for attempt in tried)
    if not ended:  # what is left is like the solver's rounds so far, not like the stages before them
        like = [attempt for attempt in tried if attempt.stage == prepared.solver] or tried
        left = max(prepared.stopping.max_rounds - sum(attempt.report is not None for attempt in like), 0)
        rounds, busy_s = rounds + left, busy_s + left * statistics.mean(attempt.busy_s for attempt in like)
    learning = Learning(
        rounds=rounds,
        shards=prepared.shard_table,
        s_per_work=busy_s / (rounds * float(prepared.data.work.sum())),
        message_bytes=statistics.mean(attempt.message_bytes for attempt in tried),
        update_bytes=statistics.mean(attempt.update_bytes for attempt in tried),
        losses=tuple(losses),
    )
    return _simulated(prepared, learning, submitted_s)


def refuse_asynchronous(job: Recipe) -> None:
    """Raise ``UserError`` for a job whose result depends on who computes what when, which no simulation can know."""
    mode = job.training.wishes().mode
    if not mode.is_synchronous:
        raise UserError(
            f"job {job.name}: in mode '{mode.name}' the allocation decides what is learnt, and what a "
            "simulation or a comparison shows would not be the job's: set 'training.mode: synchronous', or use "
            "'apportion run' without --record"
        )


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
        shards=prepared.shard_table,
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


def _tried(prepared: Prepared, budget_s: float, clock: Callable[[], float]) -> tuple[list[_Attempt], bool]:
    """Train with one worker that has all shards, for as long as the budget lasts; say whether that was to the end."""
    training = prepared.training()
    store, worker = ParameterStore(training), WorkerState("profile", prepared.data, math.inf, clock)
    worker.prepare(range(prepared.job.shards))
    tried: list[_Attempt] = []
    until_s = clock() + budget_s
    for attempt in _attempts(store, worker):
        tried.append(attempt)
        if attempt.report is not None and clock() >= until_s:
            break
    return tried, training.outcome is not None


def _attempts(store: ParameterStore, worker: WorkerState) -> Iterator[_Attempt]:
    """Answer the store's messages until training ends."""
    training = store.training
    while training.outcome is None:
        worker.configure(training.problem)
        message = store.message
        result = worker.run(message)
        if result.sums is None:
            raise training.diverged(str(result.failure))
        store.offer(result.version, worker.queue, replace(result.sums, ahead=None))
        report = store.commit().report
        yield _Attempt(message.stage, report, result.busy_s, len(encode(message)), len(encode(result)))


def _rates(prepared: Prepared, learning: Learning) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return the work per second that 1, 2, ... workers of speed 1 bring, with equal shards."""
    most = prepared.view(0.0).max_workers
    num = np.arange(1, most + 1)
    rounds_share = np.ceil(len(learning.shards) / num) / len(learning.shards)
    return {"": frozen(1.0 / (learning.s_per_work * rounds_share))}
