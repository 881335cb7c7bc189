"""The parameter server as a Ray actor: it drives the rounds, so that no array passes through the driver."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import ray
from threadpoolctl import threadpool_limits

from policies.interface import Balance, Call, Floats, Resources, ShardTable, WorkerTable, frozen
from scheduler.errors import LostActorError
from scheduler.metrics import RunMetrics
from scheduler.rounds import Rounds
from workers.architectures.base import Arrays
from workers.parameter_store import ParameterStore
from workers.problem import Problem
from workers.stopping import Stopping
from workers.training import Outcome, RoundReport, Training
from workers.update import Message
from workers.wire import decode, encode
from workers.worker_state import CallResult

INLINE_BYTES = 100 * 1024
"""What is larger is put into the object store once, and workers read it from there."""


def sealed(blob: bytes) -> Any:
    """Return a blob as it is sent to workers: itself, or a reference to it in the object store."""
    return blob if len(blob) < INLINE_BYTES else ray.put(blob)


@dataclass(frozen=True)
class RunSpec:
    """Everything that a run's outcome depends on, and the balance policy, on which it does not.

    Attributes
    ----------
    data
        The ``DataSet``, encoded, or a reference to it in Ray's object store: the server only passes it on.
    nodes, capacity
        The node of each worker, and its part of that node's resources, shape ``(workers, 3)``.
    """

    job: str
    data: Any
    shards: ShardTable
    problem: Problem
    solver: str
    stopping: Stopping
    standardise: bool
    initial: Arrays | None
    balance: Balance
    bundle: Resources
    nodes: tuple[str, ...]
    capacity: Floats


@dataclass(frozen=True)
class WorkerReport:
    """What a worker was given, and what it did; ``probed_rows_per_s`` is None where the policy asks for no speeds."""

    node: str
    pid: int
    shards: tuple[int, ...]
    rows: int
    bytes: int
    busy_s: float
    probed_rows_per_s: float | None


@dataclass(frozen=True)
class BytesMoved:
    """Bytes read as shards, sent as messages to all workers, and sent back as updates."""

    shards: int = 0
    parameters: int = 0
    updates: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.shards + self.parameters + self.updates


@dataclass(frozen=True)
class Progress:
    """What is new since the last look: reports of rounds, and the workers once they have their shards."""

    reports: tuple[RoundReport, ...]
    workers: tuple[WorkerReport, ...]


@dataclass(frozen=True)
class RunResult:
    """What a run brought, and what it took; ``seconds_by_round`` has the solver's rounds only."""

    outcome: Outcome
    reports: tuple[RoundReport, ...]
    workers: tuple[WorkerReport, ...]
    seconds_by_round: tuple[float, ...]
    bytes_moved: BytesMoved


@dataclass
class _Tally:
    """What is counted while the rounds go on."""

    busy_s: Floats
    shards: int = 0
    parameters: int = 0
    updates: int = 0
    seconds_by_round: list[float] = field(default_factory=list)

    @property
    def bytes_moved(self) -> BytesMoved:
        return BytesMoved(self.shards, self.parameters, self.updates)


class ParameterServer:
    """Holds the parameters of one job at a time, and drives its workers round by round.

    ``run`` occupies one thread to the end of a job; ``progress`` answers on another.
    """

    def __init__(self, name: str, num_workers: int) -> None:
        self._limits = threadpool_limits(limits=1)
        self._shown = f"ParameterServer({name}, {num_workers} workers)"
        self._running: _Run | None = None

    def __repr__(self) -> str:
        """Say what the dashboard is to show."""
        return self._shown

    def progress(self, since: int) -> Progress:
        """Return the reports from number ``since`` on of the job that runs now."""
        running = self._running
        return Progress((), ()) if running is None else running.progress(since)

    def run(self, spec: RunSpec, workers: list[Any]) -> RunResult:
        """Measure the workers if the policy asks for it, divide the shards, and train to the end.

        Raises
        ------
        UserError
            If the policy cannot divide the shards, or breaks a rule.
        DivergedError
            If the numbers overflowed.
        LostActorError
            If a worker died.
        """
        running = self._running = _Run(spec)
        try:
            return running.run(workers)
        except ray.exceptions.RayActorError as error:
            raise LostActorError(f"a worker died in round {running.num_rounds + 1}: {error}") from None
        finally:
            self._running = None


