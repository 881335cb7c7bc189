"""The rounds of one job, without Ray: any hand-out and any order of answers, the same bits."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.interface import Assignment, Balance, Call, ClusterPlan, RoundView, ShardTable, Unplaced, frozen
from policies.presets import BALANCES
from policies.strategies import worker_table
from scheduler.errors import UserError
from scheduler.job import Job
from scheduler.preparation import Prepared, prepare
from scheduler.rounds.synchronous import Rounds
from workers import sequential
from workers.outcome import Outcome
from workers.parameter_store import ParameterStore
from workers.training import DivergedError
from workers.worker_state import CallResult, WorkerState

NUM_SHARDS = 5


def prepared(data: str = "diabetes", objective: str = "squared", **training: Any) -> Prepared:
    options = {"solver": "local-svrg", "batch_size": 16, "rounds": 4, **training}
    fields = {"name": "j", "data": {"bundled": data}, "model": {"objective": objective}, "shards": NUM_SHARDS}
    return prepare(Job.model_validate({**fields, "training": options}))


def rounds_of(job: Prepared, balance: Balance, num_workers: int = 3, memory: float = 1e9) -> Rounds:
    workers = worker_table([(1.0, 0.0, memory)] * num_workers, [1e-6 * (w + 1) for w in range(num_workers)])
    shards = ShardTable(frozen(job.data.work), frozen(job.data.nbytes))
    return Rounds("j", job.problem.seed, ParameterStore(job.training()), balance, workers, shards)


def clock_of(worker: int) -> Callable[[], float]:
    """Return a clock by which this worker takes as many seconds for a call as it has a number, counted from 1."""
    return itertools.count(0.0, worker + 1.0).__next__


def states_of(job: Prepared, num_workers: int) -> list[WorkerState]:
    return [WorkerState(f"w{w}", job.data, 1e9, clock_of(w)) for w in range(num_workers)]


def answer(rounds: Rounds, states: list[WorkerState], call: Call) -> CallResult:
    state = states[call.worker]
    state.configure(rounds.store.training.problem)
    return state.run(rounds.store.message, call.shards.tolist())


def train(job: Prepared, balance: Balance, num_workers: int, order: np.random.Generator) -> Outcome:
    """Drive the rounds as the parameter server does; answers arrive in a random order."""
    rounds = rounds_of(job, balance, num_workers)
    training, states = rounds.store.training, states_of(job, num_workers)
    calls = list(rounds.begin().calls)
    while training.outcome is None:
        version = rounds.store.message.version
        answers = [(call, answer(rounds, states, call)) for call in calls]
        while answers:
            assert rounds.store.message.version == version, "an attempt ends with its last answer"
            found = rounds.answered(*answers.pop(order.integers(len(answers))))
            calls = list(found.calls)
            if answers or (training.outcome is None and rounds.store.message.version == version):
                answers += [(call, answer(rounds, states, call)) for call in calls]
    return training.outcome


def bits(outcome: Outcome) -> tuple[Any, ...]:
    return (
        outcome.weights.tobytes(),
        outcome.intercepts.tobytes(),
        outcome.rounds,
        outcome.loss,
        outcome.metric,
        outcome.optimum,
    )


@pytest.mark.parametrize(
    ("data", "objective", "solver"),
    [
        ("diabetes", "squared", "local-svrg"),
        ("diabetes", "squared", "exact"),
        ("iris", "softmax", "local-sgd"),
        ("breast_cancer", "logistic", "gradient-descent"),
    ],
)
@pytest.mark.parametrize("balance", BALANCES)
def test_every_hand_out_gives_the_bits_of_one_process(data: str, objective: str, solver: str, balance: str) -> None:
    job = prepared(data, objective, solver=solver)
    expected = bits(sequential.train(job.training(), job.data.load(range(NUM_SHARDS))))
    for num_workers in (1, 2, 7):
        order = np.random.default_rng(num_workers)
        assert bits(train(job, BALANCES[balance](), num_workers, order)) == expected


class Scripted(Balance):
    """Answers what it was given, and remembers what it was asked; its name is the instance's, not the class's."""

    source = "this test"

    def __init__(self, answer: Any, more: Any = None, redivides: bool = False) -> None:
        self.name = "scripted"  # type: ignore[misc]
        self.redivides = redivides  # type: ignore[misc]
        self.answer, self.more = answer, more
        self.views: list[RoundView] = []
        self.asked: list[tuple[RoundView, int]] = []

    def divide(self, view: RoundView) -> Any:
        self.views.append(view)
        return self.answer(view) if callable(self.answer) else self.answer

    def next(self, view: RoundView, worker: int) -> Any:
        self.asked.append((view, worker))
        return super().next(view, worker) if self.more is None else self.more(view, worker)


class TestRandomHandOuts:
    job = prepared()
    expected = bits(sequential.train(job.training(), job.data.load(range(NUM_SHARDS))))

    @settings(max_examples=15, deadline=None)
    @given(owners=st.lists(st.integers(0, 3), min_size=NUM_SHARDS, max_size=NUM_SHARDS), seed=st.integers(0, 99))
    def test_the_same_bits(self, owners: list[int], seed: int) -> None:
        balance = Scripted(Assignment(np.array(owners)))
        assert bits(train(self.job, balance, 4, np.random.default_rng(seed))) == self.expected


class Wanders(Balance):
    """Divides at random in every round, keeps some back, and gives idle workers some of it at random."""

    name, source, redivides = "wanders", "this test", True

    def divide(self, view: RoundView) -> Assignment:
        random = np.random.default_rng((view.seed, view.round))
        return Assignment(random.integers(-1 if view.pulls else 0, len(view.workers), len(view.shards)))

    def next(self, view: RoundView, worker: int) -> Any:
        random = np.random.default_rng((view.seed, view.round, worker, len(view.pending)))
        return random.permutation(view.pending)[: random.integers(1, 3)]


@pytest.mark.parametrize("solver", ["local-svrg", "exact", "gradient-descent"])
def test_shards_that_wander_give_the_same_bits(solver: str) -> None:
    job = prepared(solver=solver, rounds=8)
    expected = bits(sequential.train(job.training(), job.data.load(range(NUM_SHARDS))))
    for num_workers in (1, 2, 4):
        assert bits(train(job, Wanders(), num_workers, np.random.default_rng(num_workers))) == expected


def test_idle_workers_get_no_call_and_every_shard_is_called_once() -> None:
    rounds = rounds_of(prepared(), Scripted(Assignment(np.array([2, 0, 2, 0, 2]))))
    calls = rounds.begin().calls
    assert [(call.worker, call.shards.tolist()) for call in calls] == [(0, [1, 3]), (2, [0, 2, 4])]


def test_a_hand_out_may_be_a_list() -> None:
    rounds = rounds_of(prepared(), Scripted(Assignment([0, 1, 2, 0, 1])))  # type: ignore[arg-type]
    assert [call.shards.tolist() for call in rounds.begin().calls] == [[0, 3], [1, 4], [2]]


def test_an_answer_that_comes_twice_or_late_counts_once() -> None:
    job = prepared(solver="exact")
    rounds = rounds_of(job, Scripted(Assignment(np.zeros(NUM_SHARDS, dtype=np.int64))), num_workers=1)
    state = WorkerState("w0", job.data, 1e9, lambda: 0.0)
    state.prepare(rounds.queue(0).tolist())
    training = rounds.store.training
    late: list[tuple[Any, CallResult]] = []
    (call,) = rounds.begin().calls
    for _ in range(20):
        if training.outcome is not None:
            break
        state.configure(training.problem)
        result = state.run(rounds.store.message)
        for old in late:
            assert rounds.answered(*old).calls == ()
        rounds.answered(call, result)
        late = [(call, result)]
    assert training.outcome is not None
    expected = sequential.train(job.training(), job.data.load(range(NUM_SHARDS)))
    assert bits(training.outcome) == bits(expected)


def refusal(answer: Any, memory: float = 1e9) -> str:
    with pytest.raises(UserError) as caught:
        rounds_of(prepared(), Scripted(answer), memory=memory)
    return str(caught.value)


def test_a_balance_that_raises_is_named() -> None:
    def raises(view: RoundView) -> Any:
        raise LookupError(f"no idea about {view.job}")

    assert refusal(raises) == "policy 'scripted' raised LookupError: no idea about j"


def test_answers_of_another_type_are_named() -> None:
    for answer in (None, [0] * NUM_SHARDS, ClusterPlan(0)):
        kind = type(answer).__name__
        assert refusal(answer) == f"policy 'scripted' must return an Assignment, but returned a {kind}"


@pytest.mark.parametrize("owners", [[0, 1, 2], None, ["a"] * NUM_SHARDS, [0.5] * NUM_SHARDS])
def test_a_hand_out_without_every_shard_is_refused(owners: Any) -> None:
    message = refusal(Assignment(owners))
    assert message.startswith("policy 'scripted' returned a plan that breaks 1 rule(s):\n  - worker_of ")


def test_every_reason_is_told() -> None:
    assert refusal(Assignment(np.array([0, 3, 1, -2, 2]))).splitlines() == [
        "policy 'scripted' returned a plan that breaks 2 rule(s):",
        "  - shard 1 is assigned to worker 3, but workers are 0 to 2",
        "  - shard 3 is assigned to worker -2, but workers are 0 to 2",
    ]


def test_memory_is_a_hard_limit() -> None:
    message = refusal(Assignment(np.array([0, 0, 1, 1, 2])), memory=10_000)
    assert message.splitlines()[1:] == [
        "  - worker w0: memory 0.0 MiB requested, 0.0 MiB free",
        "  - worker w1: memory 0.0 MiB requested, 0.0 MiB free",
    ]


def test_shards_that_fit_nowhere_say_what_to_do() -> None:
    def unplaced(view: RoundView) -> Any:
        answer = BALANCES["equal"]().divide(view)
        assert isinstance(answer, Unplaced)
        return answer

    message = refusal(unplaced, memory=100)
    assert "only 0 of 5 fit" in message
    assert message.endswith("give the workers more memory (workers.bundle.memory), or more workers")


def test_numbers_that_overflow_end_the_run_and_say_what_to_try() -> None:
    job = prepared(solver="local-sgd", learning_rate=1e6, rounds=50)
    with pytest.raises(DivergedError, match="learning rate 1e\\+06 is too large: try 'learning_rate: 1e\\+05'"):
        train(job, BALANCES["equal"](), 2, np.random.default_rng(0))


def test_an_update_that_is_not_finite_ends_the_run() -> None:
    rounds = rounds_of(prepared(), BALANCES["equal"]())
    call = rounds.begin().calls[0]
    with pytest.raises(DivergedError, match="round 1: 3 of 9 values are not finite; look for extreme values"):
        rounds.answered(call, CallResult(1, None, 0.1, "3 of 9 values are not finite"))


class TestRoundsThatFollow:
    """What a policy that is asked in every round is told, and what becomes of its answers."""

    def played(self, balance: Balance, num_rounds: int, num_workers: int = 2) -> tuple[Rounds, list[WorkerState]]:
        """Play a few rounds, one answer after another, in the order of the calls."""
        job = prepared(solver="gradient-descent", rounds=9)
        rounds, states = rounds_of(job, balance, num_workers), states_of(job, num_workers)
        calls, ended = list(rounds.begin().calls), 0
        while ended < num_rounds:
            found = rounds.answered(calls[0], answer(rounds, states, calls[0]))
            calls = [*calls[1:], *found.calls]
            ended += found.report is not None
        return rounds, states

    def test_it_is_told_who_was_busy_how_long_with_what(self) -> None:
        def turn(view: RoundView) -> Assignment:
            return Assignment((np.arange(NUM_SHARDS) + view.round) % 2, {"turns": view.round})

        balance = Scripted(turn, redivides=True)
        self.played(balance, 2)
        first, second, third = balance.views
        assert [view.round for view in balance.views] == [0, 1, 2]
        assert first.pulls and not len(first.resident) and not len(first.last_s) and first.state == {}
        assert second.resident.tolist() == [0, 1, 0, 1, 0]
        assert third.resident.tolist() == [1, 0, 1, 0, 1]
        assert second.state == {"turns": 0} and third.state == {"turns": 1}
        attempts = second.last_s[0]  # a first round may need a second attempt; it is one round all the same
        assert attempts in (1.0, 2.0)
        assert second.last_s.tolist() == [attempts, 2 * attempts]

    def test_who_had_nothing_has_no_time(self) -> None:
        balance = Scripted(Assignment(np.zeros(NUM_SHARDS, dtype=np.int64)), redivides=True)
        self.played(balance, 1)
        assert np.isnan(balance.views[1].last_s).tolist() == [False, True]

    def test_a_moved_shard_is_read_by_the_worker_that_gets_it(self) -> None:
        def turn(view: RoundView) -> Assignment:
            return Assignment(np.array([0, 0, 1, 1, 0 if view.round == 0 else 1]))

        rounds, states = self.played(Scripted(turn, redivides=True), 2)
        assert rounds.queue(1).tolist() == [2, 3, 4] == states[1].queue.tolist()
        again = answer(rounds, states, Call(1, rounds.queue(1)))
        assert again.read_bytes == 0  # shard 4 was read in the round before

    def test_others_are_asked_once(self) -> None:
        balance = Scripted(Assignment(np.arange(NUM_SHARDS) % 2))
        self.played(balance, 3)
        assert len(balance.views) == 1 and not balance.asked

    def test_a_policy_that_fails_in_a_later_round_is_named(self) -> None:
        def tires(view: RoundView) -> Assignment:
            return Assignment(np.zeros(NUM_SHARDS if view.round < 2 else 3, dtype=np.int64))

        with pytest.raises(UserError, match="'scripted' returned a plan that breaks 1 rule"):
            self.played(Scripted(tires, redivides=True), 3)

    def test_a_learning_policy_moves_work_to_the_fast(self) -> None:
        rounds, _ = self.played(BALANCES["adaptive"](), 1)
        counts = np.bincount(rounds.worker_of, minlength=2)  # a call takes 1 and 2 seconds, whatever its shards
        assert counts[0] > counts[1]


class TestShardsThatAreKeptBack:
    first = Assignment(np.array([0, 1, -1, -1, -1]), {"kept": 3})

    def rounds(self, more: Any, num_workers: int = 2, first: Any = None) -> tuple[Rounds, Scripted, Any]:
        job = prepared(solver="gradient-descent")
        balance = Scripted(first or self.first, more, redivides=True)
        rounds, states = rounds_of(job, balance, num_workers), states_of(job, num_workers)
        return rounds, balance, lambda call: rounds.answered(call, answer(rounds, states, call))

    def test_whoever_answers_is_given_more(self) -> None:
        rounds, balance, send = self.rounds(lambda view, worker: view.pending[:2])
        zero, one = rounds.begin().calls
        (more,) = send(one).calls
        assert (more.worker, more.shards.tolist()) == (1, [2, 3])
        (last,) = send(zero).calls
        assert (last.worker, last.shards.tolist()) == (0, [4])
        assert [(view.pending.tolist(), worker) for view, worker in balance.asked] == [([2, 3, 4], 1), ([4], 0)]
        assert all(view.state == {"kept": 3} for view, _ in balance.asked)
        assert not send(more).calls  # nothing is left, but shard 4 is out
        again = send(last).calls
        assert [(call.worker, call.shards.tolist()) for call in again] == [(0, [0]), (1, [1]), (1, [2, 3]), (0, [4])]
        assert len(balance.views) == 1  # a second attempt, for the scale is known only now: the same calls
        for call in again[:-1]:
            assert not send(call).calls
        found = send(again[-1])
        assert found.report is not None and len(found.calls) == 2
        assert balance.views[1].resident.tolist() == [0, 1, 1, 1, 0]
        assert balance.views[1].last_s.tolist() == [4.0, 8.0]

    def test_who_got_nothing_at_first_is_asked_at_once(self) -> None:
        rounds, balance, _ = self.rounds(lambda view, worker: view.pending[:1], num_workers=4)
        assert [(call.worker, *call.shards) for call in rounds.begin().calls] == [(0, 0), (1, 1), (2, 2), (3, 3)]
        assert [worker for _, worker in balance.asked] == [2, 3]

    def test_a_late_answer_is_given_nothing(self) -> None:
        rounds, balance, send = self.rounds(lambda view, worker: view.pending[:1])
        zero, _ = rounds.begin().calls
        assert len(send(zero).calls) == 1
        assert not send(zero).calls  # a duplicate
        assert len(balance.asked) == 1

    def test_nobody_waits_for_what_is_given_to_nobody(self) -> None:
        rounds, _, send = self.rounds(lambda view, worker: view.pending[:0])
        zero, one = rounds.begin().calls
        assert not send(zero).calls
        with pytest.raises(UserError) as caught:
            send(one)
        assert str(caught.value) == "policy 'scripted' kept 3 shard(s) back, and gave them to no idle worker"
        with pytest.raises(UserError, match="kept 5 shard"):
            self.rounds(lambda view, worker: view.pending[:0], first=Assignment(np.full(NUM_SHARDS, -1)))

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (lambda view, worker: np.array([0]), "breaks 1 rule(s):\n  - shard 0 is not pending"),
            (lambda view, worker: None, "a call's shards must be a row of whole numbers"),
            (lambda view, worker: {}[worker], "policy 'scripted' raised KeyError: 1"),
        ],
    )
    def test_what_is_no_answer_is_refused(self, more: Any, message: str) -> None:
        rounds, _, send = self.rounds(more)
        with pytest.raises(UserError) as caught:
            send(rounds.begin().calls[1])
        assert message in str(caught.value)

    def test_a_worker_alone_does_not_pull(self) -> None:
        balance = Scripted(Assignment(np.zeros(NUM_SHARDS, dtype=np.int64)))
        rounds_of(prepared(), balance, num_workers=1)
        assert not balance.views[0].pulls
