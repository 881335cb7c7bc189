"""Rounds in which every worker goes on by itself: answers in, calls out, as in ``rounds``, and as pure."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from policies.interface import Balance, Call, RoundView, ShardTable, WorkerTable, frozen
from scheduler.rounds.synchronous import Instructions, Rounds
from workers.asynchronous_store import AsynchronousStore
from workers.exact_sum import NonFiniteError
from workers.parameter_store import ParameterStore
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
    ) -> None:
        self._asynchronous = store
        self._first_version = 0  # of the stages after the solver's
        self._whole = RoundView(job, seed, workers, shards)
        super().__init__(job, seed, store.synchronous, balance, workers, shards, before)
        if store.is_open:  # others were seated in the middle of the stage
            if isinstance(before, AsynchronousRounds):
                self._whole = replace(self._whole, round=before._whole.round, state=before._whole.state)
            self.worker_of = np.full(len(shards), -1, dtype=np.int64)  # nobody has computed what was dealt above
            self._deal()

    def begin(self, now_s: float = math.nan) -> Instructions:
        """Open a synchronous round, or let all workers go on that may."""
        if not self._asynchronous.training.is_asynchronous:
            return super().begin(now_s)
        if not self._asynchronous.is_open:
            self._asynchronous.open()
            self._deal()
        return Instructions(self._next_calls())

    def answered(self, call: Call, result: CallResult, now_s: float = math.nan) -> Instructions:
        """Take the answer to a call, and return the calls of all that may go on; raises what ``Rounds`` does."""
        store = self._asynchronous
        if not store.is_open:
            late = result.version < self._first_version
            return Instructions() if late else super().answered(call, result, now_s)
        if result.sums is None:
            raise store.training.diverged(str(NonFiniteError(result.failure)))
        self._flights.land(call)
        work = float(self._whole.shards.work[call.shards].sum())
        self.measurements.computed(call.worker, work, result.busy_s)
        report = store.offer(self._name(call.worker), result.version, call.shards, result.sums).report
        if not store.training.is_asynchronous:
            self.store, self._first_version = store.synchronous, store.synchronous.message.version
            self._open(replace(self._view, pulls=len(self._view.workers) > 1))
        elif report is not None and self.balance.redivides:
            self._deal()
        return Instructions(self.begin(now_s).calls, report)

    def _deal(self) -> None:
        """Divide all shards; who has none is not waited for."""
        num = len(self._whole.workers)
        held = np.array([self._whole.shards.work[self.queue(worker)].sum() for worker in range(num)])
        last_s = np.where(held > 0, self.measurements.s_per_work_of_round * held, np.nan)
        view = replace(
            self._whole,
            round=self._whole.round + 1,
            resident=frozen(self.worker_of, np.int64),
            last_s=frozen(last_s),
        )
        assignment = self._divide(view)
        self._whole = replace(view, state=assignment.state)
        self.worker_of = assignment.worker_of.astype(np.int64)
        self.measurements.next_round()
        busy = {self._name(worker) for worker in np.unique(self.worker_of).tolist()}
        for worker in sorted(set(self._asynchronous.workers) - busy):
            self._asynchronous.leave(worker)
        for worker in sorted(busy):
            self._asynchronous.come(worker)

    def _next_calls(self) -> tuple[Call, ...]:
        """Let every worker begin a call that may."""
        calls = []
        for worker in range(len(self._whole.workers)):
            if self._asynchronous.may_pull(self._name(worker)):
                calls.append(Call(worker, self.queue(worker)))
                self._asynchronous.pull(self._name(worker), calls[-1].shards)
        return tuple(calls)

    def _name(self, worker: int) -> str:
        return self._whole.workers.ids[worker]


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
) -> Rounds:
    """Return the rounds that suit a store."""
    if isinstance(store, AsynchronousStore):
        return AsynchronousRounds(job, seed, store, balance, workers, shards, before)
    return Rounds(job, seed, store, balance, workers, shards, before)
