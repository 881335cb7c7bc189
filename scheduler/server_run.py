"""One job on its parameter server, from its spec to its result, whoever its workers are meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
import ray

from policies.interface import WorkerTable, frozen
from scheduler.calls import Calls, Member, Moved
from scheduler.errors import LostActorError, UserError
from scheduler.metrics import RunMetrics
from scheduler.rounds.asynchronous import rounds_of, store_of
from scheduler.rounds.synchronous import Rounds
from scheduler.run import Progress, RunResult, RunSpec, Seat, WorkerReport
from scheduler.run_log import RunLog
from workers.asynchronous_store import AsynchronousStore
from workers.environment import environment
from workers.training import RoundReport, Training

WORD_OF_A_LOSS_S = 1.0
"""A worker that was taken away is seen to die: how long to wait for word that it was, before it counts as lost."""

NUMBER_BYTES = 8


class Seating:
    """Who is to work for a job: changed by one thread, while another drives the rounds.

    Word of a change may be overtaken by that of a later one, which then stands: changes are numbered.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._number = 0
        self._seats: tuple[Seat, ...] = ()

    def change(self, number: int, seats: Sequence[Seat]) -> None:
        """Let others work from now on; nobody, and the job rests."""
        with self._changed:
            if number > self._number:
                self._number, self._seats = number, tuple(seats)
                self._changed.notify_all()

    def differs(self, seats: tuple[Seat, ...], within_s: float = 0.0) -> bool:
        """Say whether it is not ``seats`` any more, or will not be in a moment."""
        if not within_s:  # asked at every answer: no lock
            return self._seats is not seats
        with self._changed:
            return self._changed.wait_for(lambda: self._seats is not seats, within_s)

    def someone(self) -> tuple[Seat, ...]:
        """Return the seats, and wait until there are some."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._seats))
            return self._seats


class ServerRun:
    """Trains one job to its end, round by round. Workers that come or go begin a round again; those before are safe."""

    def __init__(self, spec: RunSpec, seating: Seating) -> None:
        self._spec, self._seating = spec, seating
        self._training = Training(spec.problem, spec.solver, spec.stopping, spec.standardise, spec.initial)
        self._store = store_of(self._training)
        self._members: dict[str, Member] = {}
        self._team: list[Member] = []
        self._rounds: Rounds | None = None
        self._num_coming = self._num_copies = 0
        self._moved = Moved()
        self._reports: list[RoundReport] = []
        self._seconds_by_round: list[float] = []
        self._log = RunLog(spec.job, spec.keeps_timeline)
        self._metrics = RunMetrics(spec.job)
        self._deadline_s: float | None = None
        self._round_began_s = 0.0

    @property
    def num_rounds(self) -> int:
        """How many rounds were committed."""
        return len(self._reports)

    def progress(self, since: int) -> Progress:
        """Return the reports from number ``since`` on, and the workers once they have their first shards."""
        team = list(self._team)
        workers = tuple(map(self._report, team)) if all(member.pid is not None for member in team) else ()
        return Progress(tuple(self._reports[since:]), workers)

    def run(self) -> RunResult:
        """Train with whoever is seated, until training has its outcome.

        Raises
        ------
        UserError
            If the policy cannot divide the shards, or breaks a rule.
        DivergedError
            If the numbers overflowed.
        LostActorError
            If a worker died.
        """
        while self._training.outcome is None:
            seats = self._seating.someone()
            try:
                self._work(seats)
            except ray.exceptions.RayActorError as error:
                if not self._seating.differs(seats, WORD_OF_A_LOSS_S):
                    num = len(self._reports) + 1
                    raise LostActorError(f"a worker died in round {num}: {error}") from None
            self._log.leave(self._now_s())
            if self._training.outcome is None:
                self._store.begin_again()
        self._welcome()
        self._flush()
        log, store = self._log, self._store
        return RunResult(
            self._training.outcome,
            tuple(self._reports),
            tuple(map(self._report, self._members.values())),
            tuple(self._seconds_by_round),
            self._moved.sum(),
            num_calls=self._moved.num_calls,
            num_copies=self._num_copies,
            rounds=tuple(log.rounds),
            intervals=tuple(log.intervals),
            record=store.record() if isinstance(store, AsynchronousStore) else None,
            staleness=store.staleness if isinstance(store, AsynchronousStore) else None,
        )

    def _now_s(self) -> float:
        return time.time() - self._spec.began_s

    def _work(self, seats: tuple[Seat, ...]) -> None:
        """Give these workers their shards, and drive the rounds until others are seated or training ends."""
        spec = self._spec
        known = [seat.id in self._members for seat in seats]
        team = self._team = [self._members.setdefault(seat.id, Member(seat)) for seat in seats]
        if spec.balance.wants_speeds:
            asked = [member for member in team if np.isnan(member.s_per_work)]
            passes = spec.stopping.max_rounds * spec.problem.options.local_epochs
            work = float(spec.shards.work.sum()) * passes / len(team)
            probes = [member.seat.worker.probe.remote(spec.problem, work) for member in asked]
            for member, s_per_work in zip(asked, ray.get(probes), strict=True):
                member.s_per_work = s_per_work
        table = _worker_table(spec, seats, team)
        rounds = rounds_of(spec.job, spec.problem.seed, self._store, spec.balance, table, spec.shards, self._rounds)
        self._rounds = rounds
        calls = Calls(team, self._store, self._moved, self._now_s)
        for place, member in enumerate(team):
            member.shards = rounds.queue(place)
            if not known[place]:
                member.queue = member.shards
                member.taken = member.seat.worker.take.remote(spec.data, member.queue)
        self._num_coming = sum(member.taken is not None for member in team)
        came_s = [None if old else seat.since_s for seat, old in zip(seats, known, strict=True)]
        self._log.seat(self._now_s(), [(seat.number, seat.node) for seat in seats], came_s)
        self._round_began_s = self._now_s()
        calls.send(rounds.begin(self._round_began_s).calls)  # a worker begins as soon as it has read its shards
        try:
            self._drive(calls, rounds, seats)
        except ray.exceptions.RayTaskError:
            self._welcome()  # who could not read its shards cannot compute either, and says why
            raise
        finally:
            for place, member in enumerate(team):
                member.shards = rounds.queue(place)
            self._num_copies += rounds.num_copies

    def _welcome(self) -> None:
        """Take word of those who have read their first shards by now."""
        coming = {member.taken: member for member in self._team if member.taken is not None}
        for reference in ray.wait(list(coming), num_returns=len(coming), timeout=0)[0] if coming else ():
            member = coming[reference]
            num_bytes, member.pid, member.environment = ray.get(reference)
            member.taken = None
            self._num_coming -= 1
            self._moved.shards += num_bytes
            self._log.read(num_bytes)
            self._refuse_mixed_kernels()

    def _drive(self, calls: Calls, rounds: Rounds, seats: tuple[Seat, ...]) -> None:
        """Take answers and send calls until training has its outcome, or others are to work."""
        work = self._spec.shards.work
        while self._training.outcome is None and not self._seating.differs(seats):
            self._mind_the_time()  # the clock starts with the solver's first calls
            answer = calls.next_answer(rounds.look_s - self._now_s())
            if self._num_coming:
                self._welcome()
            if answer is None:
                if (now_s := self._now_s()) >= rounds.look_s:
                    calls.send(rounds.look(now_s).calls)
                continue
            self._mind_the_time()
            call, member = answer.call, self._team[answer.call.worker]
            member.rows += float(work[call.shards].sum())
            now_s = self._now_s()
            self._log.answered(
                call.worker, answer.sent_s, now_s, answer.result.busy_s, answer.num_bytes, answer.num_new
            )
            rounds.measurements.read(call.worker, answer.result.read_bytes, answer.result.read_s)
            if not answer.waited:
                rounds.measurements.carried(call.worker, answer.carried_bytes, answer.carried_s(now_s))
            instructions = rounds.answered(call, answer.result, now_s)
            if instructions.report is not None:
                self._note(instructions.report, now_s)
            calls.send(instructions.calls)
            calls.fetch(instructions.fetches)

    def _refuse_mixed_kernels(self) -> None:
        """Refuse workers whose last bits may differ: who computed what would change the model."""
        problem, redivides = self._spec.problem, self._spec.balance.redivides
        places = {
            f"node {member.seat.node}": member.environment
            for member in self._members.values()
            if member.environment is not None and (len(member.shards) or redivides)
        }
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

    def _report(self, member: Member) -> WorkerReport:
        """Return what a worker holds, if it is still here, and what it has done."""
        queue = member.shards if member in self._team else member.shards[:0]
        work, size = self._spec.shards.work[queue], self._spec.shards.bytes[queue]
        return WorkerReport(
            node=member.seat.node,
            pid=member.pid,
            shards=tuple(queue.tolist()),
            rows=int(work.sum()),
            bytes=int(size.sum()),
            busy_s=member.busy_s,
            probed_rows_per_s=None if np.isnan(member.s_per_work) else float(1.0 / member.s_per_work),
            environment=member.environment,
        )

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

    def _note(self, report: RoundReport, now_s: float) -> None:
        seconds = now_s - self._round_began_s
        self._round_began_s = now_s
        self._reports.append(report)
        if report.stage == self._spec.solver:
            self._seconds_by_round.append(seconds)
        self._log.round_ended(now_s, report.loss)
        self._metrics.record(seconds, report.loss, self._speeds(), self._moved.sum().total)

    def _flush(self) -> None:
        losses = [report.loss for report in self._reports if report.loss is not None]
        self._metrics.flush(losses[-1] if losses else None, self._speeds(), self._moved.sum().total)

    def _speeds(self) -> dict[int, float]:
        return {member.seat.number: member.rows_per_s for member in self._team}


def _worker_table(spec: RunSpec, seats: Sequence[Seat], team: Sequence[Member]) -> WorkerTable:
    num = len(seats)
    message_bytes = 2 * NUMBER_BYTES * spec.problem.num_parameters  # there and back
    return WorkerTable(
        ids=tuple(seat.name for seat in seats),
        nodes=tuple(seat.node for seat in seats),
        bundle=frozen(np.tile(spec.bundle.vector(), (num, 1))),
        capacity=frozen([seat.capacity for seat in seats]),
        s_per_work=frozen([member.s_per_work for member in team]),
        s_fixed=frozen([message_bytes * seat.s_per_byte for seat in seats]),
        s_per_byte=frozen([seat.s_per_byte for seat in seats]),
    )
