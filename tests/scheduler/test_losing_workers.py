"""Workers that are lost in the middle of a round, by hand: what is in stays in, the rest goes to the others."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from policies.interface import Assignment, Balance, Call, RoundView, ShardTable, WorkerTable, frozen
from policies.presets import BALANCES
from policies.strategies import worker_table
from scheduler.errors import UserError
from scheduler.job import Job
from scheduler.preparation import Prepared, prepare
from scheduler.rounds.synchronous import Instructions, Rounds
from workers import sequential
from workers.outcome import Outcome
from workers.parameter_store import ParameterStore
from workers.worker_state import CallResult, WorkerState

NUM_SHARDS = 12


def prepared(**training: Any) -> Prepared:
    options = {"solver": "gradient-descent", "rounds": 3, "tolerance": 0.0, "learning_rate": 0.1, **training}
    fields = {"name": "j", "data": {"bundled": "diabetes"}, "model": {"objective": "squared"}, "shards": NUM_SHARDS}
    return prepare(Job.model_validate({**fields, "training": options}))


JOB = prepared()
SHARDS = ShardTable(frozen(JOB.data.work), frozen(JOB.data.nbytes))


def bits(outcome: Outcome | None) -> tuple[bytes, bytes, int]:
    assert outcome is not None
    return outcome.weights.tobytes(), outcome.intercepts.tobytes(), outcome.rounds


EXPECTED = bits(sequential.train(JOB.training(), JOB.data.load(range(NUM_SHARDS))))


def table(num: int) -> WorkerTable:
    return worker_table([(1.0, 0.0, 1e9)] * num, [1e-3] * num)


class Team:
    """Workers that answer when they are told to, and compute with real worker states."""

    def __init__(
        self,
        num: int,
        balance: Balance | str = "equal",
        before: Team | None = None,
        call_bytes: Any = None,
        job: Prepared = JOB,
    ) -> None:
        chosen = BALANCES[balance]() if isinstance(balance, str) else balance
        self.store = ParameterStore(job.training()) if before is None else before.store
        rounds = None if before is None else before.rounds
        self.rounds = Rounds("j", 0, self.store, chosen, table(num), SHARDS, rounds, call_bytes)
        self.states = [WorkerState(f"w{w}", job.data, 1e9, itertools.count().__next__) for w in range(num)]
        self.now_s = 0.0
        self.out: list[Call] = []
        self.take(self.rounds.begin(self.now_s))

    def take(self, found: Instructions) -> Instructions:
        self.out += found.calls
        return found

    def result(self, call: Call, version: int | None = None) -> CallResult:
        state = self.states[call.worker]
        state.configure(self.store.training.problem)
        result = state.run(self.store.message, call.shards.tolist())
        return CallResult(result.version if version is None else version, result.sums, 1.0)

    def answer(self, call: Call) -> Instructions:
        self.out = [one for one in self.out if one is not call]
        self.now_s += 1.0
        return self.take(self.rounds.answered(call, self.result(call), self.now_s))

    def lose(self, worker: int) -> Instructions:
        self.out = [call for call in self.out if call.worker != worker]
        return self.take(self.rounds.lost(worker, self.now_s))

    def calls(self, worker: int) -> list[Call]:
        return [call for call in self.out if call.worker == worker]

    def finish(self) -> Outcome | None:
        while self.store.training.outcome is None:
            assert self.out, "somebody lives, and nobody computes"
            self.answer(self.out[0])
        return self.store.training.outcome

    def begin_a_round(self, stage: str = "gradient-descent") -> None:
        """Go on to the beginning of the second round of a stage, in which all is known."""
        while not (self.store.training.stage == stage and self.store.training.state.round == 1):
            self.answer(self.out[0])


def awaited(rounds: Rounds) -> list[int]:
    """Return what living workers are to compute, and what is kept back; a shard that is there twice is there twice."""
    flights = [flight for worker in range(len(rounds._flights._flights)) for flight in rounds._flights._flights[worker]]
    assert all(rounds._flights.lives(flight.call.worker) for flight in flights)
    return sorted(itertools.chain(rounds._hand_out.pending.tolist(), *(one.call.shards.tolist() for one in flights)))


def shards_of(calls: Sequence[Call]) -> list[list[int]]:
    return [call.shards.tolist() for call in calls]


@pytest.mark.parametrize("balance", sorted(BALANCES))
def test_what_a_lost_worker_had_is_computed_by_the_others_at_once(balance: str) -> None:
    team = Team(3, balance)
    team.begin_a_round()
    in_before = NUM_SHARDS - team.store.num_missing
    team.lose(1)
    assert awaited(team.rounds) == team.store.missing.tolist()
    assert {call.worker for call in team.out} <= {0, 2}
    assert NUM_SHARDS - team.store.num_missing == in_before
    assert bits(team.finish()) == EXPECTED
    assert not len(team.rounds.queue(1))


def test_equal_shares_of_the_rest_go_to_those_who_are_busy_too() -> None:
    team = Team(3)
    team.begin_a_round()
    team.answer(team.calls(0)[0])
    dealt = team.lose(2).calls
    assert shards_of(dealt) == [[8, 9], [10, 11]] and [call.worker for call in dealt] == [0, 1]
    assert shards_of(team.calls(1)) == [[4, 5, 6, 7], [10, 11]]  # in the order in which it computes them
    assert team.lose(2) == Instructions()
    assert bits(team.finish()) == EXPECTED


def test_several_are_lost_one_after_the_other_and_the_last_one_does_it_all() -> None:
    team = Team(4)
    team.begin_a_round()
    for worker in (0, 2, 3):
        team.lose(worker)
    assert sorted(shard for call in team.calls(1) for shard in call.shards.tolist()) == list(range(NUM_SHARDS))
    assert bits(team.finish()) == EXPECTED


def test_the_next_round_is_divided_among_the_living_even_by_a_policy_that_does_not_redivide() -> None:
    team = Team(3)
    team.begin_a_round()
    team.lose(0)
    while team.store.training.state.round == 1:
        team.answer(team.out[0])
    assert [(call.worker, call.shards.tolist()) for call in team.out] == [
        (1, [0, 1, 2, 3, 4, 5]),
        (2, [6, 7, 8, 9, 10, 11]),
    ]


def test_a_second_attempt_is_computed_by_those_who_live() -> None:
    """The first attempt of a stage only finds the scale: a worker that answered it is lost before the second."""
    team = Team(3)
    version = team.store.message.version
    team.answer(team.out[0])
    team.lose(0)  # what it has answered stays in for this attempt
    while team.store.message.version == version:
        team.answer(team.out[0])
    again = sorted(shard for call in team.out for shard in call.shards.tolist())
    assert again == list(range(NUM_SHARDS)) and {call.worker for call in team.out} == {1, 2}
    assert bits(team.finish()) == EXPECTED


def test_nobody_is_left_and_others_begin_with_what_is_in() -> None:
    team = Team(2)
    team.begin_a_round()
    team.answer(team.calls(0)[0])
    team.lose(1)
    assert not team.rounds.is_deserted
    assert team.lose(0).calls == () and team.rounds.is_deserted
    assert team.rounds.begin(1.0).calls == ()
    assert team.store.missing.tolist() == [6, 7, 8, 9, 10, 11]
    others = Team(3, before=team)
    assert shards_of(others.out) == [[6, 7], [8, 9], [10, 11]]
    while others.store.training.state.round == 1:
        others.answer(others.out[0])
    assert shards_of(others.out) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]  # all of them anew
    assert bits(others.finish()) == EXPECTED


def test_a_store_that_has_everything_is_closed_at_the_beginning() -> None:
    """A server that died before it committed: every call is in its journal."""
    team = Team(1)
    team.begin_a_round()
    result = team.result(team.out[0])
    assert result.sums is not None
    team.store.offer(result.version, team.out[0].shards, result.sums)
    others = Rounds("j", 0, team.store, BALANCES["equal"](), table(2), SHARDS)
    found = others.begin(0.0)
    assert found.report is not None and found.report.round == 2
    assert shards_of(found.calls) == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]


# --- late answers ---


def test_a_late_answer_counts_if_its_shards_are_missing_and_replaces_what_was_dealt_for_it() -> None:
    team = Team(3)
    team.begin_a_round()
    call = team.calls(0)[0]
    late = team.result(call)
    team.lose(0)
    team.rounds.answered(call, late, 9.0)
    assert team.store.missing.tolist() == [4, 5, 6, 7, 8, 9, 10, 11]
    twice = [one for one in team.out if set(one.shards.tolist()) <= set(call.shards.tolist())]
    assert len(twice) == 2
    for one in twice:
        team.answer(one)  # a duplicate, with the same bits
    assert team.store.missing.tolist() == [4, 5, 6, 7, 8, 9, 10, 11]
    assert bits(team.finish()) == EXPECTED


def test_a_late_answer_is_refused_once_another_has_answered_for_some_of_it() -> None:
    team = Team(3)
    team.begin_a_round()
    call = team.calls(0)[0]
    late = team.result(call)
    dealt = team.lose(0).calls
    team.answer(next(one for one in team.out if one is dealt[0]))
    missing = team.store.missing.tolist()
    team.rounds.answered(call, late, 9.0)
    assert team.store.missing.tolist() == missing
    assert bits(team.finish()) == EXPECTED


def test_a_late_answer_is_refused_where_others_have_its_shards_together_with_more() -> None:
    team = Team(3, call_bytes=np.array([np.inf, np.inf, 3 * SHARDS.bytes.max()]))
    team.begin_a_round()
    first, second = team.calls(2)
    assert shards_of([first, second]) == [[8, 9, 10], [11]]
    late = team.result(first)
    assert shards_of(team.lose(2).calls) == [[8, 9], [10, 11]]
    team.rounds.answered(first, late, 9.0)
    assert team.store.num_missing == NUM_SHARDS
    assert bits(team.finish()) == EXPECTED


def test_answers_to_an_earlier_team_are_taken_from_nobody() -> None:
    team = Team(2)
    team.begin_a_round()
    old, result = team.calls(0)[0], team.result(team.calls(0)[0])
    others = Team(2, before=team)
    others.rounds.answered(Call(-1, old.shards), result, 1.0)
    assert others.store.num_missing == NUM_SHARDS // 2
    assert bits(others.finish()) == EXPECTED


# --- copies ---


class Patient(Balance):
    """Gives the first worker everything, and is quick to copy."""

    name, source = "patient", "this test"
    patience = 1.0

    def divide(self, view: RoundView) -> Assignment:
        return Assignment(np.zeros(len(view.shards), dtype=np.int64))


def copied() -> Team:
    """Return three workers, of which two compute copies of what the first is at."""
    team = Team(3, Patient())
    team.begin_a_round()
    for worker in range(3):
        team.rounds.measurements.computed(worker, 1e3, 1.0)
    team.now_s += 10.0
    team.take(team.rounds.look(team.now_s))
    assert len(team.calls(1)) == len(team.calls(2)) == 1
    return team


def test_copies_that_are_in_count_and_those_under_way_are_calls_once_the_call_is_lost() -> None:
    team = copied()
    (one,), (two,) = team.calls(1), team.calls(2)
    team.answer(one)
    assert team.store.num_missing == NUM_SHARDS  # put aside
    team.lose(0)
    missing = set(range(NUM_SHARDS)) - set(one.shards.tolist())
    assert set(team.store.missing.tolist()) == missing
    calls = [call.shards.tolist() for call in team.out]
    assert two.shards.tolist() in calls and sorted(itertools.chain(*calls)) == sorted(missing)  # nothing is dealt twice
    while team.store.training.state.round == 1:
        before = set(team.store.missing.tolist())
        call = team.out[-1]
        team.answer(call)
        assert not before or set(call.shards.tolist()) <= before
    assert bits(team.finish()) == EXPECTED


def test_what_a_lost_worker_copied_is_the_calls_own_again() -> None:
    team = copied()
    flight = team.rounds._flights.first(0)
    (one,) = team.calls(1)
    assert flight is not None and not set(flight.uncopied.tolist()) & set(one.shards.tolist())
    team.lose(1)
    assert set(one.shards.tolist()) <= set(flight.uncopied.tolist())
    assert bits(team.finish()) == EXPECTED


def test_a_late_copy_alone_does_not_take_shards_from_the_call() -> None:
    """It would leave the rest of the call behind, which would then overlap."""
    team = copied()
    (one,) = team.calls(1)
    late = team.result(one)
    team.lose(1)
    team.rounds.answered(one, late, 20.0)
    assert team.store.num_missing == NUM_SHARDS
    assert bits(team.finish()) == EXPECTED


# --- shards that are kept back ---


def test_the_idle_are_asked_when_the_last_one_at_work_is_lost() -> None:
    class KeepsBack(Balance):
        name, source = "keeps back", "this test"

        def divide(self, view: RoundView) -> Assignment:
            return Assignment(np.where(np.arange(len(view.shards)) == 0, 0, -1 if view.pulls else 0))

        def next(self, view: RoundView, worker: int) -> Any:
            return view.pending[: 1 + len(view.pending) // 2] if worker == 0 else view.pending[:0]

    team = Team(3, KeepsBack())
    team.begin_a_round()
    assert {call.worker for call in team.out} == {0}
    team.lose(0)
    assert team.out and {call.worker for call in team.out} == {1}  # it is the first row now
    assert bits(team.finish()) == EXPECTED


def test_a_policy_that_gives_the_living_nothing_is_refused() -> None:
    class Miser(Balance):
        name, source = "miser", "this test"

        def divide(self, view: RoundView) -> Assignment:
            return Assignment(np.full(len(view.shards), 0 if len(view.workers) == 3 else -1))

    team = Team(3, Miser())
    with pytest.raises(UserError, match=r"policy 'miser' kept 12 shard\(s\) back, and gave them to no idle worker"):
        team.lose(0)


# --- what is known is kept ---


def test_who_stays_is_known_and_nodes_are() -> None:
    team = Team(2)
    for worker, seconds in enumerate((3.0, 5.0)):
        team.rounds.measurements.computed(worker, 1.0, seconds)
    team.rounds.measurements.read(0, 1e9, 2e9)
    others = Team(3, before=team)
    known = others.rounds.measurements
    assert known.s_per_work[:2].tolist() == team.rounds.measurements.s_per_work.tolist()
    assert known.network().s_per_byte.tolist() == [2.0, 0.0, 0.0]


# --- calls that fit ---


@pytest.mark.parametrize("balance", sorted(BALANCES))
def test_no_call_has_more_bytes_than_its_worker_is_to_hold(balance: str) -> None:
    size = float(SHARDS.bytes.max())
    limits = np.array([2.5 * size, np.inf, size / 2])
    team = Team(3, balance, call_bytes=limits)
    sent: list[Call] = list(team.out)
    while team.store.training.outcome is None:
        if len(sent) == 40:
            sent += team.lose(1).calls
        sent += team.answer(team.out[0]).calls
    assert bits(team.store.training.outcome) == EXPECTED
    for call in sent:
        fits = SHARDS.bytes[call.shards].sum() <= limits[call.worker]
        assert fits or len(call.shards) == 1
    assert max(len(call.shards) for call in sent if call.worker == 2) == 1
