"""The parameter store: whatever arrives in whatever order, a commit is the sequential one, bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from learning_cases import classification, cut, fused, problem_for, regression

from workers.data.shard import Shard
from workers.exact_sum import Floats, Ints
from workers.outcome import Outcome, RoundReport
from workers.parameter_store import ParameterStore, Verdict
from workers.solvers import SOLVERS
from workers.stopping import Stopping
from workers.training import Training
from workers.update import CallSums, Message, call_update

NUM_SHARDS = 6
ROUNDS = 4


def setting(solver: str) -> tuple[Training, list[Shard]]:
    """Return a short training and its shards."""
    squared = solver in ("exact", "sklearn-sgd")
    X, y = regression(60) if squared else classification(3, 60)
    problem = problem_for(X, y, NUM_SHARDS, "squared" if squared else "softmax", l2=0.01, batch_size=4)
    return Training(problem, solver, Stopping(ROUNDS, 0.0), True), cut(X, y, NUM_SHARDS)


def bits_of(training: Training) -> bytes:
    """Return the bits of everything that a training has learnt so far."""
    parts = [training.state.parameters, *(training.state.memory[name] for name in sorted(training.state.memory))]
    return b"".join(np.ascontiguousarray(part).tobytes() for part in [*parts, training.problem.columns.scale])


def compute(training: Training, message: Message, shards: list[Shard], chosen: Ints) -> CallSums:
    return call_update(training.problem, message, [shards[shard] for shard in chosen], {})


_SEQUENTIAL: dict[str, list[tuple[RoundReport | None, bytes]]] = {}


def sequential(solver: str) -> list[tuple[RoundReport | None, bytes]]:
    """Return every attempt's report and bits when one call after the other has one shard."""
    if solver not in _SEQUENTIAL:
        training, shards = setting(solver)
        store, log = ParameterStore(training), []
        while training.outcome is None:
            for shard in range(NUM_SHARDS):
                chosen = np.array([shard])
                store.offer(store.message.version, chosen, compute(training, store.message, shards, chosen))
            log.append((store.commit().report, bits_of(training)))
        _SEQUENTIAL[solver] = log
    return _SEQUENTIAL[solver]


class StoreMachine(RuleBasedStateMachine):
    """Calls of any partition, delivered in any order, twice, late, or overlapping."""

    @initialize(solver=st.sampled_from(sorted(SOLVERS)))
    def begin(self, solver: str) -> None:
        self.open(solver)

    def open(self, solver: str) -> None:
        self.expected = list(sequential(solver))
        self.training, self.shards = setting(solver)
        self.store = ParameterStore(self.training)
        self.committed = 0
        self.arrived: set[int] = set()
        self.late: list[tuple[int, Ints, CallSums]] = []
        self.delivered: list[tuple[int, Ints, CallSums]] = []

    def running(self) -> bool:
        return self.training.outcome is None

    def call(self, chosen: list[int]) -> tuple[int, Ints, CallSums]:
        shards = np.array(chosen)
        return self.store.message.version, shards, compute(self.training, self.store.message, self.shards, shards)

    def deliver(self, call: tuple[int, Ints, CallSums]) -> None:
        version, shards, _ = call
        named, before = set(shards.tolist()), set(self.arrived)
        if version != self.store.message.version:
            expected = Verdict.STALE
        elif named <= before:
            expected = Verdict.DUPLICATE
        elif named & before:
            expected = Verdict.OVERLAPPING
        else:
            expected = Verdict.ACCEPTED
            self.arrived |= named
        assert self.store.offer(*call) is expected
        self.delivered = [*self.delivered[-5:], call]

    @precondition(running)
    @rule(
        chosen=st.lists(st.integers(0, NUM_SHARDS - 1), min_size=1, max_size=NUM_SHARDS, unique=True),
        late=st.booleans(),
    )
    def any_call(self, chosen: list[int], late: bool) -> None:
        call = self.call(chosen)
        if late:
            self.late.append(call)
        else:
            self.deliver(call)

    @precondition(running)
    @rule(order=st.permutations(range(NUM_SHARDS)), size=st.integers(1, NUM_SHARDS))
    def the_rest_arrives(self, order: list[int], size: int) -> None:
        rest = [shard for shard in order if shard not in self.arrived]
        for start in range(0, len(rest), size):
            self.deliver(self.call(rest[start : start + size]))

    @precondition(lambda self: self.running() and self.late)
    @rule(data=st.data())
    def a_late_call_arrives(self, data: st.DataObject) -> None:
        self.deliver(self.late.pop(data.draw(st.integers(0, len(self.late) - 1))))

    @precondition(lambda self: self.running() and self.delivered)
    @rule(data=st.data())
    def a_call_arrives_again(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.delivered))
        assert self.store.offer(*call) is not Verdict.ACCEPTED

    @precondition(running)
    @rule()
    def commit(self) -> None:
        if len(self.arrived) < NUM_SHARDS:
            with pytest.raises(RuntimeError, match="are missing"):
                self.store.commit()
            return
        report = self.store.commit().report
        assert (report, bits_of(self.training)) == self.expected[self.committed]
        self.committed += 1
        self.arrived = set()
        assert (self.training.outcome is None) == (self.committed < len(self.expected))

    @precondition(lambda self: not self.running())
    @rule(data=st.data())
    def after_the_end_nothing_counts(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.delivered))
        assert self.store.offer(*call) in (Verdict.STALE, Verdict.DUPLICATE)
        assert bits_of(self.training) == self.expected[-1][1]

    @precondition(lambda self: not self.running())
    @rule(solver=st.sampled_from(sorted(SOLVERS)))
    def begin_again(self, solver: str) -> None:
        assert self.committed == len(self.expected)
        self.open(solver)

    @invariant()
    def the_store_knows_what_is_missing(self) -> None:
        if self.training.outcome is None:
            assert set(range(NUM_SHARDS)) - set(self.store.missing.tolist()) == self.arrived
            assert self.store.complete == (len(self.arrived) == NUM_SHARDS)


