from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.balance.division import best_fit, by_weight, contiguous, largest_remainder, within_memory
from policies.balance.equal import Equal
from policies.interface import Assignment, Unplaced
from policies.referee import violations
from policies.strategies import round_view, round_views, shard_table, worker_table

weights = st.lists(st.floats(0, 1e308), min_size=1, max_size=12).map(np.array)


def view_of(limits: list[float], sizes: Any, work: Any = None) -> Any:
    workers = worker_table([(1.0, 0.0, limit) for limit in limits], [1.0] * len(limits))
    return round_view(workers, shard_table(np.ones(len(sizes)) if work is None else work, sizes))


def counts_of(answer: Any, num_workers: int) -> list[int]:
    assert isinstance(answer, Assignment), answer
    return np.bincount(answer.worker_of, minlength=num_workers).tolist()


@pytest.mark.parametrize(
    ("shares", "total", "expected"),
    [
        (
            [47_000, 16_000, 15_800, 12_000, 6_100, 3_100],
            10,
            [5, 2, 1, 1, 1, 0],
        ),  # a textbook example of Hamilton's
        ([1, 1, 1], 10, [4, 3, 3]),
        ([1, 3], 2, [0, 2]),  # equal remainders: the larger weight first
        ([0, 0, 0], 4, [2, 1, 1]),
        ([0, 1], 5, [0, 5]),
        ([1e308, 1e308, 1e308], 3, [1, 1, 1]),
        ([5e-324], 7, [7]),
        ([2, 1], 0, [0, 0]),
        ([], 0, []),
    ],
)
def test_largest_remainder_by_hand(shares: list[float], total: int, expected: list[int]) -> None:
    assert largest_remainder(np.array(shares, dtype=float), total).tolist() == expected


@given(shares=weights, total=st.integers(0, 10**6))
def test_largest_remainder_keeps_the_quota_rule(shares: np.ndarray, total: int) -> None:
    counts = largest_remainder(shares, total)
    assert counts.sum() == total
    scaled = shares / shares.max() if shares.any() else np.ones_like(shares)
    quotas = total * (scaled / scaled.sum())
    assert (counts >= np.floor(quotas - 1e-6)).all()
    assert (counts <= np.ceil(quotas + 1e-6)).all()
    if shares.any():
        assert not counts[shares == 0].any()


@given(shares=st.lists(st.integers(1, 9), min_size=1, max_size=8), total=st.integers(0, 99), data=st.data())
def test_largest_remainder_moves_with_its_rows(shares: list[int], total: int, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(shares))))
    array = np.array(shares, dtype=float)
    straight, permuted = largest_remainder(array, total), largest_remainder(array[order], total)
    pairs = [sorted(zip(array, straight, strict=True)), sorted(zip(array[order], permuted, strict=True))]
    assert pairs[0] == pairs[1]


