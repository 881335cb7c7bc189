"""Asynchronous jobs that are driven without Ray, as the parameter server drives them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from policies.interface import Balance, Call, ShardTable, frozen
from policies.presets import BALANCES
from policies.strategies import worker_table
from scheduler.job import Job
from scheduler.outputs import Finished, conclude
from scheduler.preparation import Prepared, prepare
from scheduler.rounds.asynchronous import AsynchronousRounds, rounds_of, store_of
from scheduler.rounds.synchronous import Instructions
from scheduler.run import BytesMoved, RunResult, WorkerReport
from workers.asynchronous_store import AsynchronousStore
from workers.environment import environment
from workers.outcome import Outcome, RoundReport
from workers.record import Record
from workers.replay import replay
from workers.worker_state import CallResult, WorkerState

NUM_SHARDS = 8


def prepared(mode: Any, output: str = "out", **training: Any) -> Prepared:
    """Return a small job of local SGD in a mode."""
    options = {"solver": "local-sgd", "batch_size": 16, "rounds": 12, "tolerance": 0.0, "mode": mode, **training}
    fields = {"name": "j", "data": {"bundled": "breast_cancer"}, "model": {"objective": "logistic", "l2": 0.01}}
    return prepare(Job.model_validate({**fields, "shards": NUM_SHARDS, "output": output, "training": options}))


class Drive:
    """Workers on a clock of their own: whoever is done first answers first; ``s_per_row`` says how slow each is."""

    def __init__(self, job: Prepared, balance: Balance | None = None) -> None:
        store = store_of(job.training())
        assert isinstance(store, AsynchronousStore)
        self.job, self.store, self.balance = job, store, balance or BALANCES["equal"]()
        self.now_s = 0.0
        self.reports: list[RoundReport] = []
        self.calls: list[Call] = []
        self.hook: Callable[[Instructions], None] = lambda _: None

    @property
    def done(self) -> bool:
        return self.store.training.outcome is not None

    def work(self, s_per_row: Sequence[float], until: Callable[[], bool] = lambda: False) -> None:
        """Seat so many workers, and let them work to the end, or until something has happened."""
        rounds = self.rounds = self.rounds_for(s_per_row)
        free_s, under_way = [self.now_s] * len(s_per_row), []
        found = rounds.begin()
        while not self.done and not until():
            self.hook(found)
            for call in found.calls:
                self.calls.append(call)
                _, result = self.computed(call)
                free_s[call.worker] = max(free_s[call.worker], self.now_s) + result.busy_s
                under_way.append((free_s[call.worker], call, result))
            under_way.sort(key=lambda one: (one[0], one[1].worker))
            self.now_s, call, result = under_way.pop(0)
            found = rounds.answered(call, result)
            if found.report is not None:
                self.reports.append(found.report)

    def rounds_for(self, s_per_row: Sequence[float]) -> AsynchronousRounds:
        """Return rounds with so many workers, which were not there before."""
        self.s_per_row = list(s_per_row)
        table = worker_table([(1.0, 0.0, 1e9)] * len(s_per_row), self.s_per_row)
        shards = ShardTable(frozen(self.job.data.work), frozen(self.job.data.nbytes))
        rounds = rounds_of("j", self.job.problem.seed, self.store, self.balance, table, shards)
        assert isinstance(rounds, AsynchronousRounds)
        self.states = [WorkerState(f"w{w}", self.job.data, 1e9, itertools.count().__next__) for w in range(len(table))]
        return rounds

    def computed(self, call: Call) -> tuple[Call, CallResult]:
        """Return the answer to a call."""
        state = self.states[call.worker]
        state.configure(self.store.training.problem)
        result = state.run(self.store.message_for(state.name), call.shards.tolist())
        busy_s = float(self.job.data.work[call.shards].sum()) * self.s_per_row[call.worker]
        return call, replace(result, busy_s=busy_s)

    def go_on(self, calls: Sequence[Call]) -> None:
        """Answer calls in their order, and those that follow, to the end."""
        out = list(calls)
        while not self.done:
            found = self.rounds.answered(*self.computed(out.pop(0)))
            out += found.calls

    def record(self) -> Record:
        return self.store.record()

    def outcome(self) -> Outcome:
        assert self.store.training.outcome is not None
        return self.store.training.outcome

    def replayed(self) -> Outcome:
        return replay(self.job.training(), self.job.data.load(range(NUM_SHARDS)), self.record())

    def finished(self) -> Finished:
        """Return the run as one on Ray would end."""
        every = tuple(range(NUM_SHARDS))
        worker = WorkerReport("node", 1, every, 1, 1, 1.0, None, environment())
        staleness = self.store.staleness
        result = RunResult(
            self.outcome(),
            tuple(self.reports),
            (worker,),
            (0.1,),
            BytesMoved(),
            num_calls=1,
            record=self.record(),
            staleness=staleness,
        )
        return conclude(self.job, "equal", result, 1.0)


def bits(outcome: Outcome) -> bytes:
    """Return the bits of what was learnt."""
    return b"".join(np.ascontiguousarray(array).tobytes() for array in outcome.arrays.values())
