"""What a worker keeps, refuses and measures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from learning_cases import MemorySource, classification, data_set, problem_for, regression

from workers.data.shard import DataSet
from workers.errors import DataError
from workers.parameter_store import ParameterStore
from workers.problem import Problem
from workers.stopping import Stopping
from workers.training import Training
from workers.update import Message
from workers.worker_state import PROBE_ROWS, PROBE_SECONDS, CallResult, WorkerState, probe


class Clock:
    """A clock that goes on by ``step`` whenever it is read."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step, self.reads = 100.0, step, 0

    def __call__(self) -> float:
        self.reads += 1
        self.now += self.step
        return self.now


def job(num_shards: int = 5) -> tuple[DataSet, Problem, ParameterStore]:
    X, y = regression(100)
    data = data_set(X, y, num_shards)
    problem = problem_for(X, y, num_shards, learning_rate=0.1).with_rows(data.num_train)
    return data, problem, ParameterStore(Training(problem, "gradient-descent", Stopping(3, 0.0), False))


def worker(data: DataSet, memory_bytes: float = np.inf, clock: Clock | None = None) -> WorkerState:
    return WorkerState("worker-7", data, memory_bytes, clock or Clock())


def reads_of(data: DataSet) -> list[int]:
    assert isinstance(data.source, MemorySource)
    return data.source.reads


def test_prepare_reads_what_is_absent_and_keeps_what_it_can() -> None:
    data, _, _ = job()
    sizes = data.nbytes
    state = worker(data, float(sizes[[1, 3, 4]].sum()))
    assert state.prepare([3, 1]) == sizes[1] + sizes[3] == state.resident_bytes
    assert state.queue.tolist() == [1, 3]
    assert state.prepare([3, 4]) == sizes[4]
    assert state.resident_bytes == sizes[[1, 3, 4]].sum()
    assert state.prepare([4, 1]) == 0  # still there
    assert state.prepare([4, 4]) == 0 and state.queue.tolist() == [4]
    assert state.prepare([]) == 0 and not len(state.queue)
    assert len(reads_of(data)) == 2  # one pass for each prepare() that had to read


def test_what_was_not_used_for_longest_makes_room() -> None:
    data, _, _ = job()
    state = worker(data, float(data.nbytes[:3].sum()))
    for wanted in ([0], [1], [2], [0], [3]):
        state.prepare(wanted)
    assert sorted(state._cache) == [0, 2, 3]


def test_a_call_may_bring_its_shards() -> None:
    data, problem, store = job()
    state = worker(data)
    state.prepare([0])
    state.configure(problem)
    moved = state.run(store.message, [1, 3])
    assert moved.read_bytes == data.nbytes[[1, 3]].sum()
    assert state.run(store.message).read_bytes == 0 and state.queue.tolist() == [1, 3]
    assert state.rows_done == 2 * (data.work[1] + data.work[3])


def test_prepare_refuses_more_than_the_memory_before_it_reads() -> None:
    data, problem, store = job()
    sizes = data.nbytes
    state = worker(data, float(sizes[:2].sum()))
    assert state.prepare([0, 1]) == sizes[:2].sum()
    with pytest.raises(DataError, match=r"worker worker-7: .* bytes of shards do not fit into its .* bytes"):
        state.prepare([0, 1, 2])
    assert len(reads_of(data)) == 1
    assert state.queue.tolist() == [0, 1]  # it goes on with what it had
    state.configure(problem)
    assert state.run(store.message).sums is not None


def test_new_shards_take_the_place_of_old_ones() -> None:
    data, _, _ = job()
    limit = float(data.nbytes[:2].sum())
    state = worker(data, limit)
    for wanted in ([0, 1], [2, 3], [3, 4], [0]):
        state.prepare(wanted)
        assert 0 < state.resident_bytes <= limit and state.queue.tolist() == wanted


def test_run_before_configure_raises() -> None:
    data, _, store = job()
    state = worker(data)
    state.prepare([0])
    with pytest.raises(RuntimeError, match=r"configure\(\) comes before run\(\)"):
        state.run(store.message)


def test_run_without_shards_raises() -> None:
    data, problem, store = job()
    state = worker(data)
    state.configure(problem)
    with pytest.raises(ValueError, match="at least one shard"):
        state.run(store.message)


def test_an_unknown_shard_is_refused() -> None:
    data, _, _ = job()
    with pytest.raises((DataError, IndexError)):
        worker(data).prepare([5])


def test_busy_seconds_and_rows_are_counted() -> None:
    data, problem, store = job()
    clock = Clock(step=0.25)
    state = worker(data, clock=clock)
    state.prepare([0, 2])
    state.configure(problem)
    results = [state.run(store.message) for _ in range(3)]
    assert [result.busy_s for result in results] == [0.25] * 3
    assert state.busy_s == 0.75
    assert state.rows_done == 3 * (data.work[0] + data.work[2])
    assert all(result.version == store.message.version for result in results)


