"""Rounds, store and workers with unsound messages between them: whatever happens, every round has the same bits."""

from __future__ import annotations

import copy
import itertools
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from policies.interface import Call, ShardTable, frozen
from policies.presets import BALANCES
from policies.strategies import worker_table
from scheduler.job import Job
from scheduler.preparation import Prepared, prepare
from scheduler.rounds.synchronous import Instructions, Rounds
from workers import sequential
from workers.outcome import RoundReport
from workers.parameter_store import ParameterStore, Verdict
from workers.training import Training
from workers.update import Message
from workers.worker_state import CallResult, WorkerState

POLICIES = ("equal", "adaptive-pull", "pull", "pid", "lpt")
SOLVERS = ("gradient-descent", "local-sgd", "local-svrg")
NUM_SHARDS, MOST_WORKERS = 5, 4


def prepared(solver: str) -> Prepared:
    training = {"solver": solver, "batch_size": 64, "rounds": 3, "tolerance": 0.0, "learning_rate": 0.05}
    fields = {"name": "j", "data": {"bundled": "diabetes"}, "model": {"objective": "squared"}, "shards": NUM_SHARDS}
    return prepare(Job.model_validate({**fields, "training": training}))


JOBS = {solver: prepared(solver) for solver in SOLVERS}


def bits_of(training: Training) -> bytes:
    parts = [training.state.parameters, *(training.state.memory[name] for name in sorted(training.state.memory))]
    return b"".join(np.ascontiguousarray(part).tobytes() for part in [*parts, training.problem.columns.scale])


def reference(solver: str) -> list[tuple[RoundReport, bytes]]:
    """Return every round's report and bits, one shard after the other in one process."""
    job = JOBS[solver]
    training = job.training()
    return [(report, bits_of(training)) for report in sequential.rounds(training, job.data.load(range(NUM_SHARDS)))]


EXPECTED = {solver: reference(solver) for solver in SOLVERS}


@dataclass
class Process:
    """A worker: the calls before it, and whether something of its was lost on the way."""

    name: str
    state: WorkerState
    inbox: deque[tuple[Rounds, Call, Message]] = field(default_factory=deque)
    was_cut: bool = False


