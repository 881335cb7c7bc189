"""Who is given up: limits worked out by hand, and what must never happen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.rounds.watch import LEAST_SPREAD, LOOK_S, SLACK, SPREADS, GivenUp, Reason, Watch


def looked(watch: Watch, from_s: float, to_s: float) -> list[tuple[float, GivenUp]]:
    """Look every second, and return who was given up when."""
    return [(now_s, one) for now_s in np.arange(from_s, to_s, 1.0).tolist() for one in watch.given_up(now_s)]


def test_who_beats_every_second_is_silent_after_the_floor() -> None:
    watch = Watch(2, silent_s=10.0)
    found = []
    for second in range(60):
        watch.beat(0, second, 0)
        if second <= 20:
            watch.beat(1, second, 0)
        found += [(second, one) for one in watch.given_up(second)]
    ((at_s, one),) = found
    assert at_s == 31 and one == GivenUp(1, Reason.SILENT, 11.0, 10.0)
    assert str(one) == "no sign of life for 11.0 s (the limit is 10.0 s)"
    assert watch.look_s == 59 + LOOK_S


def test_who_beats_seldom_is_given_longer() -> None:
    """Gaps of 8, 10, 12 s: the median is 10, the MAD 2, but a quarter of the median counts at least."""
    watch = Watch(1, silent_s=10.0)
    now_s = 0.0
    watch.beat(0, now_s, 0)
    for gap_s in (8.0, 10.0, 12.0):
        assert not looked(watch, now_s + 1, now_s + gap_s)
        now_s += gap_s
        watch.beat(0, now_s, 0)
    limit_s = 10.0 + SPREADS * LEAST_SPREAD * 10.0
    ((at_s, one),) = looked(watch, now_s, now_s + 100.0)
    assert one.limit_s == limit_s == 30.0 and at_s == now_s + 31.0


def test_who_was_never_heard_of_is_not_silent() -> None:
    watch = Watch(1, silent_s=10.0, stuck_s=60.0, first_s=500.0)
    assert not looked(watch, 0.0, 300.0)
    watch.began(0, 300.0, 5.0)
    ((at_s, one),) = looked(watch, 300.0, 900.0)
    assert at_s == 801.0 and one.reason is Reason.STUCK and one.limit_s == 500.0


def beating(watch: Watch, worker: int, from_s: int, to_s: int, num_done: int) -> list[tuple[int, GivenUp]]:
    found = []
    for second in range(from_s, to_s):
        watch.beat(worker, second, num_done)
        found += [(second, one) for one in watch.given_up(second)]
    return found


def test_who_beats_and_finishes_nothing_is_stuck_by_what_all_have_shown() -> None:
    """Calls took 1, 2, 3 s per unit of work: median 2, MAD 1, so 10 s are too long; and the largest shard has 4."""
    watch = Watch(4, stuck_s=60.0)
    for worker, seconds in enumerate((1.0, 2.0, 3.0)):
        watch.began(worker, 0.0, 1.0)
        watch.answered(worker, seconds, 1.0, seconds)
    watch.began(3, 10.0, 4.0)
    limit_s = SLACK * 4.0 * (2.0 + SPREADS * 1.0)
    found = beating(watch, 3, 10, 1000, num_done=7)
    assert limit_s == 400.0
    assert found == [(411, GivenUp(3, Reason.STUCK, 401.0, limit_s))]


def test_progress_an_answer_and_having_nothing_to_do_all_count_as_signs_of_life() -> None:
    watch = Watch(1, stuck_s=60.0)
    watch.began(0, 0.0, 1.0)
    watch.answered(0, 0.0, 1.0, 0.1)
    assert not beating(watch, 0, 0, 200, 0)  # it has no call
    watch.began(0, 200.0, 1.0)
    assert not beating(watch, 0, 200, 255, 0)
    assert not beating(watch, 0, 255, 310, 1)  # one shard more
    watch.began(0, 310.0, 1.0)  # a second call behind the first
    watch.answered(0, 310.0, 1.0, 0.1)
    assert not beating(watch, 0, 310, 368, 1)
    assert [at_s for at_s, _ in beating(watch, 0, 368, 400, 1)] == [371]


def test_nobody_is_given_up_because_the_server_itself_slept() -> None:
    watch = Watch(1, silent_s=10.0, stuck_s=60.0)
    watch.began(0, 0.0, 1.0)
    watch.answered(0, 1.0, 1.0, 1.0)
    watch.began(0, 1.0, 1.0)
    watch.beat(0, 1.0, 0)
    assert watch.given_up(1.0) == ()
    assert watch.given_up(500.0) == ()
    assert [one.worker for _, one in looked(watch, 501.0, 512.0)] == [0]


def test_what_is_known_of_calls_is_kept_for_the_next_team_and_forgotten_with_the_stage() -> None:
    first = Watch(1)
    first.began(0, 0.0, 1.0)
    first.answered(0, 100.0, 1.0, 100.0)
    second = Watch(1, stuck_s=60.0, first_s=50.0, before=first)
    second.began(0, 100.0, 1.0)
    assert not beating(second, 0, 100, 100 + 3000, 0)  # 100 s are usual: 30 times as long is allowed
    second.forget_computing()
    assert [one.limit_s for _, one in beating(second, 0, 3100, 3102, 0)] == [60.0]


def test_each_is_given_up_once_and_what_it_says_later_is_not_heard() -> None:
    watch = Watch(1, silent_s=2.0)
    watch.beat(0, 0.0, 0)
    assert len(looked(watch, 0.0, 60.0)) == 1
    watch.beat(0, 60.0, 1)
    watch.began(0, 60.0, 1.0)
    watch.answered(0, 61.0, 1.0, 1.0)
    assert not looked(watch, 60.0, 90.0)


@settings(max_examples=80, deadline=None)
@given(
    s_per_work=st.floats(1e-4, 5.0),
    slowness=st.floats(1.0, 20.0),
    works=st.lists(st.floats(1.0, 50.0), min_size=1, max_size=6),
    num_fast=st.integers(1, 5),
    known=st.booleans(),
)
def test_nobody_is_given_up_for_being_twenty_times_slower(
    s_per_work: float, slowness: float, works: list[float], num_fast: int, known: bool
) -> None:
    watch, largest = Watch(num_fast + 1, stuck_s=1.0), max(works)
    for worker in range(num_fast):
        watch.began(worker, 0.0, largest)
        watch.answered(worker, 0.0, sum(works), sum(works) * s_per_work)
    slow, now_s = num_fast, 0.0
    for _ in range(2 if known else 1):
        watch.began(slow, now_s, largest)
        for done, work in enumerate(works):
            ends_s = now_s + work * s_per_work * slowness
            for moment_s in np.linspace(now_s, ends_s, 5).tolist():
                watch.beat(slow, moment_s, done)
                assert watch.given_up(moment_s) == ()
            now_s = ends_s
        watch.answered(slow, now_s, sum(works), sum(works) * s_per_work * slowness)
        watch.beat(slow, now_s, len(works))


@settings(max_examples=50, deadline=None)
@given(gaps=st.lists(st.floats(0.1, 5.0), max_size=80), silent_s=st.floats(1.0, 30.0))
def test_whoever_falls_silent_is_given_up_in_bounded_time(gaps: list[float], silent_s: float) -> None:
    watch, now_s = Watch(1, silent_s=silent_s), 0.0
    watch.beat(0, now_s, 0)
    watch.given_up(now_s)
    for gap_s in gaps:
        now_s += gap_s
        watch.beat(0, now_s, 0)
        watch.given_up(now_s)
    spread = max(gaps, default=0.0)
    longest_s = max(silent_s, (1.0 + SPREADS) * spread) + 1.0
    found = [one for step in range(1, math.ceil(8 * longest_s)) for one in watch.given_up(now_s + step / 4)]
    assert [one.reason for one in found] == [Reason.SILENT] and found[0].for_s <= longest_s


@pytest.mark.parametrize("late_s", [0.0, 1.0])
def test_a_beat_of_the_same_moment_is_no_gap(late_s: float) -> None:
    watch = Watch(1)
    watch.beat(0, 0.0, 0)
    watch.beat(0, late_s, 1)
    assert len(watch._seen[0].gaps_s) == (late_s > 0)


@pytest.mark.parametrize("silent_s", [2.0, 3.0, 10.0, 60.0])
def test_who_looks_when_it_is_time_and_a_little_late_finds_who_is_silent(silent_s: float) -> None:
    watch, now_s = Watch(1, silent_s), 0.0
    watch.given_up(now_s)
    watch.beat(0, now_s, 0)
    while not (found := watch.given_up(now_s)):
        now_s = watch.look_s + 0.1
        assert now_s < 2 * silent_s + 2
    assert found[0].for_s > silent_s
