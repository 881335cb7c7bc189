"""What a free part of a GPU is worth: by hand, and against every filling there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from policies.place.filling import PRECISION, UNITS, best_use, random_use
from policies.tables import Floats, Ints

FOREVER = 1e12


def ints(*sizes: int) -> Ints:
    return np.array(sizes, dtype=np.int64)


def floats(*shares: float) -> Floats:
    return np.array(shares)


@st.composite
def mixes(draw: st.DrawFn) -> tuple[Ints, Floats]:
    sizes = sorted(draw(st.sets(st.integers(150, UNITS), min_size=1, max_size=5)))
    shares = draw(st.lists(st.floats(0.05, 10.0), min_size=len(sizes), max_size=len(sizes)))
    return np.array(sizes, dtype=np.int64), np.array(shares)


def test_one_bundle_is_expected_so_a_half_has_one_chance_in_two_to_be_taken() -> None:
    """The number of bundles is geometric with mean 1: another comes with probability 1/2 each time."""
    use = random_use(ints(500), floats(3.0), 1.0)
    assert use[[0, 499]].tolist() == [0.0, 0.0]
    assert use[[500, 999]] == pytest.approx([0.5 * 0.5] * 2)
    assert use[UNITS] == pytest.approx(0.5 * (0.5 + 0.25))


def test_filled_at_random_until_nothing_fits() -> None:
    """If .4 comes first it leaves .6, where only another .4 fits; if .7 does it leaves .3, where nothing fits."""
    use = random_use(ints(400, 700), floats(1.0, 1.0), FOREVER)
    assert use[[300, 600]] == pytest.approx([0.0, 0.4])
    assert use[UNITS] == pytest.approx(0.5 * (0.4 + 0.4) + 0.5 * 0.7)


def test_what_comes_more_often_counts_more() -> None:
    assert random_use(ints(400, 700), floats(1.0, 3.0), FOREVER)[UNITS] == pytest.approx(0.25 * 0.8 + 0.75 * 0.7)


def test_two_halves_are_worth_a_gpu_and_less_than_a_half_is_worth_nothing() -> None:
    worth = best_use(ints(470), floats(1.0))
    assert worth[[469, 470, 939, 940, UNITS]].tolist() == [0.0, 0.5, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("large", "small", "of_small", "of_large"), [(2.0, 1.0, 0.0, 1.0), (1.0, 2.0, 0.2, 0.8), (1.0, 0.0, 0.0, 1.0)]
)
def test_a_sliver_is_worth_what_bundles_can_do_with_it(
    large: float, small: float, of_small: float, of_large: float
) -> None:
    """Beside .81 there is room for .19. If .81 is asked for more often, that room costs nothing; if less often, .19
    also fills GPUs of its own, five on each.
    """
    worth = best_use(ints(190, 810), floats(small, large))
    assert worth[[190, 809 if small < large else 810]] == pytest.approx([of_small, of_large if small > large else 0.0])
    assert worth[810] == pytest.approx(of_large)


def test_nothing_asked_for_is_worth_nothing() -> None:
    assert not best_use(ints(), floats()).any()
    assert not best_use(ints(500), floats(0.0)).any()
    assert not random_use(ints(), floats(), 100.0).any()


@settings(max_examples=30, deadline=None)
@given(mix=mixes())
def test_the_prices_come_to_the_fewest_gpus(mix: tuple[Ints, Floats]) -> None:
    """Against the linear program with a column for every filling."""
    sizes, shares = mix
    most = [range(UNITS // size + 1) for size in sizes.tolist()]
    fillings = np.array([one for one in itertools.product(*most) if 0 < np.dot(one, sizes) <= UNITS])
    fewest = linprog(np.ones(len(fillings)), A_ub=-fillings.T, b_ub=-shares, method="highs").fun
    worth = best_use(sizes, shares)
    assert (1 - 2 * PRECISION) * fewest <= (shares * worth[sizes]).sum() <= (1 + 1e-6) * fewest
    assert (fillings @ worth[sizes]).max() <= 1 + 1e-9


@settings(max_examples=30, deadline=None)
@given(mix=mixes(), one=st.integers(0, UNITS), other=st.integers(0, UNITS), offers=st.floats(0.1, 1000.0))
def test_two_parts_are_worth_no_more_than_one_as_large(
    mix: tuple[Ints, Floats], one: int, other: int, offers: float
) -> None:
    worth, used = best_use(*mix), random_use(*mix, offers)
    if one + other <= UNITS:
        assert worth[one] + worth[other] <= worth[one + other] + 1e-9
    assert worth[0] == 0 and worth[UNITS] == 1
    assert (used <= np.arange(UNITS + 1) / UNITS + 1e-12).all() and (used >= 0).all()
