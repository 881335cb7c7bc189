"""Speed-proportional parts under limits of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.balance.division import largest_remainder
from policies.balance.filling import water_level
from policies.balance.memory_capped import MemoryCapped
from policies.balance.speed_proportional import SpeedProportional, relative_speeds
from policies.interface import RoundView, Unplaced
from policies.strategies import round_view, shard_table, worker_table


def view_of(limits: list[float], s_per_work: list[float], work: Any) -> RoundView:
    workers = worker_table([(1.0, 0.0, limit) for limit in limits], s_per_work)
    return round_view(workers, shard_table(work, 8 * np.array(work, dtype=float)))


def counts(view: RoundView) -> list[int]:
    return np.bincount(MemoryCapped().divide(view).worker_of, minlength=len(view.workers)).tolist()  # type: ignore[union-attr]


def test_what_the_fast_cannot_hold_goes_to_the_others_by_speed() -> None:
    view = view_of([32.0, 1e9, 1e9], [0.1, 0.2, 0.4], [1.0] * 16)  # 4 shards fit in the fastest; 12 are left, 2 to 1
    assert counts(view) == [4, 8, 4]


def test_limits_may_bind_one_after_another() -> None:
    view = view_of([16.0, 40.0, 1e9], [0.1, 0.2, 0.4], [1.0] * 12)  # 2; then 10 as 6.7 to 3.3, but 5 fit
    assert counts(view) == [2, 5, 5]


@settings(deadline=None)
@given(
    limits=st.lists(st.integers(0, 12), min_size=1, max_size=5),
    speeds=st.lists(st.integers(1, 9), min_size=5, max_size=5),
    num=st.integers(1, 30),
)
def test_even_shards_are_the_optimum_rounded(limits: list[int], speeds: list[int], num: int) -> None:
    step = [1.0 / speed for speed in speeds[: len(limits)]]
    view = view_of([8.0 * limit for limit in limits], step, [1.0] * num)
    if num > sum(limits):
        assert isinstance(MemoryCapped().divide(view), Unplaced)
        return
    relative = 1.0 / relative_speeds(np.array(step))  # as the policy does, so that ties are broken alike
    _, parts = water_level(float(num), np.zeros(len(step)), relative, np.array(limits, dtype=float))
    found = np.array(counts(view))
    assert (np.abs(found - parts) < 1 + 1e-9).all()
    assert found.tolist() == largest_remainder(parts, num).tolist()


def test_uneven_shards_come_near_to_the_optimum() -> None:
    random = np.random.default_rng(0)
    work, step = random.lognormal(0, 1, 400), 1 / random.uniform(1, 4, 8)
    limits = 8 * work.sum() / 8 * np.array([0.5, 0.5, 2, 2, 2, 2, 2, 2])
    view = view_of(limits.tolist(), step.tolist(), work)
    level, _ = water_level(work.sum(), np.zeros(8), step, limits / 8)
    done = np.bincount(MemoryCapped().divide(view).worker_of, work, 8) * step  # type: ignore[union-attr]
    assert done.max() < 1.02 * level
    unaware = np.bincount(SpeedProportional().divide(view).worker_of, work, 8) * step  # type: ignore[union-attr]
    assert done.max() < unaware.max()


def test_without_limits_it_is_speed_proportional() -> None:
    view = view_of([1e9] * 3, [0.1, 0.2, np.nan], [1.0] * 12)
    assert counts(view) == [5, 3, 4]