@pytest.mark.parametrize(("objective", "num_classes"), [("squared", 0), ("logistic", 2), ("softmax", 4)])
def test_the_probe_divides_seconds_by_rows(objective: str, num_classes: int) -> None:
    X, y = classification(num_classes, 40) if num_classes else regression(40)
    problem = problem_for(X, y, 2, objective)
    clock = Clock(step=1 / 128)
    # Read once to begin, then after each of three passes: three steps have gone, over 0.02 s.
    assert 2 / 128 < PROBE_SECONDS < 3 / 128
    assert probe(problem, 0.0, clock) == 3 / 128 / (3 * PROBE_ROWS)
    assert clock.reads == 4


def test_the_probe_takes_longer_where_there_is_more_to_do_but_not_for_ever() -> None:
    X, y = regression(40)
    problem = problem_for(X, y, 2)
    for hours, steps in ((1e-4, 3), (1e-3, 14), (1.0, 64), (100.0, 64)):
        clock = Clock(step=1 / 128)
        probe(problem, hours * 3600 * 128 * PROBE_ROWS, clock)  # so many hours at a pass a step
        assert clock.reads == steps + 1


def test_the_probe_of_a_slow_machine_makes_one_pass() -> None:
    X, y = regression(40)
    clock = Clock(step=1.0)
    assert probe(problem_for(X, y, 2), 0.0, clock) == pytest.approx(1.0 / PROBE_ROWS)


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Count the shard updates that are computed."""
    from workers import update

    computed: list[int] = []
    original = update.shard_update

    def counting(problem: Problem, message: Message, shard: update.Shard) -> update.Floats:
        computed.append(shard.index)
        return original(problem, message, shard)

    monkeypatch.setattr(update, "shard_update", counting)
    return iter([computed])


def answered(state: WorkerState, store: ParameterStore) -> CallResult:
    result = state.run(store.message)
    assert result.sums is not None
    store.offer(result.version, state.queue, result.sums)
    return result


def test_the_second_attempt_uses_what_the_first_computed(updates: Iterator[list[int]]) -> None:
    computed = next(updates)
    data, problem, store = job()
    states = [worker(data), worker(data)]
    for state, shards in zip(states, (range(4), [4]), strict=True):
        state.prepare(shards)
        state.configure(problem)
    first = [answered(state, store).sums for state in states]
    assert all(sums is not None and sums.total is None and sums.ahead is None for sums in first)  # no scale yet
    assert computed == [0, 1, 2, 3, 4] and sorted(states[0]._held) == [0, 1, 2, 3]
    assert store.commit().report is None
    second = [answered(state, store).sums for state in states]
    assert all(sums is not None and sums.total is not None for sums in second)
    assert computed == [0, 1, 2, 3, 4] and not states[0]._held
    assert store.commit().report is not None
    for state in states:
        answered(state, store)
    assert computed == [0, 1, 2, 3, 4] * 2


def test_a_worker_of_all_shards_answers_the_second_attempt_with_the_first(updates: Iterator[list[int]]) -> None:
    computed = next(updates)
    data, problem, store = job()
    state = worker(data)
    state.prepare(range(5))
    state.configure(problem)
    first = answered(state, store).sums
    assert first is not None and first.total is None and not state._held
    assert store.commit().report is None
    second = answered(state, store).sums
    assert second is not None
    np.testing.assert_array_equal(second.total, first.ahead)
    assert second.ahead is None and computed == [0, 1, 2, 3, 4] * 2  # nobody need ask again


def test_what_is_held_is_dropped_with_its_round(updates: Iterator[list[int]]) -> None:
    computed = next(updates)
    data, problem, store = job()
    state = worker(data)
    state.prepare([0, 1])
    state.configure(problem)
    message = store.message
    state.run(message)
    assert sorted(state._held) == [0, 1]
    state.prepare([2])  # shards 0 and 1 have gone to another worker
    state.run(replace(message, round=message.round + 1, version=message.version + 2))
    assert sorted(state._held) == [2]
    state.run(replace(message, stage="exact", payload={}, version=message.version + 3))
    assert sorted(state._held) == [2] and len(computed) == 4


def test_an_update_that_is_not_finite_is_told() -> None:
    data, problem, store = job()
    state = worker(data)
    state.prepare([1, 4])
    state.configure(problem)
    payload = {"parameters": np.full(problem.num_parameters, 1e300)}
    result = state.run(replace(store.message, payload=payload))
    assert result.sums is None
    assert result.failure is not None and result.failure.startswith("shard 1: ")
    assert "values are not finite" in result.failure


def test_an_answer_depends_on_the_call_alone() -> None:
    data, problem, store = job()
    fresh, used = worker(data), worker(data)
    for wanted in ([4], [0, 1, 2, 3], [1, 3]):
        used.prepare(wanted)
        used.configure(problem)
        used.run(store.message)
    fresh.prepare([1, 3])
    fresh.configure(problem)
    fresh_sums, used_sums = fresh.run(store.message).sums, used.run(store.message).sums
    assert fresh_sums is not None and used_sums is not None
    np.testing.assert_array_equal(fresh_sums.peaks, used_sums.peaks)
