"""Copies of calls that are too slow, without Ray: whoever answers first, the bits are the same."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.interface import Balance, Call, ShardTable, frozen
from policies.presets import BALANCES
from policies.strategies import worker_table
from scheduler.job import Job
from scheduler.preparation import Prepared, prepare
from scheduler.rounds.flights import Flights
from scheduler.rounds.synchronous import Instructions, Rounds
from workers import sequential
from workers.outcome import Outcome
from workers.parameter_store import ParameterStore
from workers.worker_state import CallResult, WorkerState

NUM_SHARDS = 24
COPYING = ("adaptive", "pid", "pull", "adaptive-pull")


def prepared(**training: Any) -> Prepared:
    options = {"solver": "local-sgd", "batch_size": 8, "rounds": 5, "tolerance": 0, **training}
    fields = {"name": "j", "data": {"bundled": "diabetes"}, "model": {"objective": "squared"}, "shards": NUM_SHARDS}
    return prepare(Job.model_validate({**fields, "training": options}))


def bits(outcome: Outcome) -> tuple[bytes, bytes, int]:
    return outcome.weights.tobytes(), outcome.intercepts.tobytes(), outcome.rounds


@dataclass
class Drive:
    """Drives rounds on a virtual clock: worker ``w`` takes ``s_per_row[w]`` for each row from moment to moment.

    ``slow`` maps a worker to the moment from which it takes a hundred times as long.
    """

    job: Prepared
    balance: Balance
    s_per_row: list[float]
    slow: dict[int, float] = field(default_factory=dict)
    now_s: float = 0.0
    sent: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        num = len(self.s_per_row)
        self.work = self.job.data.work
        workers = worker_table([(1.0, 0.0, 1e9)] * num, self.s_per_row)
        shards = ShardTable(frozen(self.work), frozen(self.job.data.nbytes))
        store = ParameterStore(self.job.training())
        self.rounds = Rounds("j", self.job.problem.seed, store, self.balance, workers, shards)
        self.states = [WorkerState(f"w{w}", self.job.data, 1e9, itertools.count().__next__) for w in range(num)]
        self.free_s = [0.0] * num
        self.due: list[tuple[float, int, Call, CallResult]] = []
        self.numbers = itertools.count()
        self.round_s: list[float] = []

    def run(self) -> Outcome:
        training, began_s = self.rounds.store.training, 0.0
        self.send(self.rounds.begin(self.now_s))
        while training.outcome is None:
            look_s = self.rounds.look_s
            if look_s < self.due[0][0]:
                self.now_s = look_s
                self.send(self.rounds.look(look_s))
                continue
            self.now_s, _, call, result = heapq.heappop(self.due)
            found = self.rounds.answered(call, result, self.now_s)
            if found.report is not None:
                self.round_s.append(self.now_s - began_s)
                began_s = self.now_s
            self.send(found)
            for ahead in found.fetches:
                self.states[ahead.worker].fetch(ahead.shards.tolist())
        return training.outcome

    def send(self, found: Instructions) -> None:
        for call in found.calls:
            self.sent.append(call)
            state = self.states[call.worker]
            state.configure(self.rounds.store.training.problem)
            sums = state.run(self.rounds.store.message, call.shards.tolist()).sums
            began_s = max(self.now_s, self.free_s[call.worker])
            took_s = self.seconds(call, began_s)
            self.free_s[call.worker] = began_s + took_s
            result = CallResult(self.rounds.store.message.version, sums, took_s)
            heapq.heappush(self.due, (began_s + took_s, next(self.numbers), call, result))

    def seconds(self, call: Call, began_s: float) -> float:
        takes_s = float(self.work[call.shards].sum()) * self.s_per_row[call.worker]
        slow_s = self.slow.get(call.worker, float("inf"))
        before_s = min(max(slow_s - began_s, 0.0), takes_s)
        return before_s + 100.0 * (takes_s - before_s)


JOB = prepared()
EXPECTED = bits(sequential.train(JOB.training(), JOB.data.load(range(NUM_SHARDS))))


@pytest.mark.parametrize("balance", COPYING)
def test_nobody_waits_for_a_straggler(balance: str) -> None:
    waits = Drive(JOB, BALANCES[balance](patience=1e9), [1e-3] * 3, {2: 0.35})  # type: ignore[call-arg]
    copies = Drive(JOB, BALANCES[balance](), [1e-3] * 3, {2: 0.35})
    assert bits(waits.run()) == bits(copies.run()) == EXPECTED
    assert waits.rounds.num_copies == 0
    assert copies.rounds.num_copies > 0
    late_s = [at_s for at_s, *_, call, _ in copies.due if call.worker == 2]
    assert len(late_s) <= 1  # a straggler has no more than one call before it
    assert max(copies.round_s) < max(waits.round_s) / 2


def test_a_second_attempt_is_not_measured() -> None:
    """The first round of a stage only finds the scale of its sum; what is added up again takes no time."""
    drive = Drive(JOB, BALANCES["speed-proportional"](), [1e-3, 2e-3])
    first = drive.rounds.begin(0.0)
    for call in first.calls:
        state = drive.states[call.worker]
        state.configure(drive.rounds.store.training.problem)
        sums = state.run(drive.rounds.store.message, call.shards.tolist()).sums
        took_s = drive.seconds(call, 0.0)
        again = drive.rounds.answered(call, CallResult(drive.rounds.store.message.version, sums, took_s), took_s)
    assert drive.rounds.measurements.s_per_work.tolist() == pytest.approx([1e-3, 2e-3])
    assert again.report is None
    sums = drive.states[0].run(drive.rounds.store.message, again.calls[0].shards.tolist()).sums
    drive.rounds.answered(again.calls[0], CallResult(drive.rounds.store.message.version, sums, 0.0), 9.0)
    assert drive.rounds.measurements.s_per_work.tolist() == pytest.approx([1e-3, 2e-3])


def test_who_has_no_patience_set_waits() -> None:
    drive = Drive(JOB, BALANCES["speed-proportional"](), [1e-3] * 3, {2: 0.1})
    assert bits(drive.run()) == EXPECTED
    assert drive.rounds.num_copies == 0
    assert drive.rounds.look_s == float("inf")


def test_a_straggler_is_measured_by_how_long_it_has_been_at_it() -> None:
    drive = Drive(JOB, BALANCES["adaptive"](), [1e-3] * 3, {2: 0.35})
    drive.run()
    assert len(drive.rounds.queue(2)) < len(drive.rounds.queue(0)) / 2


@settings(max_examples=40, deadline=None)
@given(
    balance=st.sampled_from(COPYING),
    speeds=st.lists(st.sampled_from((1e-3, 2e-3, 5e-3)), min_size=2, max_size=4),
    slow=st.dictionaries(st.integers(0, 2), st.sampled_from((0.0, 0.05, 0.2, 0.5, 1.0)), max_size=2),
    patience=st.sampled_from((1.0, 1.1, 2.0)),
)
def test_whoever_answers_first_the_bits_are_the_same(
    balance: str, speeds: list[float], slow: dict[int, float], patience: float
) -> None:
    drive = Drive(JOB, BALANCES[balance](patience=patience), speeds, slow)  # type: ignore[call-arg]
    assert bits(drive.run()) == EXPECTED


def test_copies_and_call_are_never_both_counted() -> None:
    """Two idle workers have copied a call between them; what lands is known for what it is, and only once."""
    flights = Flights(3, np.ones(6))
    call = Call(0, np.arange(6))
    flights.depart([call], 0.0)
    flight = flights.first(0)
    assert flight is not None
    first, second = Call(1, np.array([0, 1, 2])), Call(2, np.array([3, 4, 5]))
    flights.copy(flight, first)
    assert flight.uncopied.tolist() == [3, 4, 5]
    assert flights.idle.tolist() == [2]
    flights.copy(flight, second)
    assert np.isnan(flights.work[0])  # nothing of it is left to be copied
    assert flights.land(first) is flight
    assert flights.land(first) is None  # it has landed already
    assert flights.land(call) is None
    flights.close(call, 1.0)
    assert flights.first(0) is None
    assert flights.idle.tolist() == [0, 1]


def test_a_worker_is_at_the_first_of_its_calls() -> None:
    flights = Flights(1, np.array([1.0, 2.0, 4.0]))
    first, second = Call(0, np.array([0])), Call(0, np.array([1, 2]))
    flights.depart([first, second], 1.0)
    assert (flights.since_s[0], flights.work[0]) == (1.0, 1.0)
    flights.close(first, 3.0)
    assert (flights.since_s[0], flights.work[0]) == (3.0, 6.0)
    assert flights.begin([second], 4.0) == ()  # it computes what is stale by now
    assert (flights.since_s[0], flights.work[0]) == (4.0, 6.0)
    assert not len(flights.idle)
    flights.land(first)
    flights.land(second)
    assert flights.idle.tolist() == [0]
    assert flights.released(0) == (second,)
    assert not len(flights.idle)


def test_what_others_have_done_meanwhile_is_not_sent_any_more() -> None:
    flights = Flights(2, np.ones(2))
    stale, next_one = Call(0, np.array([0])), Call(0, np.array([1]))
    flights.depart([stale], 0.0)
    assert flights.begin([next_one, Call(1, np.array([0]))], 1.0)[0].worker == 1
    flights.close(next_one, 2.0)
    flights.land(stale)
    assert flights.released(0) == ()
