"""The asynchronous store: workers pull, push, leave and come in any order, and the record replays to the same bits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from learning_cases import classification, cut, cut_rows, problem_for

from workers.asynchronous_store import AsynchronousStore
from workers.data.rows import Rows
from workers.data.shard import Shard
from workers.exact_sum import Ints
from workers.modes import Asp, Backup, Mode, Ssp
from workers.outcome import Outcome, RoundReport
from workers.parameter_store import Verdict
from workers.penalty import Penalty
from workers.record import Record, RecordedCall
from workers.replay import RecordError, replay
from workers.sequential import rounds
from workers.stopping import Stopping
from workers.training import Training
from workers.update import CallSums, Message, call_update

NUM_SHARDS, ROUNDS, MOST_WORKERS = 6, 4, 4
MODES: list[Mode] = [
    Asp(),
    Asp(1.0),
    Ssp(damping=1.0, staleness=1),
    Ssp(staleness=0),
    Ssp(staleness=2),
    Backup(1),
    Backup(2),
]
SOLVER_NAMES = ("gradient-descent", "sgd", "local-sgd")


@cache
def shards_of_all() -> list[Shard]:
    return cut(*classification(3, 60), NUM_SHARDS)


def training_in(mode: Mode, solver: str, max_rounds: int = ROUNDS) -> Training:
    X, y = classification(3, 60)
    problem = problem_for(X, y, NUM_SHARDS, "softmax", l2=0.01, batch_size=4)
    problem = replace(problem, options=replace(problem.options, mode=mode))
    return Training(problem, solver, Stopping(max_rounds), True)


def sums_of(training: Training, message: Message, shards: Ints) -> CallSums:
    return call_update(training.problem, message, [shards_of_all()[shard] for shard in shards], {})


def finish_synchronous(store: AsynchronousStore) -> None:
    """Run the stages before or after the solver's."""
    training, every = store.training, np.arange(NUM_SHARDS)
    while training.outcome is None and not training.is_asynchronous:
        inner = store.synchronous
        sums = sums_of(training, inner.message, every)
        assert inner.offer(inner.message.version, every, sums) is Verdict.ACCEPTED
        inner.commit()


def opened(mode: Mode, solver: str = "local-sgd", max_rounds: int = ROUNDS) -> AsynchronousStore:
    store = AsynchronousStore(training_in(mode, solver, max_rounds))
    finish_synchronous(store)
    store.open()
    return store


def bits(outcome: Outcome | None) -> bytes:
    assert outcome is not None
    return b"".join(array.tobytes() for array in outcome.arrays.values())


