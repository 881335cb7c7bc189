"""Steps of speed, arrivals, random faults, the series of use."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.interface import JobView, Resources
from scheduler.simulation.arrivals import bursts, poisson, repeated
from scheduler.simulation.faults import FaultKind, drifting, failing
from scheduler.simulation.recorder import MOST_USES, Contention, UseSeries
from scheduler.simulation.speeds import Steps, slowest
from scheduler.simulation.workload import SimulatedJob

CHANGES = st.lists(st.tuples(st.floats(0.0, 50.0), st.floats(0.1, 4.0)), max_size=5)


@given(CHANGES, st.floats(0.0, 60.0), st.floats(0.0, 100.0))
def test_what_is_done_by_then_is_what_was_asked_for(
    changes: list[tuple[float, float]], start_s: float, amount: float
) -> None:
    steps = Steps.of(1.5, changes)
    end_s = steps.until_done_s(start_s, amount)
    assert end_s >= start_s
    assert steps.amount(start_s, end_s) == pytest.approx(amount, abs=1e-9)


@given(CHANGES, CHANGES, st.floats(0.0, 60.0))
def test_the_slowest_is_the_least_at_every_moment(
    one: list[tuple[float, float]], two: list[tuple[float, float]], at_s: float
) -> None:
    both = [Steps.of(1.0, one), Steps.of(2.0, two)]
    assert slowest(both).at(at_s) == min(steps.at(at_s) for steps in both)


def test_steps_by_hand() -> None:
    steps = Steps.of(2.0, [(10.0, 0.5), (4.0, 2.0)])
    assert [steps.at(at_s) for at_s in (0.0, 4.0, 9.9, 10.0)] == [2.0, 4.0, 4.0, 1.0]
    assert steps.until_done_s(3.0, 2.0 + 4.0) == 5.0
    assert steps.amount(3.0, 11.0) == 2.0 + 24.0 + 1.0


def job(name: str = "j") -> SimulatedJob:
    return SimulatedJob(JobView(name, 0.0, Resources(1.0), 1, 1))


def test_copies_have_names_of_their_own() -> None:
    assert [one.view.id for one in repeated([job("a"), job("b")], 2)] == ["a-1", "b-1", "a-2", "b-2"]
    assert repeated([job()], 1) == (job(),)


def test_arrivals_at_random_have_the_rate_that_was_asked_for() -> None:
    jobs = poisson(repeated([job()], 2000), 60.0, seed=3)
    times = [one.view.submitted_s for one in jobs]
    assert times[0] == 0.0
    assert np.diff(times).mean() == pytest.approx(60.0, rel=0.1)
    assert poisson(jobs, 60.0, 3) == jobs != poisson(jobs, 60.0, 4)


def test_bursts() -> None:
    assert [one.view.submitted_s for one in bursts(repeated([job()], 5), 2, 10.0)] == [0.0, 0.0, 10.0, 10.0, 20.0]


def test_drift_is_log_normal_around_one_and_a_machines_own() -> None:
    faults = drifting(["a", "b"], 0.3, 1.0, 4000.0, seed=1)
    logs = np.log([fault.factor for fault in faults])
    assert (len(faults), {fault.kind for fault in faults}) == (8000, {FaultKind.SPEED})
    assert (logs.mean(), logs.std()) == (pytest.approx(0.0, abs=0.02), pytest.approx(0.3, rel=0.05))
    assert faults[4000:] == drifting(["b"], 0.3, 1.0, 4000.0, seed=1)


def test_machines_fail_and_come_back_in_turns() -> None:
    faults = failing(["a"], 100.0, 10.0, 50_000.0, seed=2)
    kinds, times = [fault.kind for fault in faults], [fault.at_s for fault in faults]
    assert kinds == [FaultKind.LEAVE, FaultKind.JOIN] * (len(faults) // 2)
    assert times == sorted(times)
    gaps = np.diff([0.0, *times])
    assert (gaps[::2].mean(), gaps[1::2].mean()) == (pytest.approx(100.0, rel=0.2), pytest.approx(10.0, rel=0.2))


def test_a_long_series_of_use_is_merged_and_keeps_its_integral() -> None:
    series, random = UseSeries(), np.random.default_rng(0)
    times = np.cumsum(random.uniform(0.1, 2.0, 3 * MOST_USES))
    used = random.uniform(0.0, 9.0, (len(times), 3))
    for at_s, row in zip(times.tolist(), used, strict=True):
        series.add(at_s, row, np.ones(3), 1, 2)
    uses = series.uses()
    assert len(uses) <= MOST_USES
    assert (uses[0].at_s, uses[-1].used.cpu) == (times[0], used[-1, 0])
    merged = sum(use.used.cpu * (after.at_s - use.at_s) for use, after in pairwise(uses))
    assert merged == pytest.approx((used[:-1, 0] * np.diff(times)).sum())


def test_contention_is_what_is_asked_for_over_what_there_is() -> None:
    contention, there = Contention(), np.array([4.0, 0.0, 10.0])
    contention.change(0.0, np.array([2.0, 0.0, 1.0]), there)
    assert contention.at(10.0) == 10.0
    contention.change(10.0, np.array([6.0, 0.0, 1.0]), there)
    assert contention.at(15.0) == 10.0 + 5 * 2.0
    contention.change(15.0, np.array([-8.0, 0.0, -2.0]), there)
    assert contention.at(16.0) == 21.0


def test_no_changes_are_no_steps() -> None:
    assert Steps.of(3.0, []) == Steps((-inf,), (3.0,))
