"""Order-free sums: against big integers and fractions, in any order and grouping."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_cases import quick

from workers.exact_sum import (
    CAPACITY_BITS,
    GROWTH_BITS,
    LEAST_PEAK,
    SHRINK_BITS,
    Floats,
    Ints,
    NonFiniteError,
    Scale,
    peaks,
)

finite = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=True)
moderate = st.one_of(st.floats(-1e6, 1e6), st.floats(-1e-6, 1e-6), st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.5, 2.5]))


@st.composite
def block_starts(draw: st.DrawFn, size: int) -> Ints:
    inner = draw(st.sets(st.integers(1, size - 1))) if size > 1 else set()
    return np.array([0, *sorted(inner)], dtype=np.int64)


@st.composite
def terms(draw: st.DrawFn, values: st.SearchStrategy[float] = moderate) -> tuple[Floats, Ints]:
    """Draw terms (n, size) and the starts of their blocks."""
    size, number = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    rows = draw(st.lists(st.lists(values, min_size=size, max_size=size), min_size=number, max_size=number))
    return np.array(rows), draw(block_starts(size))


def scale_for(rows: Floats, starts: Ints) -> Scale:
    largest = np.max([peaks(row, starts) for row in rows], axis=0)
    return Scale.fitting(largest, starts, rows.shape[1], len(rows))


def exponent_of(scale: Scale, position: int) -> int:
    block = int(np.searchsorted(scale.starts, position, side="right")) - 1
    return int(scale.exponents[block])


def nearest(value: float, exponent: int) -> int:
    """Return ``rint(value * 2**exponent)`` without floating-point numbers."""
    return round(Fraction(value) * Fraction(2) ** exponent)


@quick
@given(terms(st.one_of(moderate, finite)), st.data())
def test_any_order_and_grouping_gives_the_sum_of_big_integers(case: tuple[Floats, Ints], data: st.DataObject) -> None:
    rows, starts = case
    scale = scale_for(rows, starts)
    expected = [
        sum(nearest(value, exponent_of(scale, position)) for value in rows[:, position].tolist())
        for position in range(rows.shape[1])
    ]
    order = data.draw(st.permutations(range(len(rows))))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows)))))
    groups = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    total = np.zeros(rows.shape[1], dtype=np.int64)
    for group in reversed(groups):  # a worker adds a call's shards, the server adds the calls
        partial = np.zeros(rows.shape[1], dtype=np.int64)
        for index in group:
            assert scale.holds(peaks(rows[index], starts))
            partial += scale.quantise(rows[index])
        total += partial
    assert total.tolist() == expected
    restored = scale.restore(total).tolist()
    for position, number in enumerate(expected):
        try:
            rounded = float(Fraction(number) / Fraction(2) ** exponent_of(scale, position))
        except OverflowError:
            rounded = math.copysign(math.inf, number)
        assert restored[position] == rounded


@quick
@given(terms())
def test_the_restored_sum_is_as_near_as_promised(case: tuple[Floats, Ints]) -> None:
    rows, starts = case
    scale = scale_for(rows, starts)
    restored = scale.restore(np.sum([scale.quantise(row) for row in rows], axis=0)).tolist()
    for position, got in enumerate(restored):
        exact = sum(map(Fraction, rows[:, position].tolist()), Fraction())
        step = Fraction(2) ** -exponent_of(scale, position)
        bound = len(rows) * step / 2 + Fraction(math.ulp(got)) / 2
        assert abs(Fraction(got) - exact) <= bound


@quick
@given(st.integers(1, 3000), st.integers(-300, 300), st.integers(-8, 8))
def test_holds_says_no_exactly_when_all_terms_that_large_could_overflow(num_terms: int, peak: int, growth: int) -> None:
    starts = np.array([0])
    scale = Scale.fitting(np.array([peak], dtype=np.int16), starts, 1, num_terms)
    worst = np.array([np.nextafter(2.0 ** (peak + growth), 0.0)])
    assert peaks(worst, starts).tolist() == [peak + growth]
    scaled = abs(nearest(float(worst[0]), int(scale.exponents[0])))
    doubled = 1 << (num_terms - 1).bit_length()  # the next power of two: what a scale can tell apart
    holds = scale.holds(peaks(worst, starts))
    assert holds == (doubled * scaled <= 1 << CAPACITY_BITS) == (growth <= GROWTH_BITS)
    if holds:
        assert num_terms * scaled < 1 << 63
        for sign in (1.0, -1.0):
            total = num_terms * scale.quantise(sign * worst)
            assert total.tolist() == [num_terms * nearest(sign * float(worst[0]), int(scale.exponents[0]))]


def test_holds_judges_every_block() -> None:
    starts = np.array([0, 2])
    scale = Scale.fitting(np.array([0, 10], dtype=np.int16), starts, 3, 4)
    assert scale.holds(peaks(np.array([15.0, -3.0, 0.0]), starts))
    assert not scale.holds(peaks(np.array([16.0, -3.0, 0.0]), starts))
    assert scale.holds(peaks(np.array([0.0, 0.0, 16000.0]), starts))
    assert not scale.holds(peaks(np.array([0.0, 0.0, -17000.0]), starts))


@quick
@given(st.lists(finite, min_size=1, max_size=6), st.data())
def test_peaks_are_the_least_powers_of_two_above(values: list[float], data: st.DataObject) -> None:
    starts = data.draw(block_starts(len(values)))
    found = peaks(np.array(values), starts).tolist()
    ends = [*starts[1:].tolist(), len(values)]
    for peak, a, b in zip(found, starts.tolist(), ends, strict=True):
        largest = max(Fraction(abs(value)) for value in values[a:b])
        assert largest < Fraction(2) ** peak
        assert peak == LEAST_PEAK or largest >= Fraction(2) ** (peak - 1)
        assert LEAST_PEAK <= peak <= 1024


@pytest.mark.parametrize("number", [1, 2, 3, 1000])
def test_zeros_subnormals_and_the_largest_numbers(number: int) -> None:
    starts = np.array([0, 1, 2, 3])
    row = np.array([0.0, 5e-324, 1.0, 0.999 * (np.finfo(float).max / number)])
    scale = scale_for(np.tile(row, (number, 1)), starts)
    restored = scale.restore(number * scale.quantise(row))
    assert restored[0] == 0.0
    assert restored[1] == 0.0  # below LEAST_PEAK: lost, as documented
    assert restored[2] == number
    assert restored[3] == pytest.approx(number * row[3], rel=1e-15) and np.isfinite(restored[3])


def test_a_small_block_beside_a_huge_one_keeps_its_digits() -> None:
    values = np.array([1e-200, 3e-200, 1e200])
    apart = scale_for(values[None], np.array([0, 2]))
    assert apart.restore(apart.quantise(values)) == pytest.approx(values, rel=1e-15)
    together = scale_for(values[None], np.array([0]))
    assert together.restore(together.quantise(values))[:2].tolist() == [0.0, 0.0]


def test_a_sum_beyond_the_floats_is_infinite_and_does_not_wrap() -> None:
    row = np.array([1.5e308])
    scale = scale_for(np.tile(row, (2, 1)), np.array([0]))
    total = 2 * scale.quantise(row)
    assert total[0] > 0
    with np.errstate(over="raise"):
        assert scale.restore(total).tolist() == [math.inf]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1, 4])
def test_what_is_not_finite_is_refused(bad: float, place: int) -> None:
    values: Any = np.arange(5.0)
    values[place] = bad
    with pytest.raises(NonFiniteError, match="1 of 5 values are not finite"):
        peaks(values, np.array([0, 2]))


# --- digits --------------------------------------------------------------------------------------------------


@quick
@given(st.integers(1, 10**6), st.integers(-200, 200), st.integers(-80, 10))
def test_terms_may_shrink_by_so_many_bits_and_no_more(num_terms: int, place: int, change: int) -> None:
    starts = np.array([0])
    scale = Scale.fitting(peaks(np.array([2.0**place]), starts), starts, 1, num_terms)
    term = np.array([2.0 ** (place + change)])
    largest = peaks(term, starts)
    assert scale.resolves(largest) == (change >= -SHRINK_BITS)
    assert scale.holds(largest) == (change <= GROWTH_BITS)
    if scale.resolves(largest) and scale.holds(largest):
        assert abs(int(scale.quantise(term)[0])).bit_length() > CAPACITY_BITS - GROWTH_BITS - SHRINK_BITS - 21


def test_blocks_of_zeros_have_no_digits_to_lose() -> None:
    starts = np.array([0, 1])
    scale = Scale.fitting(peaks(np.array([1e300, 1.0]), starts), starts, 2, 7)
    assert scale.resolves(peaks(np.array([0.0, 1.0]), starts))
    assert not scale.resolves(peaks(np.array([1e-200, 1.0]), starts))


def test_terms_that_fit_their_own_scale_are_resolved_by_it() -> None:
    """Or a round would be repeated for ever."""
    for num_terms in (1, 2, 1000, 10**6):
        for value in (1e-300, 1.0, 1e300, 5e-324, 0.0):
            starts = np.array([0])
            largest = peaks(np.array([value]), starts)
            assert Scale.fitting(largest, starts, 1, num_terms).resolves(largest)
