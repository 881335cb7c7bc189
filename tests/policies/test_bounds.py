"""Lower bounds, against the best of all hand-outs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.bounds import makespan_bound
from tests.policies.balance.brute import best_s, speeds, view_of, works

fixed = st.lists(st.integers(0, 9).map(float), min_size=3, max_size=3)


@settings(deadline=None)
@given(work=works, s_per_work=speeds, s_fixed=fixed)
def test_nothing_is_below_the_bound(work: list[float], s_per_work: list[float], s_fixed: list[float]) -> None:
    s_fixed = s_fixed[: len(s_per_work)]
    view = view_of(work, s_per_work, s_fixed=s_fixed)
    bound = makespan_bound(np.array(work), np.array(s_per_work), np.array(s_fixed))
    assert bound <= best_s(view) * (1 + 1e-9)
    split = sum(work) / sum(1 / step for step in s_per_work)
    assert bound >= split * (1 - 1e-9)
    assert bound >= max(work) * min(s_per_work) * (1 - 1e-9)


@settings(deadline=None)
@given(num=st.integers(1, 7), s_per_work=speeds, s_fixed=fixed)
def test_for_equal_shards_it_is_the_optimum(num: int, s_per_work: list[float], s_fixed: list[float]) -> None:
    s_fixed = s_fixed[: len(s_per_work)]
    view = view_of([3.0] * num, s_per_work, s_fixed=s_fixed)
    bound = makespan_bound(np.full(num, 3.0), np.array(s_per_work), np.array(s_fixed))
    assert bound == pytest.approx(best_s(view), rel=1e-9)


@pytest.mark.parametrize(
    ("work", "s_per_work", "s_fixed", "expected"),
    [
        ([4.0, 4.0], [1.0, 1.0], None, 4.0),
        ([9.0, 1.0], [1.0, 1.0], None, 9.0),  # the largest shard, on the fastest
        ([5.0, 5.0, 5.0], [1.0, 1.0], None, 10.0),  # two of three share a worker
        ([8.0, 8.0, 1.0], [1.0, 0.5], None, 8.0),  # the two largest on the two fastest: 16 / 3, but a whole one: 8
        ([4.0], [1.0, 1.0], [9.0, 2.0], 6.0),
        ([], [1.0], None, 0.0),
        ([1.0], [np.inf], None, np.inf),
        ([1.0], [], None, np.inf),
        ([2.0], [np.inf, 3.0], None, 6.0),
        ([0.0, 0.0], [1.0], [5.0], 5.0),
    ],
)
def test_by_hand(work: list[float], s_per_work: list[float], s_fixed: list[float] | None, expected: float) -> None:
    given_fixed = None if s_fixed is None else np.array(s_fixed)
    assert makespan_bound(np.array(work), np.array(s_per_work), given_fixed) == pytest.approx(expected)


@pytest.mark.parametrize(("work", "step"), [([-1.0], [1.0]), ([1.0], [0.0]), ([np.nan], [1.0]), ([1.0], [np.nan])])
def test_refuses(work: list[float], step: list[float]) -> None:
    with pytest.raises(ValueError, match="must be at least 0, and s_per_work greater than 0"):
        makespan_bound(np.array(work), np.array(step))
