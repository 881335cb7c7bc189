"""Rounds in which every worker goes on by itself: answers in, calls out, as in ``rounds``, and as pure."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from policies.interface import Balance, Call, Floats, Ints, RoundView, ShardTable, WorkerTable, frozen
from scheduler.rounds.dealing import Dealer, Part
from scheduler.rounds.synchronous import Instructions, Rounds
from workers.asynchronous_store import AsynchronousStore
from workers.exact_sum import NonFiniteError
from workers.outcome import RoundReport
from workers.parameter_store import ParameterStore, Verdict
from workers.training import Training
from workers.worker_state import CallResult


class AsynchronousRounds(Rounds):
    """Deals shards to workers that each go on when they may: in the solver's stage; the others are ``Rounds``.

    All shards are handed out at once. A policy that ``redivides`` is asked again after every round (as many shards as
    the job has), and told how long each worker would be busy with its shards by its calls since; a worker's new shards
    are those of its next call, so a shard that moves may be computed twice in a round.
    """

    def __init__(
        self,
        job: str,
        seed: int,
        store: AsynchronousStore,
        balance: Balance,
        workers: WorkerTable,
        shards: ShardTable,
        before: Rounds | None = None,
        call_bytes: Floats | None = None,
    ) -> None:
        self._asynchronous = store
        self._first_version = 0  # of the stages after the solver's
        self._whole = RoundView(job, seed, workers, shards)
        super().__init__(job, seed, store.synchronous, balance, workers, shards, before, call_bytes)
        self._dealer = Dealer(balance)
        self._report: RoundReport | None = None  # of a round that waited for who is not here any more
        if store.is_open:  # others were seated in the middle of the stage
            store.begin_again()
            if isinstance(before, AsynchronousRounds):
                self._whole = replace(self._whole, round=before._whole.round, state=before._whole.state)
            self._mine = np.full(len(shards), -1, dtype=np.int64)  # nobody has computed what was dealt above
            self._report = self._deal()

    @property
    def worker_of(self) -> Ints:
        """Which worker computes each shard, -1 where nobody does."""
        return self._mine if self._asynchronous.is_open else super().worker_of

    def begin(self, now_s: float = math.nan) -> Instructions:
        """Open a synchronous round, or let all workers go on that may."""
        report, self._report = self._report, None
        if not self._asynchronous.training.is_asynchronous:
            found = super().begin(now_s)
            return Instructions(found.calls, report or found.report)
        if not self._asynchronous.is_open:
            self._mine = super().worker_of
            self._asynchronous.open()
            self._deal()
        return Instructions(self._next_calls(), report)

    def lost(self, worker: int, now_s: float = math.nan) -> Instructions:
        """Divide anew among the others, and let go on who waited for this worker alone; raises what ``Rounds`` does."""
        store = self._asynchronous
        if not store.is_open:
            return super().lost(worker, now_s)
        if not self._flights.lives(worker):
            return Instructions()
        self._flights.lose(worker)
        self._hand_out.lose(worker)
        report = store.leave(self._name(worker))
        if store.training.is_asynchronous:
            report = self._deal() or report
        else:
            self._follow()
        found = self.begin(now_s)
        return Instructions(found.calls, report or found.report)

    def answered(self, call: Call, result: CallResult, now_s: float = math.nan) -> Instructions:
        """Take the answer to a call, and return the calls of all that may go on; raises what ``Rounds`` does."""
        store = self._asynchronous
        if not store.is_open:
            late = result.version < self._first_version
            return Instructions() if late else super().answered(call, result, now_s)
        if result.sums is None:
            raise store.training.diverged(str(NonFiniteError(result.failure)))
        self._flights.land(call)
        offered = store.offer(self._name(call.worker), result.version, call.shards, result.sums)
        if offered.verdict is not Verdict.DUPLICATE and self._flights.lives(call.worker):
            work = float(self._whole.shards.work[call.shards].sum())
            self.measurements.computed(call.worker, work, result.busy_s)
        report = offered.report
        if report is not None and store.is_open and self.balance.redivides:
            report = self._deal() or report
        else:
            self._follow()
        return Instructions(self.begin(now_s).calls, report)

    def _deal(self) -> RoundReport | None:
        """Divide all shards among the living; who has none is not waited for. Return the report of a round so ended."""
        num, living = len(self._whole.workers), self._flights.living
        held = np.array([self._whole.shards.work[self._mine == worker].sum() for worker in range(num)])
        last_s = np.where(held > 0, self.measurements.s_per_work_of_round * held, np.nan)
        view = replace(
            self._whole,
            round=self._whole.round + 1,
            resident=frozen(self._mine, np.int64),
            last_s=frozen(last_s),
        )
        self._mine = np.full(len(self._whole.shards), -1, dtype=np.int64)
        if len(living):
            assignment = self._dealer.divide(view, Part(living, np.arange(len(self._mine))))
            self._whole = replace(view, state=assignment.state)
            self._mine = assignment.worker_of
        self.measurements.next_round()
        busy = {self._name(worker) for worker in np.unique(self._mine[self._mine >= 0]).tolist()}
        reports = [self._asynchronous.leave(worker) for worker in sorted(set(self._asynchronous.workers) - busy)]
        for worker in sorted(busy):
            self._asynchronous.come(worker)
        self._follow()
        return next((report for report in reports if report is not None), None)

    def _follow(self) -> None:
        """Go over to the stage after the solver's, if that is over."""
        store = self._asynchronous
        if not store.training.is_asynchronous:
            self.store, self._first_version = store.synchronous, store.synchronous.message.version
            self._open(replace(self._hand_out.view, pulls=len(self._whole.workers) > 1))

    def _next_calls(self) -> tuple[Call, ...]:
        """Let every worker begin a call that may."""
        calls = []
        for worker in range(len(self._whole.workers)):
            if self._asynchronous.may_pull(self._name(worker)):
                calls.append(Call(worker, self.queue(worker)))
                self._asynchronous.pull(self._name(worker), calls[-1].shards)
        return tuple(calls)

    def _name(self, worker: int) -> str:
        return self._whole.workers.ids[worker] if worker >= 0 else ""


def store_of(training: Training) -> ParameterStore | AsynchronousStore:
    """Return the store that suits a training's mode."""
    return ParameterStore(training) if training.problem.options.mode.is_synchronous else AsynchronousStore(training)


def rounds_of(
    job: str,
    seed: int,
    store: ParameterStore | AsynchronousStore,
    balance: Balance,
    workers: WorkerTable,
    shards: ShardTable,
    before: Rounds | None = None,
    call_bytes: Floats | None = None,
) -> Rounds:
    """Return the rounds that suit a store."""
    if isinstance(store, AsynchronousStore):
        return AsynchronousRounds(job, seed, store, balance, workers, shards, before, call_bytes)
    return Rounds(job, seed, store, balance, workers, shards, before, call_bytes)