class StoreMachine(RuleBasedStateMachine):
    """Workers with any shards do what they like; a model of the store says what must become of it."""

    @initialize(mode=st.sampled_from(MODES), solver=st.sampled_from(SOLVER_NAMES))
    def begin(self, mode: Mode, solver: str) -> None:
        self.mode, self.solver = mode, solver
        self.store = opened(mode, solver)
        self.training = self.store.training
        self.version = self.clock = 0
        self.out: dict[str, tuple[Message, Ints]] = {}  # what each worker is computing
        self.old: list[tuple[str, int, Ints, CallSums]] = []  # answers that were given, or will be too late
        self.num_accepted = self.num_reports = 0
        self.behind: set[str] = set()
        self.clocks: dict[str, int] = {}

    def running(self) -> bool:
        return self.store.is_open

    def note(self, report: RoundReport | None) -> None:
        self.num_reports += report is not None
        if not self.store.is_open:
            finish_synchronous(self.store)

    @precondition(running)
    @rule(worker=st.integers(0, MOST_WORKERS - 1))
    def come(self, worker: int) -> None:
        self.store.come(f"w{worker}")

    @precondition(lambda self: self.running() and self.store.workers)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.store.workers)))
        if worker in self.out:
            message, shards = self.out.pop(worker)
            self.old.append((worker, message.version, shards, sums_of(self.training, message, shards)))
        self.clocks.pop(worker, None)
        self.note(self.store.leave(worker))
        assert worker not in self.store.workers

    @precondition(running)
    @rule(data=st.data(), chosen=st.sets(st.integers(0, NUM_SHARDS - 1), min_size=1))
    def pull(self, data: st.DataObject, chosen: set[int]) -> None:
        ready = [worker for worker in self.store.workers if self.store.may_pull(worker)]
        for worker in set(self.store.workers) - set(ready):
            with pytest.raises(RuntimeError, match="may not begin"):
                self.store.pull(worker, np.array(sorted(chosen)))
        if not ready:
            return
        worker = data.draw(st.sampled_from(sorted(ready)))
        shards = np.array(sorted(chosen))
        message = self.store.pull(worker, shards)
        assert self.store.message_for(worker) is message
        assert message.payload["parameters"] is self.training.state.parameters  # the newest
        assert message.round >= self.clocks.get(worker, 0)
        self.clocks[worker] = message.round
        self.out[worker] = message, shards

    @precondition(lambda self: self.running() and self.out)
    @rule(data=st.data())
    def push(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.out)))
        message, shards = self.out.pop(worker)
        sums = sums_of(self.training, message, shards)
        before = self.store.version
        offered = self.store.offer(worker, message.version, shards, sums)
        self.old.append((worker, message.version, shards, sums))
        if isinstance(self.mode, Backup):
            assert self.store.version - before in (0, 1)
        else:
            assert offered.verdict is Verdict.ACCEPTED and self.store.version == before + 1
        self.num_accepted += offered.verdict is Verdict.ACCEPTED
        self.note(offered.report)

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def push_again_or_too_late(self, data: st.DataObject) -> None:
        before = self.store.version, self.training.state.parameters.tobytes()
        assert self.store.offer(*data.draw(st.sampled_from(self.old))).verdict is not Verdict.ACCEPTED
        assert (self.store.version, self.training.state.parameters.tobytes()) == before

    @precondition(running)
    @rule()
    def everybody_is_reseated(self) -> None:
        for worker, (message, shards) in self.out.items():
            self.old.append((worker, message.version, shards, sums_of(self.training, message, shards)))
        self.out.clear()
        self.store.begin_again()

    @precondition(running)
    @rule()
    def somebody_can_go_on(self) -> None:
        """Nobody waits for nobody: with workers there, one computes or may begin."""
        assert not self.store.workers or self.out or any(map(self.store.may_pull, self.store.workers))

    @precondition(lambda self: not self.running())
    @rule()
    def the_record_replays(self) -> None:
        record, again = self.store.record(), training_in(self.mode, self.solver)
        assert bits(replay(again, shards_of_all(), record)) == bits(self.training.outcome)

    @invariant()
    def staleness_is_bounded_and_everything_is_recorded(self) -> None:
        if not hasattr(self, "store"):
            return
        staleness, updates = self.store.staleness, self.store._applied.updates
        assert staleness.bound_held
        assert self.store.version == len(updates) >= self.version  # versions are monotone
        assert self.store._clocks.slowest >= self.clock
        self.version, self.clock = self.store.version, self.store._clocks.slowest
        applied = [call for update in updates for call in update]
        assert sum(staleness.histogram.values()) == len(applied) <= self.num_accepted
        assert all(call.read <= place for place, update in enumerate(updates) for call in update)
        if isinstance(self.mode, Backup):
            assert set(staleness.histogram) <= {0} and self.num_reports == len(updates)
            assert all(len({call.worker for call in update}) == len(update) for update in updates)
        else:
            assert len(applied) == self.num_accepted
            keys = [(call.worker, call.read) for call in applied]
            assert len(set(keys)) == len(keys)  # nobody is applied twice on the same parameters


class TestStoreMachine(StoreMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = settings(max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))


def driven(store: AsynchronousStore, num_workers: int, random: np.random.Generator, speeds: list[float]) -> None:
    """Let workers with equal shares compute at random, the faster the likelier, to the end."""
    training, shares = store.training, np.array_split(np.arange(NUM_SHARDS), num_workers)
    for worker in range(num_workers):
        store.come(f"w{worker}")
    out: dict[int, Message] = {}
    while store.is_open:
        for worker in range(num_workers):
            if store.may_pull(f"w{worker}"):
                out[worker] = store.pull(f"w{worker}", shares[worker])
        chances = np.array([speeds[worker] for worker in out])
        worker = list(out)[random.choice(len(out), p=chances / chances.sum())]
        message = out.pop(worker)
        store.offer(f"w{worker}", message.version, shares[worker], sums_of(training, message, shares[worker]))
    finish_synchronous(store)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("solver", SOLVER_NAMES)
def test_a_run_to_the_end_learns_and_replays(mode: Mode, solver: str) -> None:
    """The machine above seldom reaches the last round."""
    store = opened(mode, solver, 30)
    driven(store, 3, np.random.default_rng(1), [1.0, 3.0, 9.0])
    outcome = store.training.outcome
    assert outcome is not None and outcome.rounds == 30
    again = training_in(mode, solver, 30)
    assert bits(replay(again, shards_of_all(), store.record())) == bits(outcome)
    assert again.outcome is not None and again.outcome.reason == outcome.reason
    assert again.outcome.metric[0] == outcome.metric[0] and again.outcome.loss == outcome.loss
    assert outcome.metric[0] > 0.6  # of three classes; by chance 0.33


