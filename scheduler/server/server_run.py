"""One job on its parameter server, from its spec to its result, whoever its workers are meanwhile."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import numpy as np
import ray

from scheduler.errors import UserError
from scheduler.metrics import RunMetrics
from scheduler.rounds.asynchronous import rounds_of
from scheduler.rounds.synchronous import Instructions, Rounds
from scheduler.rounds.watch import Watch
from scheduler.run import Loss, OpenRound, Progress, RunResult, RunSpec, Seat
from scheduler.run_log import RunLog
from scheduler.server.calls import Answer, Calls, Gone, Moved
from scheduler.server.recovery import Recovery, columns_of
from scheduler.server.seating import Beats, Seating
from scheduler.server.team import Team
from workers.asynchronous_store import AsynchronousStore
from workers.outcome import RoundReport
from workers.parameter_store import ParameterStore
from workers.sgd_worker import Beating

BEATS_A_SECOND = 50.0
"""That a server takes at most; with more workers each gives signs of life less often than once a second."""


class ServerRun:
    """Trains one job to its end, round by round.

    A worker that is gone, or is to go, is waited for no longer: what it has not computed is given to the others. Those
    who come take part from the next round on.
    """

    def __init__(self, spec: RunSpec, seating: Seating, beats: Beats, server: Any) -> None:
        self._spec, self._seating, self._beats, self._server = spec, seating, beats, server
        self._server_id = server._actor_id.hex()
        self._training = spec.training()
        self._recovery = Recovery(self._training, spec.run, spec.keeping)
        self._store = self._recovery.store
        self._reports = self._recovery.reports
        self._num_restored = len(self._reports)
        self._team = Team(spec, lambda: len(self._reports))
        self._rounds: Rounds | None = None
        self._calls: Calls | None = None
        self._away: set[int] = set()  # places of those who are here no more
        self._watch = Watch(0)
        self._num_copies = 0
        self._moved = Moved()
        self._seconds_by_round: list[float] = []
        self._spent_s = 0.0
        self._count_on(self._recovery.told)
        self._log = RunLog(spec.job, spec.keeps_timeline)
        self._metrics = RunMetrics(spec.job)
        self._deadline_s: float | None = None
        self._round_began_s = 0.0

    def _count_on(self, told: dict[str, Any]) -> None:
        """Go on counting where the server before this one was."""
        if told:
            self._seconds_by_round += told["seconds"].tolist()
            self._moved = Moved(*map(int, told["moved"]))
            self._num_copies, self._spent_s = int(told["num_copies"]), float(told["spent_s"])
            self._team.losses += [Loss(*loss) for loss in told["losses"]]

    def _told(self) -> dict[str, Any]:
        moved = self._moved
        return {
            "reports": columns_of(self._reports),
            "seconds": np.array(self._seconds_by_round, dtype=np.float64),
            "moved": [moved.shards, moved.parameters, moved.updates, moved.num_calls],
            "num_copies": self._num_copies,
            "spent_s": self._solving_s(),
            "losses": [list(vars(loss).values()) for loss in self._team.losses],
        }

    @property
    def num_rounds(self) -> int:
        """How many rounds were committed."""
        return len(self._reports)

    def progress(self, since: int) -> Progress:
        """Return the reports from number ``since`` on, and the workers once they have their first shards."""
        team = self._team
        known = all(member.pid is not None for member in list(team.here))
        return Progress(
            tuple(self._reports[since:]),
            team.reports(everyone=False) if known else (),
            tuple(team.losses),
            tuple(self._recovery.warnings),
            self._num_restored,
            len(self._reports),
        )

    def open_round(self) -> OpenRound:
        """Return how far the open round is."""
        store, calls = self._store, self._calls
        num_in = len(self._spec.shards.work) - store.num_missing if isinstance(store, ParameterStore) else 0
        return OpenRound(self.num_rounds, num_in, {} if calls is None else calls.under_way(), self._num_restored)

    def run(self) -> RunResult:
        """Train with whoever is seated, until training has its outcome.

        Raises
        ------
        UserError
            If the policy cannot divide the shards, or breaks a rule.
        DivergedError
            If the numbers overflowed.
        """
        try:
            while self._training.outcome is None:
                self._work(self._seating.someone_but(self._team.lost))
                self._log.leave(self._now_s())
        finally:
            self._recovery.close()
        with suppress(ray.exceptions.RayTaskError, UserError):  # who came too late has computed nothing
            self._team.welcome()
        self._flush()
        return self._result()

    def _result(self) -> RunResult:
        log, store, outcome = self._log, self._store, self._training.outcome
        if outcome is None:
            raise AssertionError("training has its outcome")
        return RunResult(
            outcome,
            tuple(self._reports),
            self._team.reports(everyone=True),
            tuple(self._seconds_by_round),
            self._moved.sum(),
            num_calls=self._moved.num_calls,
            num_copies=self._num_copies,
            rounds=tuple(log.rounds),
            intervals=tuple(log.intervals),
            record=store.record() if isinstance(store, AsynchronousStore) else None,
            staleness=store.staleness if isinstance(store, AsynchronousStore) else None,
            losses=tuple(self._team.losses),
            restored=self._num_restored,
        )

    def _now_s(self) -> float:
        return time.time() - self._spec.began_s

    def _work(self, seats: tuple[Seat, ...]) -> None:
        """Give these workers their shards, and drive the rounds until others are seated or training ends."""
        spec, team = self._spec, self._team
        team.seat(seats)
        team.probe()
        if not team.here:
            return
        known = [member.pid is not None or member.taken is not None for member in team.here]
        rounds = rounds_of(
            spec.job,
            spec.problem.seed,
            self._store,
            spec.balance,
            team.table(),
            spec.shards,
            self._rounds,
            call_bytes=np.array([member.seat.call_bytes for member in team.here]),
        )
        self._rounds, self._away = rounds, set()
        patience = spec.patience
        self._watch = Watch(len(team.here), patience.silent_s, patience.stuck_s, before=self._watch)
        self._watch.given_up(self._now_s())  # it looks at the clock for the first time
        calls = self._calls = Calls(team.here, self._store, self._moved, self._now_s, self._server_id)
        beating = Beating(self._server, self._server_id, max(1.0, len(team.here) / BEATS_A_SECOND))
        for place, member in enumerate(team.here):
            member.shards = rounds.queue(place)
            if not known[place]:
                team.take(place, beating)
        team.await_new()
        places = [(member.seat.number, member.seat.node) for member in team.here]
        came_s = [None if old else member.seat.since_s for member, old in zip(team.here, known, strict=True)]
        self._log.seat(self._now_s(), places, came_s)
        self._round_began_s = self._now_s()
        try:
            self._follow(calls, rounds.begin(self._round_began_s))  # a worker begins when it has read its shards
            self._drive(calls, rounds, seats)
        except ray.exceptions.RayTaskError:
            team.welcome()  # who could not read its shards cannot compute either, and says why
            raise
        finally:
            for place, member in enumerate(team.here):
                member.shards = rounds.queue(place)
            self._num_copies += rounds.num_copies

    def _drive(self, calls: Calls, rounds: Rounds, seats: tuple[Seat, ...]) -> None:
        """Take answers and send calls until training has its outcome, or others are to work.

        Who is to go is let go at once, whoever comes waits for the end of the round.
        """
        seen = seats
        while self._training.outcome is None and not rounds.is_deserted:
            if self._seating.seats is not seen:
                seen = self._seating.seats
                self._let_go(calls, rounds, seen)
                continue
            self._mind_the_time()  # the clock starts with the solver's first calls
            now_s = self._now_s()
            answer = calls.next_answer(rounds.look_s - now_s)
            if self._team.num_coming:
                self._welcome(calls, rounds)
            self._look_after(calls, rounds)
            if answer is None:
                if (now_s := self._now_s()) >= rounds.look_s:
                    self._follow(calls, rounds.look(now_s))
            elif isinstance(answer, Gone):
                self._lose(answer.worker, answer.error, calls, rounds)
            else:
                instructions = self._taken(answer, rounds)
                if instructions.report is not None and seen is not seats:
                    self._note(instructions.report)
                    return
                self._follow(calls, instructions)

    def _taken(self, answer: Answer, rounds: Rounds) -> Instructions:
        """Enter an answer, and return what follows."""
        self._mind_the_time()
        call, member = answer.call, self._team.here[answer.call.worker]
        work, now_s = float(self._spec.shards.work[call.shards].sum()), self._now_s()
        member.rows += work
        self._log.answered(call.worker, answer.sent_s, now_s, answer.result.busy_s, answer.num_bytes, answer.num_new)
        self._watch.answered(call.worker, now_s, work, answer.result.busy_s)
        rounds.measurements.read(call.worker, answer.result.read_bytes, answer.result.read_s)
        if not answer.waited:
            rounds.measurements.carried(call.worker, answer.carried_bytes, answer.carried_s(now_s))
        return rounds.answered(call, answer.result, now_s)

    def _follow(self, calls: Calls, instructions: Instructions) -> None:
        """Do as the rounds say."""
        if instructions.report is not None:
            self._note(instructions.report)
        now_s, work = self._now_s(), self._spec.shards.work
        for call in instructions.calls:
            self._watch.began(call.worker, now_s, float(work[call.shards].max()))
        calls.send(instructions.calls)
        calls.fetch(instructions.fetches)

    def _welcome(self, calls: Calls, rounds: Rounds) -> None:
        """Take word of those who have read their first shards by now."""
        read, died = self._team.welcome()
        for place, num_bytes in read.items():
            self._moved.shards += num_bytes
            self._log.read(num_bytes)
            self._watch.beat(place, self._now_s(), 0)  # from now on it is heard of, or it is silent
        for place in died:
            self._hand_over(place, calls, rounds)

    def _look_after(self, calls: Calls, rounds: Rounds) -> None:
        """Tell the watch who has given signs of life, and give up whom it gives up."""
        now_s = self._now_s()
        if now_s < self._watch.look_s:
            return
        here, beats = self._team.here, self._beats.take()
        for place, member in enumerate(here):
            if member.seat.id in beats:
                when_s, num_done = beats[member.seat.id]
                self._watch.beat(place, when_s - self._spec.began_s, num_done)
        for given_up in self._watch.given_up(now_s):
            if given_up.worker not in self._away:
                self._lose(given_up.worker, str(given_up), calls, rounds)

    def _let_go(self, calls: Calls, rounds: Rounds, seats: tuple[Seat, ...]) -> None:
        """Wait no longer for those who are not to work any more."""
        stay = {seat.id for seat in seats}
        for place, member in enumerate(self._team.here):
            if member.seat.id not in stay:
                self._hand_over(place, calls, rounds)

    def _lose(self, place: int, reason: Exception | str, calls: Calls, rounds: Rounds) -> None:
        """Do without a worker that died, or hangs; it may be that it was taken away, and word of that is under way."""
        member = self._team.here[place]
        self._team.lose(member, reason)
        with suppress(ray.exceptions.RayError):
            ray.kill(member.seat.worker)  # whatever it is, it must not wake up and hold what another is to have
        self._hand_over(place, calls, rounds)

    def _hand_over(self, place: int, calls: Calls, rounds: Rounds) -> None:
        if place in self._away:
            return
        self._away.add(place)
        calls.forget(place)
        self._follow(calls, rounds.lost(place, self._now_s()))

    def _mind_the_time(self) -> None:
        """Let training end after this round once its time is up."""
        limit_s = self._spec.stopping.time_s
        if limit_s is None or self._training.stage != self._spec.solver:
            return
        if self._deadline_s is None:
            self._deadline_s = self._now_s() + limit_s - self._spent_s
        elif self._now_s() >= self._deadline_s:
            self._training.stop(f"the time budget of {limit_s:g} s is spent")

    def _solving_s(self) -> float:
        """Return how much of its time budget the solver has spent, in this server and those before it."""
        limit_s = self._spec.stopping.time_s
        if limit_s is None or self._deadline_s is None:
            return self._spent_s
        return limit_s - (self._deadline_s - self._now_s())

    def _note(self, report: RoundReport) -> None:
        now_s = self._now_s()
        seconds = now_s - self._round_began_s
        self._round_began_s = now_s
        self._reports.append(report)
        if report.stage == self._spec.solver:
            self._seconds_by_round.append(seconds)
        if report.stage != self._training.stage:
            self._watch.forget_computing()
        self._log.round_ended(now_s, report.loss)
        self._metrics.record(seconds, report.loss, self._team.speeds(), self._moved.sum().total)
        if self._recovery.is_due:
            self._recovery.committed(len(self._reports), self._told)

    def _flush(self) -> None:
        losses = [report.loss for report in self._reports if report.loss is not None]
        self._metrics.flush(losses[-1] if losses else None, self._team.speeds(), self._moved.sum().total)