class TestStoreMachine(StoreMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = settings(max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("solver", sorted(SOLVERS))
@pytest.mark.parametrize("seed", range(3))
def test_random_deliveries_to_the_end(solver: str, seed: int) -> None:
    """The machine above seldom reaches the last round: go there with random partitions and noise."""
    random = np.random.default_rng(seed)
    training, shards = setting(solver)
    store, stale = ParameterStore(training), None
    for report, bits in sequential(solver):
        order = random.permutation(NUM_SHARDS)
        ends = np.sort(random.choice(np.arange(1, NUM_SHARDS), random.integers(0, 4), replace=False))
        calls = [
            (store.message.version, part, compute(training, store.message, shards, part))
            for part in np.split(order, ends)
        ]
        if stale is not None:
            assert store.offer(*stale) is Verdict.STALE
        for place, call in enumerate(calls):
            assert store.offer(*call) is Verdict.ACCEPTED
            assert store.offer(*calls[int(random.integers(0, place + 1))]) is Verdict.DUPLICATE
        stale = calls[0]
        assert (store.commit().report, bits_of(training)) == (report, bits)
    assert isinstance(training.outcome, Outcome)


# --- one by one ----------------------------------------------------------------------------------------------


def opened() -> tuple[ParameterStore, Training, list[Shard]]:
    training, shards = setting("gradient-descent")
    return ParameterStore(training), training, shards


def test_an_overlapping_call_is_refused_whole() -> None:
    store, training, shards = opened()
    message = store.message
    first, second, rest = np.array([0, 1]), np.array([1, 2]), np.array([2, 3, 4, 5])
    assert store.offer(message.version, first, compute(training, message, shards, first)) is Verdict.ACCEPTED
    sums = compute(training, message, shards, second)
    assert store.offer(message.version, second, sums) is Verdict.OVERLAPPING
    assert store.missing.tolist() == [2, 3, 4, 5]
    assert store.offer(message.version, rest, compute(training, message, shards, rest)) is Verdict.ACCEPTED
    assert store.complete


def test_a_commit_before_all_is_in_raises_and_changes_nothing() -> None:
    store, training, shards = opened()
    with pytest.raises(RuntimeError, match=r"shards \[0, 1, 2, 3, 4, 5\] are missing"):
        store.commit()
    chosen = np.array([0, 2, 5])
    store.offer(1, chosen, compute(training, store.message, shards, chosen))
    with pytest.raises(RuntimeError, match=r"shards \[1, 3, 4\] are missing"):
        store.commit()
    assert store.message.version == 1 and training.state.round == 0


@pytest.mark.parametrize(
    ("shards", "total", "largest", "message"),
    [
        ([0], np.zeros(3, np.int64), np.zeros(4, np.int16), "sums of shape"),
        ([0], np.zeros((3, 1), np.int64), np.zeros(4, np.int16), "sums of shape"),
        ([0], None, np.zeros(2, np.int16), "peaks of shape"),
        ([0], None, np.zeros((3, 1), np.int16), "peaks of shape"),
        ([1, 1], None, np.zeros(3, np.int16), "names a shard twice"),
        ([-1], None, np.zeros(3, np.int16), r"expected some of 0\.\.5"),
        ([6], None, np.zeros(3, np.int16), r"expected some of 0\.\.5"),
        ([], None, np.zeros(3, np.int16), r"expected some of 0\.\.5"),
    ],
)
def test_what_does_not_fit_raises_and_changes_nothing(
    shards: list[int], total: Any, largest: Any, message: str
) -> None:
    store, _, _ = opened()
    with pytest.raises(ValueError, match=message):
        store.offer(1, np.array(shards, dtype=np.int64), CallSums(total, largest))
    assert store.missing.tolist() == list(range(NUM_SHARDS))


def test_versions_grow_with_every_attempt() -> None:
    store, training, shards = opened()
    seen = []
    chosen = np.arange(NUM_SHARDS)
    while training.outcome is None:
        seen.append(store.message.version)
        store.offer(store.message.version, chosen, compute(training, store.message, shards, chosen))
        store.commit()
    assert seen == list(range(1, len(seen) + 1))
    assert seen[-1] > ROUNDS + 2 + 8 + 1  # attempts that only found the scale have versions, too


# --- overflow ------------------------------------------------------------------------------------------------


def exploding() -> tuple[Training, list[Shard], Floats]:
    """Return a descent whose gradients grow a hundredfold a round: no scale of the last round holds the next."""
    X = np.repeat(np.arange(1.0, 7.0), 4)[:, None]
    y = 3.0 * X[:, 0]
    second = float((X * X).mean())
    rate = 101.0 / second
    problem = problem_for(X, y, NUM_SHARDS, intercept=False, learning_rate=rate)
    expected, weight = [], 0.0
    for _ in range(2):
        weight -= rate * second * (weight - 3.0)
        expected.append(weight)
    return Training(problem, "gradient-descent", Stopping(2, 0.0), False), cut(X, y, NUM_SHARDS), np.array(expected)


@pytest.mark.parametrize("partition", [[[0, 1, 2, 3, 4, 5]], [[0], [1], [2], [3], [4], [5]], [[5, 0], [3, 1, 2], [4]]])
def test_an_overflow_repeats_the_round_on_a_larger_scale(partition: list[list[int]]) -> None:
    training, shards, expected = exploding()
    store = ParameterStore(training)
    attempts = []
    weights = []
    while training.outcome is None and training.fused is None:
        message, calls = store.message, [np.array(part) for part in partition]
        overflowed = False
        for part in calls:
            sums = compute(training, message, shards, part)
            overflowed |= sums.total is None
            store.offer(message.version, part, sums)
        report = store.commit().report
        attempts.append((message.round, message.scale is not None, report is not None))
        assert (report is None) == overflowed
        if report is None:
            again = store.message
            assert (again.round, again.version) == (message.round, message.version + 1)
            assert again.scale is not None
            if message.scale is not None:
                assert (again.scale.exponents <= message.scale.exponents).all()
                assert (again.scale.exponents < message.scale.exponents).any()
        elif training.fused is None:
            weights.append(training.state.parameters[0])
        else:
            weights.append(training.fused.parameters[0])
    # Round 0 finds its scale; round 1 does not fit on it, and is repeated.
    assert attempts == [(0, False, False), (0, True, True), (1, True, False), (1, True, True)]
    np.testing.assert_allclose(weights, expected, rtol=1e-12)


def test_the_bits_after_an_overflow_are_those_of_any_partition() -> None:
    results = []
    for partition in ([[0, 1, 2, 3, 4, 5]], [[0], [1], [2], [3], [4], [5]], [[4, 0], [3, 1, 2], [5]]):
        training, shards, _ = exploding()
        store = ParameterStore(training)
        while training.fused is None:
            for part in partition:
                chosen = np.array(part)
                store.offer(store.message.version, chosen, compute(training, store.message, shards, chosen))
            store.commit()
        results.append(fused(training).tobytes())
    assert len(set(results)) == 1