@settings(max_examples=40, deadline=None)
@given(staleness=st.integers(0, 4), num_workers=st.integers(1, 5), seed=st.integers(0, 999))
def test_ssp_bounds_the_versions_too(staleness: int, num_workers: int, seed: int) -> None:
    store = opened(Ssp(staleness=staleness), "gradient-descent", 6)
    driven(store, num_workers, np.random.default_rng(seed), [1.0, 10.0, 100.0, 1.0, 50.0])
    assert store.staleness.clocks <= staleness
    assert store.staleness.max <= (2 * staleness + 1) * (num_workers - 1)


def test_a_fast_worker_waits_under_ssp_and_not_under_asp() -> None:
    shards = np.array([0])
    for mode, most in ((Asp(), 20), (Ssp(staleness=2), 3)):
        store = opened(mode, max_rounds=100)
        store.come("fast")
        store.come("slow")
        store.pull("slow", np.array([1]))
        num = 0
        while store.may_pull("fast") and num < 20:
            message = store.pull("fast", shards)
            assert message.round == num  # its own clock keys its batches
            store.offer("fast", message.version, shards, sums_of(store.training, message, shards))
            num += 1
        assert num == most
        store.leave("slow")
        assert store.may_pull("fast")


def test_backup_commits_without_the_late_and_drops_them() -> None:
    store = opened(Backup(1), max_rounds=5)
    shares = {"a": np.array([0, 1]), "b": np.array([2, 3]), "c": np.array([4, 5])}
    for worker in shares:
        store.come(worker)
    messages = {worker: store.pull(worker, shares[worker]) for worker in shares}
    sums = {worker: sums_of(store.training, messages[worker], shares[worker]) for worker in shares}
    offered = {w: store.offer(w, messages[w].version, shares[w], sums[w]) for w in ("c", "a", "b")}
    assert [offered[w].verdict.value for w in ("c", "a", "b")] == ["accepted", "accepted", "stale"]
    assert offered["c"].report is None and offered["a"].report is not None
    assert store.staleness.num_dropped == 1 and store.staleness.max == 0
    assert [[call.worker for call in update] for update in store._applied.updates] == [["c", "a"]]
    assert store.pull("b", shares["b"]).round == 1


def test_who_is_in_waits_for_the_others_under_backup() -> None:
    store = opened(Backup(1), max_rounds=5)
    for worker in ("a", "b", "c"):
        store.come(worker)
    for worker, in_ in (("a", False), ("b", True)):
        message = store.pull(worker, np.array([0, 1]))
        sums = sums_of(store.training, message, np.array([0, 1]))
        assert (store.offer(worker, message.version, np.array([0, 1]), sums).report is not None) == in_
        assert [store.may_pull(one) for one in ("a", "b", "c")] == ([True] * 3 if in_ else [False, True, True])


def test_a_late_update_steps_less_far_by_the_damping() -> None:
    """The second of two updates of the same parameters, by gradient descent without ridge, where steps add up."""
    steps = []
    for damping in (0.0, 1.0, 3.0):
        problem = replace(training_in(Asp(damping), "gradient-descent").problem, penalty=Penalty())
        store = AsynchronousStore(Training(problem, "gradient-descent", Stopping(9), True))
        finish_synchronous(store)
        store.open()
        for worker in ("a", "b"):
            store.come(worker)
        messages = {worker: store.pull(worker, np.array([0, 3])) for worker in ("a", "b")}
        for worker, message in messages.items():
            before = store.training.state.parameters
            sums = sums_of(store.training, message, np.array([0, 3]))
            store.offer(worker, message.version, np.array([0, 3]), sums)
            steps.append(store.training.state.parameters - before)
    for late, factor in zip(steps[1::2], (1.0, 2.0, 4.0), strict=True):
        np.testing.assert_allclose(late * factor, steps[0], rtol=1e-9)


def test_a_round_that_waited_for_who_left_is_committed() -> None:
    store = opened(Backup(0))
    for worker in ("a", "b"):
        store.come(worker)
    message = store.pull("a", np.arange(3))
    assert (
        store.offer("a", message.version, np.arange(3), sums_of(store.training, message, np.arange(3))).report is None
    )
    report = store.leave("b")
    assert report is not None and report.round == 1


def test_a_round_is_as_many_shards_as_the_job_has() -> None:
    store = opened(Asp(), max_rounds=3)
    store.come("a")
    seen = []
    while store.is_open:
        message = store.pull("a", np.arange(4))
        sums = sums_of(store.training, message, np.arange(4))
        seen.append(store.offer("a", message.version, np.arange(4), sums).report is not None)
    assert seen == [False, True, True, False, True]  # 4, 8, 12, 16 and 20 shards of rounds of 6


