"""The rounds of one job, without Ray: any hand-out and any order of answers, the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.interface import Assignment, Balance, ClusterPlan, RoundView, ShardTable, Unplaced, frozen
from policies.presets import BALANCES
from policies.strategies import worker_table
from scheduler.errors import UserError
from scheduler.job import Job
from scheduler.preparation import Prepared, prepare
from scheduler.rounds import Rounds
from workers import sequential
from workers.parameter_store import ParameterStore
from workers.training import DivergedError, Outcome
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


def train(job: Prepared, balance: Balance, num_workers: int, order: np.random.Generator) -> Outcome:
    """Drive the rounds as the parameter server does; the answers of a round arrive in a random order."""
    rounds = rounds_of(job, balance, num_workers)
    training = rounds.store.training
    states = [WorkerState(f"w{w}", job.data, 1e9, lambda: 0.0) for w in range(num_workers)]
    for worker, state in enumerate(states):
        state.prepare(rounds.assignment.queue(worker).tolist())
    calls = list(rounds.begin().calls)
    while training.outcome is None:
        message = rounds.store.message
        answers = []
        for call in calls:
            states[call.worker].configure(training.problem)
            answers.append((call, states[call.worker].run(message)))
        calls = []
        for number in order.permutation(len(answers)):
            assert not calls, "a round ends with its last answer"
            calls = list(rounds.answered(*answers[number]).calls)
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
    """Answers what it was given; its name is the instance's, not the class's."""

    source = "this test"

    def __init__(self, answer: Any) -> None:
        self.name = "scripted"  # type: ignore[misc]
        self.answer = answer

    def divide(self, view: RoundView) -> Any:
        return self.answer(view) if callable(self.answer) else self.answer


class TestRandomHandOuts:
    job = prepared()
    expected = bits(sequential.train(job.training(), job.data.load(range(NUM_SHARDS))))

    @settings(max_examples=15, deadline=None)
    @given(owners=st.lists(st.integers(0, 3), min_size=NUM_SHARDS, max_size=NUM_SHARDS), seed=st.integers(0, 99))
    def test_the_same_bits(self, owners: list[int], seed: int) -> None:
        balance = Scripted(Assignment(np.array(owners)))
        assert bits(train(self.job, balance, 4, np.random.default_rng(seed))) == self.expected


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
    state.prepare(rounds.assignment.queue(0).tolist())
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
    assert refusal(Assignment(np.array([0, 3, 1, -1, 2]))).splitlines() == [
        "policy 'scripted' returned a plan that breaks 2 rule(s):",
        "  - shard 1 is assigned to worker 3, but workers are 0 to 2",
        "  - shard 3 is assigned to worker -1, but workers are 0 to 2",
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
