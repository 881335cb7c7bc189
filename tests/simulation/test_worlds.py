"""Thousands of random worlds; a seed that fails is played again with ``python -m benchmarks.worlds``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.worlds import play, random_world, wrongs
from scheduler.results.outcome import Interval
from scheduler.simulation.simulator import simulate


@pytest.mark.parametrize("hundred", range(3))
def test_everything_adds_up_in_a_hundred_worlds(hundred: int) -> None:
    assert {seed: found for seed in range(100 * hundred, 100 * hundred + 100) if (found := play(seed))} == {}


@pytest.mark.long
def test_everything_adds_up_in_ten_thousand_worlds() -> None:
    assert {seed: found for seed in range(300, 10_000) if (found := play(seed))} == {}


def test_what_does_not_add_up_is_found() -> None:
    world, policy = random_world(4)
    outcome = simulate(world, policy)
    assert wrongs(world, outcome) == []
    assert "jobs were lost or made up" in wrongs(world, replace(outcome, jobs=outcome.jobs[1:]))
    busy = next(one for one in outcome.intervals if one.job)
    twice = (*outcome.intervals, replace(busy, node=busy.node))
    assert any(
        "overlaps" in wrong for wrong in wrongs(world, replace(outcome, intervals=tuple(sorted(twice, key=_key))))
    )
    crowd = tuple(replace(busy, worker=busy.worker + number) for number in range(20))
    assert any("overfull" in wrong for wrong in wrongs(world, replace(outcome, intervals=crowd)))


def _key(one: Interval) -> tuple[float, str, int]:
    return one.from_s, one.job, one.worker


def test_equal_seeds_make_equal_worlds() -> None:
    one, two = (simulate(*random_world(7)) for _ in range(2))
    assert replace(one, decisions_s=()) == replace(two, decisions_s=())