@pytest.mark.parametrize(
    ("shards", "sums", "message"),
    [
        ([0, 1], CallSums(None, np.zeros(1, np.int16), plain=np.zeros(3)), "expected plain sums of shape"),
        ([0, 1], CallSums(None, np.zeros(1, np.int16)), "expected plain sums of shape"),
        ([0, 2], CallSums(None, np.zeros(1, np.int16), plain=np.zeros(16)), "worker a, shards .* it was to compute"),
    ],
)
def test_what_does_not_fit_raises_and_changes_nothing(shards: list[int], sums: CallSums, message: str) -> None:
    store = opened(Asp())
    store.come("a")
    pulled = store.pull("a", np.array([0, 1]))
    with pytest.raises(ValueError, match=message):
        store.offer("a", pulled.version, np.array(shards), sums)
    good = sums_of(store.training, pulled, np.array([0, 1]))
    assert store.offer("a", pulled.version, np.array([0, 1]), good).verdict is Verdict.ACCEPTED


def test_a_call_over_rows_without_weight_teaches_nothing() -> None:
    X, y = classification(2, 30)
    weights = np.where(np.arange(30) < 15, 0.0, 2.0)
    shards = cut_rows(Rows(X, y, weights), 2)
    problem = replace(problem_for(X, y, 2, "logistic", learning_rate=0.1), total_weight=None)
    problem = replace(problem, options=replace(problem.options, mode=Asp()))
    training = Training(problem, "sgd", Stopping(3), False)
    for _ in rounds(training, shards):  # what comes before: the weights are added up
        pass
    store = AsynchronousStore(training)
    store.open()
    store.come("a")
    seen: list[tuple[bool, float | None]] = []
    for shard in (0, 1, 0, 0, 1):
        before = training.state.parameters.tobytes()
        message = store.pull("a", np.array([shard]))
        sums = call_update(training.problem, message, [shards[shard]], {})
        report = store.offer("a", message.version, np.array([shard]), sums).report
        seen.append((training.state.parameters.tobytes() == before, None if report is None else report.loss))
    assert [same for same, _ in seen] == [True, False, True, True, False]
    assert seen[1][1] is not None and seen[3][1] is None  # nothing was measured in the second round


def test_validation_needs_rounds() -> None:
    problem = training_in(Asp(), "sgd").problem
    with pytest.raises(ValueError, match="mode 'asp' has no rounds"):
        Training(problem, "sgd", Stopping(3, patience=2), True)


# --- replay --------------------------------------------------------------------------------------------------


@cache
def good_record() -> Record:
    store = opened(Ssp(), max_rounds=3)
    driven(store, 3, np.random.default_rng(0), [1.0, 1.0, 1.0])
    return store.record()


def replayed(record: Record) -> Outcome:
    return replay(training_in(Ssp(), "local-sgd", 3), shards_of_all(), record)


def test_another_order_is_another_model() -> None:
    """Else the record would prove nothing."""
    record = good_record()
    calls = [replace(update[0], read=0) for update in record.updates]
    assert bits(replayed(replace(record, updates=tuple((call,) for call in calls)))) != bits(replayed(record))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda updates: updates[:-1], "ends after 8 updates, before the training does"),
        (lambda updates: (*updates, *updates[-2:]), "update 10 of 11: training had ended before it"),
        (lambda updates: ((RecordedCall("w", 5, 0, (0,)),), *updates[1:]), "update 1 of 9: reads version 5"),
        (lambda updates: ((RecordedCall("w", 0, 0, (6,)),), *updates[1:]), r"update 1 of 9: shards \[6\], expected"),
        (lambda updates: ((RecordedCall("w", 0, 0, ()),), *updates[1:]), r"update 1 of 9: shards \[\], expected"),
    ],
)
def test_a_record_of_something_else_is_refused(change: object, message: str) -> None:
    record = good_record()
    with pytest.raises(RecordError, match=message):
        replayed(replace(record, updates=change(record.updates)))  # type: ignore[operator]


def test_a_run_that_was_stopped_by_a_clock_replays() -> None:
    store = opened(Asp(), max_rounds=50)
    store.come("a")
    every = np.arange(NUM_SHARDS)
    for number in range(4):
        if number == 3:
            store.training.stop("the time budget of 1 s is spent")
        message = store.pull("a", every)
        store.offer("a", message.version, every, sums_of(store.training, message, every))
    assert not store.is_open
    finish_synchronous(store)
    record = store.record()
    assert record.reason == "the time budget of 1 s is spent" and len(record.updates) == 4
    assert bits(replay(training_in(Asp(), "local-sgd", 50), shards_of_all(), record)) == bits(store.training.outcome)
