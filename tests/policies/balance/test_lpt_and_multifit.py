"""The guarantees of LPT and MULTIFIT, against the best of all hand-outs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.balance.lpt import Lpt
from policies.balance.multifit import Multifit, first_fit_decreasing
from policies.bounds import makespan_bound
from policies.interface import PolicyError
from tests.policies.balance.brute import best_s, owners_of, speeds, takes_s, view_of, works

few = st.lists(st.integers(1, 20).map(float), min_size=1, max_size=8)


@settings(deadline=None, max_examples=200)
@given(work=few, num_workers=st.integers(1, 3))
def test_on_equal_workers_lpt_is_within_four_thirds(work: list[float], num_workers: int) -> None:
    view = view_of(work, [1.0] * num_workers)
    assert takes_s(Lpt(), view) <= (4 / 3 - 1 / (3 * num_workers)) * best_s(view) * (1 + 1e-9)


@settings(deadline=None, max_examples=200)
@given(work=few, num_workers=st.integers(1, 3))
def test_on_equal_workers_multifit_is_within_thirteen_elevenths(work: list[float], num_workers: int) -> None:
    view = view_of(work, [1.0] * num_workers)
    assert takes_s(Multifit(), view) <= (13 / 11 + 2**-10) * best_s(view) * (1 + 1e-9)


@settings(deadline=None, max_examples=200)
@given(work=works, s_per_work=speeds)
def test_on_workers_of_different_speed(work: list[float], s_per_work: list[float]) -> None:
    view, num = view_of(work, s_per_work), len(s_per_work)
    best, lpt, multifit = best_s(view), takes_s(Lpt(), view), takes_s(Multifit(), view)
    assert lpt <= 2 * num / (num + 1) * best * (1 + 1e-9)  # Gonzalez, Ibarra and Sahni
    assert multifit <= min((1.4 + 2**-10) * best, lpt) * (1 + 1e-9)  # Friesen and Langston


def test_grahams_worst_case_which_multifit_solves() -> None:
    view = view_of([5.0, 5.0, 4.0, 4.0, 3.0, 3.0, 3.0], [1.0, 1.0, 1.0])
    assert takes_s(Lpt(), view) == 11.0
    assert takes_s(Multifit(), view) == best_s(view) == 9.0


def test_lpt_by_hand() -> None:
    view = view_of([6.0, 5.0, 4.0], [1.0, 0.5])  # done with 6 at 6 or 3; then 5 at 5 or 5.5; then 4 at 9 or 5
    assert owners_of(Lpt(), view).tolist() == [1, 0, 1]


def test_a_late_start_counts() -> None:
    view = view_of([3.0, 3.0, 3.0], [1.0, 1.0], s_fixed=[0.0, 5.0])
    assert owners_of(Lpt(), view).tolist() == [0, 0, 1]
    assert owners_of(Multifit(), view).tolist() == [0, 0, 1]
    assert owners_of(Lpt(), view_of([3.0, 3.0], [1.0, 1.0], s_fixed=[0.0, 9.0])).tolist() == [0, 0]


def packed(sizes: Any, capacity: Any) -> list[int] | None:
    room, owner = list(capacity), [-1] * len(sizes)
    by_room = sorted(range(len(room)), key=lambda b: (room[b], b))
    for item in sorted(range(len(sizes)), key=lambda item: (-sizes[item], item)):
        able = [b for b in by_room if room[b] >= sizes[item]]
        if not able:
            return None
        owner[item] = able[0]
        room[able[0]] -= sizes[item]
    return owner


@settings(max_examples=500)
@given(
    sizes=st.lists(st.integers(1, 12).map(float), max_size=25),
    capacity=st.lists(st.integers(0, 40).map(float), min_size=1, max_size=6),
)
def test_first_fit_decreasing_is_the_textbooks(sizes: list[float], capacity: list[float]) -> None:
    found, expected = first_fit_decreasing(np.array(sizes), np.array(capacity)), packed(sizes, capacity)
    assert (None if found is None else found.tolist()) == expected


def test_first_fit_decreasing_of_many() -> None:
    random = np.random.default_rng(1)
    sizes, capacity = random.lognormal(0, 1, 3000), random.uniform(0.5, 1.5, 50)
    capacity *= sizes.sum() / capacity.sum() * 1.001
    found = first_fit_decreasing(sizes, capacity)
    assert found is not None
    assert found.tolist() == packed(sizes, capacity)
    assert first_fit_decreasing(sizes, capacity * 0.99) is None


def test_more_tries_come_nearer_to_the_bound() -> None:
    random = np.random.default_rng(2)
    views = [view_of(random.integers(20, 100, 12).tolist(), [1.0, 1.0, 0.5, 0.25]) for _ in range(30)]
    bounds = [makespan_bound(view.shards.work, view.workers.s_per_work) for view in views]
    few, many = (
        np.mean([takes_s(Multifit(tries), view) / bound for view, bound in zip(views, bounds, strict=True)])
        for tries in (1, 10)
    )
    assert many < few
    assert many < 1.05


@pytest.mark.parametrize("tries", [0, -1, 1.5, True, "3"])
def test_multifit_checks_its_option(tries: Any) -> None:
    with pytest.raises(PolicyError, match="tries must be a whole number of at least 1, but got tries="):
        Multifit(tries)
