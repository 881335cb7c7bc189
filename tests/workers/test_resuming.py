"""A training that is interrupted between any two attempts goes on from its checkpoint to the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from learning_cases import classification, data_set, problem_for, regression

from workers.architectures import Mlp
from workers.checkpoint import decode, encode
from workers.data.shard import Shard
from workers.errors import CheckpointError
from workers.exact_sum import Floats
from workers.outcome import Outcome, WarmStart
from workers.parameter_store import ParameterStore
from workers.problem import SolverOptions
from workers.solvers import SOLVERS
from workers.stopping import Stopping
from workers.training import Training
from workers.update import call_update

NUM_SHARDS, ROUNDS = 4, 5


class Case:
    """A job that can be begun again and again, and its shards."""

    def __init__(self, solver: str, objective: str = "squared", layers: bool = False, stopping: Stopping | None = None):
        X, y = regression(80) if objective == "squared" else classification(2, 80)
        data = data_set(X, y, NUM_SHARDS, "regression" if objective == "squared" else "classification")
        problem = problem_for(X, y, NUM_SHARDS, objective, l2=0.01, batch_size=5, seed=4).with_rows(data.num_train)
        if layers:
            problem = replace(problem, architecture=Mlp(problem.num_features, problem.num_outputs, hidden=(3,)))
        options: SolverOptions = problem.options
        self.problem = replace(problem, total_weight=None, options=replace(options, learning_rate=None))
        self.solver, self.stopping = solver, stopping or Stopping(ROUNDS)
        self.shards: Sequence[Shard] = data.load(range(NUM_SHARDS))

    def begin(self) -> Training:
        return Training(self.problem, self.solver, self.stopping, standardise=True)

    def attempt(self, store: ParameterStore) -> None:
        held: dict[int, Floats] = {}
        for shard in self.shards:
            sums = call_update(store.training.problem, store.message, [shard], held)
            store.offer(store.message.version, np.array([shard.index]), sums)
        store.commit()

    def played(self, interrupted_every: int = 0) -> tuple[Outcome, int]:
        """Return the outcome, and how many attempts it took; every so often from a checkpoint's bytes."""
        training = self.begin()
        store, num = ParameterStore(training), 0
        while training.outcome is None:
            if interrupted_every and num % interrupted_every == 0:
                blob = encode({"training": training.snapshot(), "store": store.snapshot()})
                tree, message = decode(blob), store.message
                training = self.begin()
                training.resume(tree["training"])
                store = ParameterStore(training, **tree["store"])
                assert (store.message.version, store.message.stage) == (message.version, message.stage)
                assert store.message.round == message.round
            self.attempt(store)
            num += 1
        return training.outcome, num


def same(left: Outcome, right: Outcome) -> bool:
    bits = all(left.arrays[name].tobytes() == right.arrays[name].tobytes() for name in left.arrays)
    rest = (left.rounds, left.loss, left.learning_rate, left.converged, left.reason) == (
        right.rounds,
        right.loss,
        right.learning_rate,
        right.converged,
        right.reason,
    )
    return bits and rest and repr(left.metric) == repr(right.metric) and repr(left.optimum) == repr(right.optimum)


CASES = [(solver, "squared" if solver == "exact" else "logistic", False) for solver in sorted(SOLVERS)]
CASES += [(solver, "squared", True) for solver in ("sgd", "local-sgd", "gradient-descent", "lbfgs", "diloco")]


@pytest.mark.parametrize(("solver", "objective", "layers"), CASES)
@pytest.mark.parametrize("every", [1, 3])
def test_from_a_checkpoint_at_any_attempt_to_the_same_bits(
    solver: str, objective: str, layers: bool, every: int
) -> None:
    case = Case(solver, objective, layers)
    whole, num = case.played()
    resumed, num_resumed = case.played(interrupted_every=every)
    assert same(whole, resumed)
    assert num == num_resumed, "no attempt was made twice"


@pytest.mark.parametrize("stopping", [Stopping(60, tolerance=0.05), Stopping(60, gradient_norm=0.05)])
def test_what_stopping_has_seen_is_not_forgotten(stopping: Stopping) -> None:
    case = Case("gradient-descent", "logistic", stopping=stopping)
    whole, _ = case.played()
    assert whole.converged and 3 < whole.rounds < 60
    assert same(whole, case.played(interrupted_every=1)[0])


def test_a_time_budget_that_is_spent_stays_spent() -> None:
    case = Case("local-sgd")
    training = case.begin()
    store = ParameterStore(training)
    while training.stage != "local-sgd":
        case.attempt(store)
    training.stop("time is up")
    again = case.begin()
    again.resume(decode(encode(training.snapshot())))
    store = ParameterStore(again, **store.snapshot())
    while again.outcome is None:
        case.attempt(store)
    assert (again.outcome.rounds, again.outcome.reason) == (1, "time is up")


def test_a_warm_start_is_not_begun_again() -> None:
    case = Case("local-sgd")
    first, _ = case.played()
    warm = WarmStart(first.arrays, first.rounds)
    whole, resumed = (Training(case.problem, "local-sgd", Stopping(3), True, warm) for _ in range(2))
    store = ParameterStore(whole)
    while whole.stage != "local-sgd" or whole.state.round == first.rounds:
        case.attempt(store)
    resumed.resume(decode(encode(whole.snapshot())))
    other = ParameterStore(resumed, **store.snapshot())
    for each in (store, other):
        while each.training.outcome is None:
            case.attempt(each)
    assert whole.outcome is not None and resumed.outcome is not None
    assert same(whole.outcome, resumed.outcome)
    assert whole.outcome.rounds == first.rounds + 3


def test_a_checkpoint_of_another_job_is_refused() -> None:
    mine, other = Case("local-sgd").begin(), Case("lbfgs")
    store = ParameterStore(training := other.begin())
    while training.stage != "lbfgs":
        other.attempt(store)
    with pytest.raises(CheckpointError, match="stage lbfgs"):
        mine.resume(training.snapshot())
    for broken in ({}, {**training.snapshot(), "left": [3]}, {**training.snapshot(), "watched": {"best": 3}}):
        with pytest.raises(CheckpointError, match="does not go together"):
            Case("lbfgs").begin().resume(broken)