class _Run:
    """One job on the server, from its spec to its result."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._training = Training(spec.problem, spec.solver, spec.stopping, spec.standardise, spec.initial)
        self._reports: list[RoundReport] = []
        self._worker_reports: tuple[WorkerReport, ...] = ()

    @property
    def num_rounds(self) -> int:
        """The number of rounds that were committed."""
        return len(self._reports)

    def progress(self, since: int) -> Progress:
        """Return the reports from number ``since`` on."""
        return Progress(tuple(self._reports[since:]), self._worker_reports)

    def run(self, workers: list[Any]) -> RunResult:
        """Give every worker its shards, and train to the end."""
        spec = self._spec
        s_per_work = np.full(len(workers), np.nan)
        if spec.balance.wants_speeds:
            s_per_work = np.array(ray.get([worker.probe.remote(spec.problem) for worker in workers]))
        store = ParameterStore(self._training)
        table = _worker_table(spec, s_per_work)
        rounds = Rounds(spec.job, spec.problem.seed, store, spec.balance, table, spec.shards)
        queues = [rounds.assignment.queue(worker) for worker in range(len(workers))]
        taken = ray.get([worker.take.remote(spec.data, queue) for worker, queue in zip(workers, queues, strict=True)])
        tally = _Tally(np.zeros(len(workers)), shards=sum(num_bytes for num_bytes, _ in taken))
        self._worker_reports = tuple(
            WorkerReport(
                node=spec.nodes[worker],
                pid=taken[worker][1],
                shards=tuple(queue.tolist()),
                rows=int(spec.shards.work[queue].sum()),
                bytes=int(spec.shards.bytes[queue].sum()),
                busy_s=0.0,
                probed_rows_per_s=None if np.isnan(s_per_work[worker]) else float(1.0 / s_per_work[worker]),
            )
            for worker, queue in enumerate(queues)
        )
        self._drive(workers, rounds, tally)
        if self._training.outcome is None:
            raise AssertionError("the rounds end with an outcome")
        reports = tuple(
            replace(report, busy_s=float(busy_s))
            for report, busy_s in zip(self._worker_reports, tally.busy_s, strict=True)
        )
        return RunResult(
            self._training.outcome, tuple(self._reports), reports, tuple(tally.seconds_by_round), tally.bytes_moved
        )

    def _drive(self, workers: list[Any], rounds: Rounds, tally: _Tally) -> None:
        """Send calls and take answers until the training has its outcome."""
        training, store = self._training, rounds.store
        metrics = RunMetrics(self._spec.job)
        told: list[Problem | None] = [None] * len(workers)
        problem, sent = training.problem, sealed(encode(training.problem))
        out: dict[Any, Call] = {}
        calls = rounds.begin().calls
        started_s = time.perf_counter()
        while training.outcome is None:
            if training.problem is not problem:
                problem, sent = training.problem, sealed(encode(training.problem))
            message = self._addressed(store.message, len(calls), tally)
            for call in calls:
                news = None if told[call.worker] is problem else sent
                told[call.worker] = problem
                out[workers[call.worker].run.remote(message, news)] = call
            calls = ()
            while not calls and training.outcome is None:
                done, _ = ray.wait(list(out), num_returns=1)
                call, blob = out.pop(done[0]), ray.get(done[0])
                result: CallResult = decode(blob)
                tally.busy_s[call.worker] += result.busy_s
                tally.updates += len(blob)
                instructions = rounds.answered(call, result)
                calls = instructions.calls
                if instructions.report is not None:
                    now_s = time.perf_counter()
                    self._note(instructions.report, now_s - started_s, tally, metrics)
                    started_s = now_s
        self._flush(metrics, tally)

    def _addressed(self, message: Message, num_calls: int, tally: _Tally) -> Any:
        """Return the message as it is sent."""
        blob = encode(message)
        tally.parameters += len(blob) * num_calls
        return sealed(blob)

    def _note(self, report: RoundReport, seconds: float, tally: _Tally, metrics: RunMetrics) -> None:
        self._reports.append(report)
        if report.stage == self._spec.solver:
            tally.seconds_by_round.append(seconds)
        metrics.record(seconds, report.loss, self._speeds(tally), tally.bytes_moved.total)

    def _flush(self, metrics: RunMetrics, tally: _Tally) -> None:
        losses = [report.loss for report in self._reports if report.loss is not None]
        metrics.flush(losses[-1] if losses else None, self._speeds(tally), tally.bytes_moved.total)

    def _speeds(self, tally: _Tally) -> list[float]:
        """Return each worker's rows a second over the run so far."""
        num_rounds = len(self._reports)
        pairs = zip(self._worker_reports, tally.busy_s, strict=True)
        return [report.rows * num_rounds / busy_s if busy_s else 0.0 for report, busy_s in pairs]


def _worker_table(spec: RunSpec, s_per_work: Floats) -> WorkerTable:
    num = len(spec.nodes)
    return WorkerTable(
        ids=tuple(f"worker-{worker}" for worker in range(num)),
        nodes=spec.nodes,
        bundle=frozen(np.tile(spec.bundle.vector(), (num, 1))),
        capacity=frozen(spec.capacity),
        s_per_work=frozen(s_per_work),
        s_fixed=frozen(np.zeros(num)),
        s_per_byte=frozen(np.zeros(num)),
    )