class RoundsMachine(RuleBasedStateMachine):
    """Answers come twice, late, in any order or never; workers are lost and come; the server dies and is restored."""

    @initialize(solver=st.sampled_from(SOLVERS), balance=st.sampled_from(POLICIES), num=st.integers(1, MOST_WORKERS))
    def start(self, solver: str, balance: str, num: int) -> None:
        self.job, self.solver, self.balance = JOBS[solver], solver, BALANCES[balance]()
        self.shards = ShardTable(frozen(self.job.data.work), frozen(self.job.data.nbytes))
        self.names = itertools.count()
        self.now_s = 0.0
        self.committed = 0
        self.store = ParameterStore(self.job.training())
        self.journal: list[tuple[Any, ...]] = []
        self.saved = copy.deepcopy(self.store)
        self.travelling: list[tuple[Process, Rounds, Call, CallResult]] = []
        self.come_back: list[tuple[Process, Rounds, Call, CallResult]] = []
        self.team: list[Process] = []
        self.rounds: Rounds | None = None
        self.seat(num)

    # --- what the server does ---

    def seat(self, num_new: int, stay: bool = True, few: bool = False) -> None:
        """Seat those who live, and some that are new."""
        living = [
            one for row, one in enumerate(self.team) if self.rounds is not None and self.rounds._flights.lives(row)
        ]
        new = [f"w{next(self.names)}" for _ in range(num_new)]
        clock = itertools.count().__next__
        self.team = (living if stay else []) + [
            Process(name, WorkerState(name, self.job.data, 1e9, clock)) for name in new
        ]
        table = worker_table([(1.0, 0.0, 1e9)] * len(self.team), [1e-3] * len(self.team))
        table = replace(table, ids=tuple(one.name for one in self.team))
        limits = np.full(len(self.team), 2 * self.shards.bytes.max() if few else np.inf)
        self.rounds = Rounds("j", 0, self.store, self.balance, table, self.shards, self.rounds, limits)
        self.note(self.rounds.begin(self.now_s))

    def note(self, found: Instructions) -> None:
        if found.report is not None:
            assert (found.report, bits_of(self.store.training)) == EXPECTED[self.solver][self.committed]
            self.committed += 1
        if self.store.message.version != self.saved.message.version:
            self.saved, self.journal = copy.deepcopy(self.store), []
        for call in found.calls:
            assert self.rounds is not None and self.rounds._flights.lives(call.worker)
            self.team[call.worker].inbox.append((self.rounds, call, self.store.message))

    def deliver(self, sent: tuple[Process, Rounds, Call, CallResult]) -> None:
        _, rounds, call, result = sent
        assert self.rounds is not None
        if rounds is not self.rounds:
            call = Call(-1, call.shards)
        before, offer = set(self.store.missing.tolist()), self.store.offer

        def noting(version: int, shards: Any, sums: Any, worker: str = "") -> Verdict:
            verdict = offer(version, shards, sums, worker)
            if verdict is Verdict.ACCEPTED:
                self.journal.append((version, shards, sums, worker))
            return verdict

        version = self.store.message.version
        self.store.offer = noting  # type: ignore[method-assign]
        found = self.rounds.answered(call, result, self.now_s)
        del self.store.offer
        if self.store.message.version == version and self.running():
            journaled = [shard for _, shards, *_ in self.journal for shard in shards.tolist()]
            assert len(journaled) == len(set(journaled)), "a shard is counted twice"
            assert before - set(self.store.missing.tolist()) <= set(journaled)
        self.note(found)

    # --- what happens ---

    def running(self) -> bool:
        return self.store.training.outcome is None

    def deserted(self) -> bool:
        return self.rounds is None or self.rounds.is_deserted

    @rule()
    def nothing_happens(self) -> None:
        """There is a rule left where training has ended."""

    @precondition(running)
    @rule(data=st.data(), num=st.integers(1, 4))
    def compute(self, data: st.DataObject, num: int) -> None:
        for _ in range(num):
            busy = [process for process in self.team if process.inbox]
            if busy:
                self.work(data.draw(st.sampled_from(busy)))

    def work(self, process: Process) -> None:
        self.travelling.append(self.answer_of(process))

    def answer_of(self, process: Process) -> tuple[Process, Rounds, Call, CallResult]:
        rounds, call, message = process.inbox.popleft()
        process.state.configure(self.store.training.problem)
        result = process.state.run(message, call.shards.tolist())
        return process, rounds, call, CallResult(message.version, result.sums, 0.5)

    @precondition(lambda self: self.running() and self.travelling)
    @rule(data=st.data(), twice=st.booleans(), seconds=st.sampled_from((0.0, 0.1, 3.0)))
    def an_answer_arrives(self, data: st.DataObject, twice: bool, seconds: float) -> None:
        self.now_s += seconds
        place = data.draw(st.integers(0, len(self.travelling) - 1))
        sent = self.travelling[place] if twice else self.travelling.pop(place)
        self.come_back = [*self.come_back[-5:], sent]
        self.deliver(sent)

    @precondition(lambda self: self.running() and self.come_back)
    @rule(data=st.data())
    def an_old_answer_arrives_again(self, data: st.DataObject) -> None:
        self.deliver(data.draw(st.sampled_from(self.come_back)))

    @precondition(lambda self: self.running() and self.travelling)
    @rule(data=st.data())
    def an_answer_is_lost(self, data: st.DataObject) -> None:
        sent = self.travelling.pop(data.draw(st.integers(0, len(self.travelling) - 1)))
        sent[0].was_cut = True

    @precondition(lambda self: self.running() and any(process.inbox for process in self.team))
    @rule(data=st.data())
    def a_call_is_lost(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from([process for process in self.team if process.inbox]))
        process.inbox.popleft()
        process.was_cut = True

    @precondition(lambda self: self.running() and not self.deserted())
    @rule(data=st.data(), dies=st.booleans())
    def a_worker_is_lost(self, data: st.DataObject, dies: bool) -> None:
        assert self.rounds is not None
        row = data.draw(st.sampled_from(self.rounds._flights.living.tolist()))
        self.lose(row, dies)

    def lose(self, row: int, dies: bool = True) -> None:
        assert self.rounds is not None
        if dies:
            self.team[row].inbox.clear()
        self.note(self.rounds.lost(row, self.now_s))

    @precondition(lambda self: self.running() and not self.deserted())
    @rule(seconds=st.sampled_from((1.0, 20.0)))
    def the_server_looks_for_what_is_overdue(self, seconds: float) -> None:
        assert self.rounds is not None
        self.now_s += seconds
        self.note(self.rounds.look(self.now_s))

    @precondition(running)
    @rule(num=st.integers(1, 2), stay=st.booleans(), few=st.booleans())
    def others_are_seated(self, num: int, stay: bool, few: bool) -> None:
        if len(self.team) <= MOST_WORKERS or not stay:
            self.seat(num, stay, few)

    @precondition(running)
    @rule(data=st.data(), num=st.integers(1, 2), stay=st.booleans())
    def the_server_dies_and_is_restored(self, data: st.DataObject, num: int, stay: bool) -> None:
        kept = self.journal[: data.draw(st.integers(0, len(self.journal)))]
        living = [
            one for row, one in enumerate(self.team) if self.rounds is not None and self.rounds._flights.lives(row)
        ]
        self.store, self.rounds = copy.deepcopy(self.saved), None
        self.journal = list(kept)
        for offered in kept:
            assert self.store.offer(*offered) is Verdict.ACCEPTED
        self.team = []
        self.seat(num)
        if stay:  # they go on with what the dead server has sent them
            self.travelling += [self.answer_of(process) for process in living for _ in range(len(process.inbox))]

    # --- what must be ---

    @invariant()
    def everything_that_is_missing_is_awaited_once(self) -> None:
        if not hasattr(self, "store") or not self.running() or self.rounds is None:
            return
        flights = [flight for flights in self.rounds._flights._flights for flight in flights]
        assert all(self.rounds._flights.lives(flight.call.worker) for flight in flights)
        awaited = itertools.chain(
            self.rounds._hand_out.pending.tolist(), *(one.call.shards.tolist() for one in flights)
        )
        assert sorted(awaited) == self.store.missing.tolist()

    def teardown(self) -> None:
        """Let all go well from now on: the training ends, and nobody waits for what was lost on the way."""
        if not hasattr(self, "store"):
            return
        for _ in range(400):
            if not self.running():
                break
            if self.travelling:
                self.deliver(self.travelling.pop(0))
            elif busy := [process for process in self.team if process.inbox]:
                self.work(busy[0])
            elif self.deserted():
                self.seat(1)
            else:
                assert self.rounds is not None
                cut = [row for row in self.rounds._flights.living.tolist() if self.team[row].was_cut]
                assert cut, "somebody lives, nothing was lost on the way, and nothing happens"
                self.lose(cut[0])
        assert self.committed == len(EXPECTED[self.solver])


class TestRoundsMachine(RoundsMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = settings(max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))
