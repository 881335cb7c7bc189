"""Fingerprints of updates, and what the stores do with updates that no sound worker sends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_cases import classification, cut, problem_for

from workers.aggregation import Aggregation
from workers.asynchronous_store import AsynchronousStore
from workers.data.shard import Shard
from workers.errors import BadUpdateError, CorruptionError
from workers.exact_sum import Ints
from workers.fingerprint import LANES, fingerprint
from workers.modes import Asp
from workers.parameter_store import ParameterStore, Verdict
from workers.stopping import Stopping
from workers.training import Training
from workers.update import CallSums, call_update

NUM_SHARDS = 6


@given(
    size=st.sampled_from([1, 5, LANES - 1, LANES, LANES + 1, 5 * LANES + 7]),
    seed=st.integers(0, 999),
    num=st.integers(1, 5),
)
def test_the_fingerprint_of_a_sum_is_the_sum_of_the_fingerprints(size: int, seed: int, num: int) -> None:
    random = np.random.default_rng(seed)
    parts = random.integers(-(2**62), 2**62, (num, size)) // num
    assert fingerprint(parts.sum(axis=0)) == sum(map(fingerprint, parts)) % 2**64


@given(size=st.integers(1, 3 * LANES), seed=st.integers(0, 999), place=st.integers(0, 10**6), bit=st.integers(0, 63))
def test_one_bit_is_always_seen(size: int, seed: int, place: int, bit: int) -> None:
    values = np.random.default_rng(seed).integers(-(2**62), 2**62, size)
    broken = values.copy()
    broken.view(np.uint64)[place % size] ^= np.uint64(1) << np.uint64(bit)
    assert fingerprint(values) != fingerprint(broken)


def test_swapped_blocks_of_parameters_are_seen() -> None:
    values = np.random.default_rng(0).integers(-(2**62), 2**62, 4096)
    for half in (16, 64, 1000, 1024, 2048):
        swapped = values.copy()
        swapped[:half], swapped[half : 2 * half] = values[half : 2 * half], values[:half]
        assert fingerprint(values) != fingerprint(swapped)


# --- the synchronous store ---


def opened(**options: Any) -> tuple[ParameterStore, list[Shard]]:
    """Return a store in the second round of the solver, of which the scale is known."""
    X, y = classification(3, 60)
    problem = problem_for(X, y, NUM_SHARDS, "softmax", l2=0.01, learning_rate=1e-6, **options)
    store, shards = (
        ParameterStore(Training(problem, "gradient-descent", Stopping(4, 0.0), False)),
        cut(X, y, NUM_SHARDS),
    )
    while not (store.training.stage == "gradient-descent" and store.training.state.round == 1):
        every = np.arange(NUM_SHARDS)
        store.offer(store.message.version, every, sums_of(store, shards, every))
        store.commit()
    return store, shards


def sums_of(store: ParameterStore, shards: list[Shard], chosen: Ints) -> CallSums:
    return call_update(store.training.problem, store.message, [shards[shard] for shard in chosen], {})


def broken(sums: CallSums) -> CallSums:
    """Return sums of which one bit is wrong."""
    if sums.apart is not None:
        apart = sums.apart.copy()
        apart[0, 1] = np.nextafter(apart[0, 1], 1.0)
        return replace(sums, apart=apart)
    assert sums.total is not None
    total = sums.total.copy()
    total[2] ^= 1
    return replace(sums, total=total)


PARTS = ([[0, 1], [2, 3, 4]], [[0, 1, 2, 3, 4]], [[4], [3], [0, 2, 1]])


@pytest.mark.parametrize("parts", PARTS)
def test_a_duplicate_with_another_content_is_corruption(parts: list[list[int]]) -> None:
    """Whether it is the same call or one over several that were accepted: what is added up is compared."""
    store, shards = opened()
    version = store.message.version
    for place, part in enumerate(parts):
        chosen = np.array(part)
        assert store.offer(version, chosen, sums_of(store, shards, chosen), f"w{place}") is Verdict.ACCEPTED
    union = np.arange(5)
    again = sums_of(store, shards, union)
    assert store.offer(version, union, again, "w9") is Verdict.DUPLICATE
    with pytest.raises(CorruptionError) as caught:
        store.offer(version, union, broken(again), "w9")
    message = str(caught.value)
    assert message.startswith("gradient-descent, round 2: what worker w9 computed for shards [0, 1, 2, 3, 4] differs")
    assert all(f"w{place}" in message for place in range(len(parts)))
    larger = replace(again, peaks=again.peaks + np.int16(1))
    with pytest.raises(CorruptionError):
        store.offer(version, union, larger, "w9")
    with pytest.raises(CorruptionError):
        store.offer(version, union, replace(again, total=None), "w9")


def test_what_was_added_up_with_more_cannot_be_compared() -> None:
    store, shards = opened()
    version, three, two = store.message.version, np.array([0, 1, 2]), np.array([1, 2])
    store.offer(version, three, sums_of(store, shards, three))
    assert store.offer(version, two, broken(sums_of(store, shards, two))) is Verdict.DUPLICATE
    over = np.array([2, 3])
    assert store.offer(version, over, broken(sums_of(store, shards, over))) is Verdict.OVERLAPPING


def test_updates_that_come_apart_are_compared_one_by_one() -> None:
    store, shards = opened(aggregation=Aggregation("median"))
    assert store.message.apart
    version, three, two = store.message.version, np.array([0, 1, 2]), np.array([2, 3])
    store.offer(version, three, sums_of(store, shards, three), "one")
    sums = sums_of(store, shards, two)
    assert store.offer(version, two, sums, "two") is Verdict.OVERLAPPING
    with pytest.raises(CorruptionError, match=r"worker two computed for shards \[2\] differs from what worker one"):
        store.offer(version, two, broken(sums), "two")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"total": np.zeros(3, np.int64)}, r"sums of shape \(3,\), expected"),
        ({"total": np.zeros(13)}, "sums of type float64, expected int64"),
        ({"peaks": np.zeros(99, np.int16)}, r"peaks of shape \(99,\)"),
        ({"apart": np.zeros((2, 13))}, "updates must come apart where"),
    ],
)
def test_an_update_of_another_shape_or_type_names_worker_and_shards(change: dict[str, Any], what: str) -> None:
    store, shards = opened()
    chosen = np.array([1, 4])
    with pytest.raises(BadUpdateError, match=rf"worker w7, shards \[1, 4\]: {what}"):
        store.offer(store.message.version, chosen, replace(sums_of(store, shards, chosen), **change), "w7")
    assert store.num_missing == NUM_SHARDS


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_update_that_is_not_finite_is_refused_and_named(value: float) -> None:
    store, shards = opened(aggregation=Aggregation("median"))
    chosen = np.array([1, 4])
    sums = sums_of(store, shards, chosen)
    assert sums.apart is not None
    sums.apart[1, 0] = value
    with pytest.raises(BadUpdateError, match=r"worker w7, shards \[1, 4\]: the updates of shards \[4\] are not finite"):
        store.offer(store.message.version, chosen, sums, "w7")
    assert store.num_missing == NUM_SHARDS


# --- the asynchronous store ---


def pulled() -> tuple[AsynchronousStore, int, CallSums]:
    X, y = classification(3, 60)
    problem = problem_for(X, y, NUM_SHARDS, "softmax", l2=0.01, learning_rate=1e-6)
    problem = replace(problem, options=replace(problem.options, mode=Asp()))
    store, shards = AsynchronousStore(Training(problem, "gradient-descent", Stopping(9), False)), cut(X, y, NUM_SHARDS)
    every = np.arange(NUM_SHARDS)
    while not store.training.is_asynchronous:
        inner = store.synchronous
        inner.offer(inner.message.version, every, sums_of(inner, shards, every))
        inner.commit()
    store.open()
    store.come("a")
    message = store.pull("a", np.array([0, 1]))
    return store, message.version, call_update(store.training.problem, message, shards[:2], {})


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_plain_sum_that_is_not_finite_is_refused_and_named(value: float) -> None:
    store, version, sums = pulled()
    assert sums.plain is not None
    plain = sums.plain.copy()
    plain[3] = value
    with pytest.raises(BadUpdateError, match=r"worker a, shards \[0, 1\]: the sums are not finite"):
        store.offer("a", version, np.array([0, 1]), replace(sums, plain=plain))
    assert store.version == 0


def test_an_asynchronous_answer_that_comes_twice_must_be_the_same() -> None:
    store, version, sums = pulled()
    chosen = np.array([0, 1])
    assert store.offer("a", version, chosen, sums).verdict is Verdict.ACCEPTED
    assert store.offer("a", version, chosen, sums).verdict is Verdict.DUPLICATE
    assert sums.plain is not None
    with pytest.raises(CorruptionError, match=r"worker a for shards .* came twice, with different content"):
        store.offer("a", version, chosen, replace(sums, plain=np.nextafter(sums.plain, 1.0)))
