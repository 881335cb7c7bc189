"""The parameter server as a Ray actor: it drives the rounds, so that no array passes through the driver."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import ray
from threadpoolctl import threadpool_limits

from policies.interface import Call, Floats, Ints, WorkerTable, frozen
from scheduler.errors import LostActorError, UserError
from scheduler.metrics import RunMetrics
from scheduler.rounds import Rounds
from scheduler.run import BytesMoved, Progress, RunResult, RunSpec, WorkerReport
from workers.environment import environment
from workers.parameter_store import ParameterStore
from workers.problem import Problem
from workers.training import RoundReport, Training
from workers.update import Message
from workers.wire import decode, encode
from workers.worker_state import CallResult

INLINE_BYTES = 100 * 1024
"""What is larger is put into the object store once, and workers read it from there."""


def sealed(blob: bytes) -> Any:
    """Return a blob as it is sent to workers: itself, or a reference to it in the object store."""
    return blob if len(blob) < INLINE_BYTES else ray.put(blob)


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


class _Calls:
    """Sends calls to workers, with what they need to know, and takes their answers."""

    def __init__(self, workers: list[Any], queues: list[Ints], store: ParameterStore, tally: _Tally) -> None:
        self._workers, self._store, self._tally = workers, store, tally
        self._queues = list(queues)
        self._out: dict[Any, Call] = {}
        self._told: list[Problem | None] = [None] * len(workers)
        self._problem: Problem | None = None
        self._encoded: Any = b""
        self._message: Message | None = None
        self._blob: Any = b""
        self._blob_bytes = 0

    def send(self, calls: tuple[Call, ...]) -> None:
        """Send the store's message to the workers of ``calls``, and the problem and shards where new to them."""
        if not calls:
            return
        problem, message = self._store.training.problem, self._store.message
        if problem is not self._problem:
            self._problem, self._encoded = problem, sealed(encode(problem))
        if message is not self._message:
            blob = encode(message)
            self._message, self._blob, self._blob_bytes = message, sealed(blob), len(blob)
        self._tally.parameters += self._blob_bytes * len(calls)
        for call in calls:
            news = None if self._told[call.worker] is problem else self._encoded
            shards = None if np.array_equal(self._queues[call.worker], call.shards) else call.shards
            self._told[call.worker], self._queues[call.worker] = problem, call.shards
            self._out[self._workers[call.worker].run.remote(self._blob, news, shards)] = call

    def next_answer(self) -> tuple[Call, CallResult]:
        """Wait for an answer, and return it with its call."""
        done = next(iter(self._out))
        if len(self._out) > 1:
            done = ray.wait(list(self._out), num_returns=1)[0][0]
        blob = ray.get(done)
        call = self._out.pop(done)
        result: CallResult = decode(blob)
        self._tally.busy_s[call.worker] += result.busy_s
        self._tally.updates += len(blob)
        self._tally.shards += result.read_bytes
        return call, result


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
        self._deadline_s: float | None = None

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
        queues = [rounds.queue(worker) for worker in range(len(workers))]
        taken = [worker.take.remote(spec.data, queue) for worker, queue in zip(workers, queues, strict=True)]
        tally = _Tally(np.zeros(len(workers)))
        calls = _Calls(workers, queues, store, tally)
        calls.send(rounds.begin().calls)  # a worker begins as soon as it has read its shards
        for worker, (num_bytes, pid, here) in enumerate(ray.get(taken)):
            tally.shards += num_bytes
            report = WorkerReport(spec.nodes[worker], pid, (), 0, 0, 0.0, _rows_per_s(s_per_work[worker]), here)
            self._worker_reports += (self._given(report, queues[worker]),)
        self._refuse_mixed_kernels()
        self._drive(calls, rounds, tally)
        if self._training.outcome is None:
            raise AssertionError("the rounds end with an outcome")
        reports = tuple(
            replace(self._given(report, rounds.queue(worker)), busy_s=float(tally.busy_s[worker]))
            for worker, report in enumerate(self._worker_reports)
        )
        return RunResult(
            self._training.outcome, tuple(self._reports), reports, tuple(tally.seconds_by_round), tally.bytes_moved
        )

    def _refuse_mixed_kernels(self) -> None:
        """Refuse workers whose last bits may differ: who computed what would change the model."""
        problem, redivides = self._spec.problem, self._spec.balance.redivides
        computing = [report for report in self._worker_reports if report.shards or redivides]
        places = {f"node {report.node}": report.environment for report in computing}
        if problem.architecture.kind != "torch":  # the server does not compute with modules
            places["the parameter server"] = environment()
        kinds = {here.computes_like(problem.architecture.kind): (name, here) for name, here in places.items()}
        if len(kinds) > 1 and problem.kernels.name != "strict":
            listed = "\n".join(
                f"  - {name}: {here.processor} {here.gpu}, NumPy {here.numpy}, BLAS {here.blas}"
                for name, here in kinds.values()
            )
            raise UserError(
                f"job {self._spec.job}: its workers compute with different kernels, so that the last bits of the model "
                f"would depend on the assignment:\n{listed}\n"
                "set 'training.reproducible: strict', or use nodes of one kind"
            )

    def _given(self, report: WorkerReport, queue: Ints) -> WorkerReport:
        """Return the report of a worker with these shards."""
        work, size = self._spec.shards.work[queue], self._spec.shards.bytes[queue]
        return replace(report, shards=tuple(queue.tolist()), rows=int(work.sum()), bytes=int(size.sum()))

    def _drive(self, calls: _Calls, rounds: Rounds, tally: _Tally) -> None:
        """Take answers and send calls until the training has its outcome."""
        metrics = RunMetrics(self._spec.job)
        started_s = time.perf_counter()
        while self._training.outcome is None:
            self._mind_the_time()  # the clock starts with the solver's first calls
            call, result = calls.next_answer()
            self._mind_the_time()
            instructions = rounds.answered(call, result)
            if instructions.report is not None:
                now_s = time.perf_counter()
                self._note(instructions.report, now_s - started_s, tally, metrics, rounds.rows)
                started_s = now_s
            calls.send(instructions.calls)
        self._flush(metrics, tally, rounds.rows)

    def _mind_the_time(self) -> None:
        """Let training end after this round once its time is up."""
        limit_s = self._spec.stopping.time_s
        if limit_s is None or self._training.stage != self._spec.solver:
            return
        now_s = time.perf_counter()
        if self._deadline_s is None:
            self._deadline_s = now_s + limit_s
        elif now_s >= self._deadline_s:
            self._training.stop(f"the time budget of {limit_s:g} s is spent")

    def _note(self, report: RoundReport, seconds: float, tally: _Tally, metrics: RunMetrics, rows: Floats) -> None:
        self._reports.append(report)
        if report.stage == self._spec.solver:
            tally.seconds_by_round.append(seconds)
        metrics.record(seconds, report.loss, _speeds(rows, tally), tally.bytes_moved.total)

    def _flush(self, metrics: RunMetrics, tally: _Tally, rows: Floats) -> None:
        losses = [report.loss for report in self._reports if report.loss is not None]
        metrics.flush(losses[-1] if losses else None, _speeds(rows, tally), tally.bytes_moved.total)


def _speeds(rows: Floats, tally: _Tally) -> list[float]:
    """Return each worker's rows a second over the run so far, from its rows in all rounds."""
    return [float(done / busy_s) if busy_s else 0.0 for done, busy_s in zip(rows, tally.busy_s, strict=True)]


def _rows_per_s(s_per_work: float) -> float | None:
    return None if np.isnan(s_per_work) else float(1.0 / s_per_work)


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