@pytest.mark.parametrize(("shares", "total"), [([-1.0], 1), ([np.nan], 1), ([np.inf], 1), ([1.0], -1), ([], 1)])
def test_largest_remainder_refuses(shares: list[float], total: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        largest_remainder(np.array(shares), total)


def test_contiguous() -> None:
    assert contiguous(np.array([2, 0, 3])).tolist() == [0, 0, 2, 2, 2]


def test_work_is_divided_when_shards_differ() -> None:
    view = view_of([1e9, 1e9], [1.0] * 5, work=[40.0, 10.0, 10.0, 10.0, 10.0])
    assert by_weight(view, np.array([1.0, 1.0])).worker_of.tolist() == [0, 1, 1, 1, 1]


def test_shards_that_differ_by_a_row_are_counted() -> None:
    view = view_of([1e9, 1e9, 1e9], [1.0] * 5, work=[11.0, 11.0, 11.0, 10.0, 10.0])
    assert counts_of(by_weight(view, np.ones(3)), 3) == [2, 2, 1]


def test_surplus_goes_to_the_others_by_their_weights() -> None:
    view = view_of([20.0, 1e9, 1e9], [10.0] * 12)
    answer = by_weight(view, np.array([6.0, 2.0, 4.0]))  # quotas 6, 2, 4; worker 0 holds only 2 shards
    assert counts_of(answer, 3) == [2, 3, 7]  # its 4 go as 4/3 and 8/3, that is 1 and 3
    assert answer.worker_of[:8].tolist() == [0, 0, 1, 2, 2, 2, 1, 1]


def test_a_worker_without_weight_is_used_when_memory_leaves_no_choice() -> None:
    view = view_of([20.0, 1e9], [10.0] * 4)
    assert counts_of(by_weight(view, np.array([1.0, 0.0])), 2) == [2, 2]


def test_repacks_largest_first_when_the_weights_leave_holes() -> None:
    view = view_of([6.0, 6.0], [3.0, 2.0, 3.0, 2.0, 2.0])  # only 3 + 3 and 2 + 2 + 2 fit
    answer = Equal().divide(view)
    assert sorted(np.bincount(answer.worker_of, weights=view.shards.bytes).tolist()) == [6.0, 6.0]


def test_refusal_says_how_many_bytes_each_worker_lacks() -> None:
    answer = Equal().divide(view_of([25.0, 5.0], [10.0] * 4))
    assert isinstance(answer, Unplaced)
    assert (answer.what, answer.placed, answer.wanted) == ("shards of job job", 2, 4)
    found = [(item.where, item.resource, item.requested, item.free) for item in answer.shortfalls]
    assert found == [("worker w0", "memory", 10.0, 5.0), ("worker w1", "memory", 10.0, 5.0)]


def test_no_workers() -> None:
    answer = Equal().divide(view_of([], [10.0]))
    assert str(answer) == "shards of job job: only 0 of 1 fit\n  - job job: workers 1 requested, 0 free"
    assert len(Equal().divide(view_of([], [])).worker_of) == 0


@given(
    sizes=st.lists(st.integers(0, 9), max_size=20).map(lambda found: np.array(found, dtype=float)),
    room=st.lists(st.integers(0, 30), max_size=5).map(lambda found: np.array(found, dtype=float)),
)
def test_best_fit_is_the_textbooks(sizes: np.ndarray, room: np.ndarray) -> None:
    free, expected = room.copy(), []
    for size in sorted(sizes.tolist(), reverse=True):
        able = [w for w in range(len(free)) if free[w] >= size]
        best = min(able, key=lambda w: (free[w], w), default=-1)
        expected.append(best)
        if best >= 0:
            free[best] -= size
    owner = best_fit(sizes, room)
    assert sum(worker >= 0 for worker in expected) == (owner >= 0).sum()
    given = np.bincount(owner[owner >= 0], weights=sizes[owner >= 0], minlength=len(room))
    assert sorted(room - given) == sorted(free)


@settings(max_examples=200, deadline=None)
@given(view=round_views(), data=st.data())
def test_any_wish_ends_within_memory(view: Any, data: st.DataObject) -> None:
    num = len(view.workers)
    wish = data.draw(st.lists(st.integers(0, max(num - 1, 0)), min_size=len(view.shards), max_size=len(view.shards)))
    shares = data.draw(st.lists(st.sampled_from((0.0, 1.0, 3.0)), min_size=num, max_size=num))
    answer = within_memory(view, np.array(wish, dtype=np.int64), np.array(shares))
    assert violations(answer, view) == ()
    if num and not violations(Assignment(np.array(wish, dtype=np.int64)), view):
        assert answer.worker_of.tolist() == wish  # what fits is left alone


@pytest.mark.parametrize("limit_shards", [10_000, 101])
def test_a_million_shards_on_ten_thousand_workers(limit_shards: int) -> None:
    num_shards, num_workers = 1_000_000, 10_000
    speeds = np.random.default_rng(0).random(num_workers) + 0.1
    bundle = np.column_stack([np.ones(num_workers), np.zeros(num_workers), np.full(num_workers, limit_shards * 8.0)])
    view = round_view(
        worker_table(list(bundle), list(1 / speeds)),
        shard_table(np.ones(num_shards), np.full(num_shards, 8.0)),
    )
    start = time.perf_counter()
    answer = by_weight(view, speeds)
    elapsed_s = time.perf_counter() - start
    assert counts_of(answer, num_workers) == largest_remainder(speeds, num_shards).tolist() or limit_shards == 101
    assert max(counts_of(answer, num_workers)) <= limit_shards
    assert elapsed_s < (1.0 if limit_shards == 10_000 else 5.0)
