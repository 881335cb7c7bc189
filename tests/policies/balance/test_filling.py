"""Water filling against a linear program, and shards placed by earliest completion against the plain loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from policies.balance import filling
from policies.balance.filling import Filling, makespan, pace, water_level
from policies.interface import RoundView
from policies.strategies import shard_table, worker_table

amounts = st.integers(0, 20).map(float)
steps = st.integers(1, 8).map(lambda step: step / 4)


@st.composite
def workers(draw: st.DrawFn, most: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rows = draw(st.lists(st.tuples(amounts, steps), min_size=1, max_size=most))
    ready, step = np.array(rows).T
    return ready, step


def placed_one_by_one(work: np.ndarray, size: np.ndarray, ready: np.ndarray, step: np.ndarray, room: Any) -> list[int]:
    done, left, owner = ready.copy(), np.array(room, dtype=float), [-1] * len(work)
    for shard in sorted(range(len(work)), key=lambda shard: (-work[shard], shard)):
        able = [w for w in range(len(done)) if left[w] >= size[shard]]
        if able:
            first = min(able, key=lambda w: (done[w] + work[shard] * step[w], w))
            done[first] += work[shard] * step[first]
            left[first] -= size[shard]
            owner[shard] = first
    return owner


def optimum(total: float, ready: np.ndarray, step: np.ndarray, limit: np.ndarray) -> float:
    """Return the shortest time by linear programs, one for every set of workers that may be used."""
    best = np.inf
    for chosen in range(1, 2 ** len(ready)):
        rows = [w for w in range(len(ready)) if chosen >> w & 1]
        ends = [[*(step[w] * (w == other) for other in rows), -1.0] for w in rows]  # x * step - time <= -ready
        bounds = [*((0.0, limit[w]) for w in rows), (ready[rows].max(), None)]
        whole = [[*[1.0] * len(rows), 0.0]]
        program = linprog([*[0.0] * len(rows), 1.0], ends, -ready[rows], whole, [total], bounds)
        best = min(best, program.fun) if program.success else best
    return best


@settings(deadline=None, max_examples=60)
@given(given=workers(most=4), total=st.integers(1, 20).map(float), data=st.data())
def test_the_water_level_is_the_optimum_of_a_linear_program(given: Any, total: float, data: st.DataObject) -> None:
    ready, step = given
    limit = np.array([data.draw(st.sampled_from((0.0, 1.0, 5.0, np.inf))) for _ in ready])
    level, parts = water_level(total, ready, step, limit)
    assert (parts >= 0).all()
    assert (parts <= limit).all()
    if total >= limit.sum():
        assert (level, parts.tolist()) == (np.inf, limit.tolist())
        return
    assert parts.sum() == pytest.approx(total)
    used = parts > 1e-9
    assert (ready + parts * step)[used] == pytest.approx(np.where(parts < limit, level, ready + limit * step)[used])
    assert level == pytest.approx(optimum(total, ready, step, limit), abs=1e-6)


def test_the_water_level_is_where_the_last_is_full_although_another_would_begin_later() -> None:
    ready, step = np.array([0.0, 0.0, 4.0, 0.0]), np.array([0.25, 0.5, 0.25, 0.75])
    level, parts = water_level(5.0, ready, step, np.array([0.0, 0.0, 1.0, 5.0]))
    assert (level, parts.tolist()) == (3.75, [0.0, 0.0, 0.0, 5.0])


def test_the_water_level_by_hand() -> None:
    level, parts = water_level(10.0, np.array([0.0, 2.0, 50.0]), np.array([1.0, 0.5, 0.1]), np.array([3.0, 9.0, 9.0]))
    assert (level, parts.tolist()) == (5.5, [3.0, 7.0, 0.0])  # the first is full at 3, the last too late


@settings(max_examples=200)
@given(given=workers(), data=st.data())
def test_placing_is_the_plain_loop(given: Any, data: st.DataObject) -> None:
    ready, step = given
    rows = data.draw(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 4)), max_size=20))
    work, size = np.array(rows, dtype=float).reshape(-1, 2).T
    same = len(set(size.tolist())) <= 1
    room = [data.draw(st.sampled_from((0.0, 6.0, 1e9))) if same else 1e9 for _ in ready]
    owner = Filling(ready, step, np.array(room)).place(work, size)
    expected = np.array(placed_one_by_one(work, size, ready, step, room), dtype=np.int64)
    assert (owner >= 0).sum() == (expected >= 0).sum()
    for rows_of_it in (np.flatnonzero(work == value) for value in np.unique(work)):  # equal shards may change places
        assert sorted(owner[rows_of_it]) == sorted(expected[rows_of_it])


def test_equal_shards_of_one_worker_are_neighbours() -> None:
    owner = Filling(np.zeros(3), np.array([1.0, 2.0, 4.0]), np.full(3, 1e9)).place(np.ones(14), np.ones(14))
    assert owner.tolist() == [0] * 8 + [1] * 4 + [2] * 2


def test_what_must_be_read_counts() -> None:
    step, per_byte = np.array([1.0, 1.0]), np.array([0.0, 3.0])
    owner = Filling(np.zeros(2), step, np.full(2, 1e9), per_byte).place(np.ones(5), np.ones(5))
    assert owner.tolist() == [0, 0, 0, 0, 1]


def test_none_has_room() -> None:
    assert Filling(np.zeros(2), np.ones(2), np.array([5.0, 1.0])).place(np.ones(4), np.full(4, 2.0)).tolist() == [
        0,
        0,
        -1,
        -1,
    ]


@pytest.mark.parametrize("kind", ["uniform", "lognormal", "whole"])
def test_batches_come_near_to_the_plain_loop(kind: str) -> None:
    random = np.random.default_rng(0)
    work = {
        "uniform": random.random(6000),
        "lognormal": random.lognormal(0, 1, 6000),
        "whole": random.integers(1, 500, 6000).astype(float),
    }[kind]
    ready, step = np.zeros(60), 1 / random.uniform(1, 4, 60)
    assert len(filling._runs(-np.sort(-work))) < 6000
    owner = Filling(ready, step, np.full(60, 1e12)).place(work, work)
    plain = np.array(placed_one_by_one(work, work, ready, step, np.full(60, 1e12)))
    one, other = (makespan(hand_out, work, ready, step) for hand_out in (owner, plain))
    assert one == pytest.approx(other, rel=2e-3)


def test_pace_is_finite_whatever_was_measured() -> None:
    speeds = [5e-324, 1e300, np.inf, np.nan, 0.0, 1e-3]
    prices = [1e300, 0.0, 1.0, 1.0, 5.0, 1.0]
    table = worker_table([(1.0, 0.0, 1.0)] * 6, speeds, s_fixed=prices, s_per_byte=prices)
    view = RoundView("j", 0, table, shard_table([], []))
    for column in pace(view, table.s_per_work):
        assert np.isfinite(column).all()
    assert pace(view, table.s_per_work)[0].min() == 0


def test_pace_by_hand() -> None:
    table = worker_table([(1.0, 0.0, 1.0)] * 2, [2.0, 4.0], s_fixed=[18.0, 8.0], s_per_byte=[1.0, 0.5])
    ready, step, per_byte = pace(RoundView("j", 0, table, shard_table([], [])), table.s_per_work)
    assert (ready.tolist(), step.tolist(), per_byte.tolist()) == ([5.0, 0.0], [1.0, 2.0], [0.5, 0.25])


def test_the_makespan_is_of_those_who_have_shards() -> None:
    assert makespan(np.array([0, 0]), np.array([1.0, 2.0]), np.array([1.0, 99.0]), np.array([2.0, 1.0])) == 7.0
    assert makespan(np.array([], dtype=int), np.array([]), np.ones(2), np.ones(2)) == 0.0
