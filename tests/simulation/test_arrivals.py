"""When jobs come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.interface import JobView, Resources
from scheduler.simulation.arrivals import bursts, listed, poisson, repeated
from scheduler.simulation.workload import SimulatedJob


def jobs_of(*names: str) -> tuple[SimulatedJob, ...]:
    return tuple(SimulatedJob(JobView(name, 0.0, Resources(1.0), 1, 1)) for name in names)


def names_of(jobs: tuple[SimulatedJob, ...]) -> list[str]:
    return [job.view.id for job in jobs]


def times_of(jobs: tuple[SimulatedJob, ...]) -> list[float]:
    return [job.view.submitted_s for job in jobs]


def test_copies_come_in_turns_under_names_of_their_own() -> None:
    assert names_of(repeated(jobs_of("a", "b"), 2)) == ["a-1", "b-1", "a-2", "b-2"]
    assert repeated(jobs_of("a"), 1) == jobs_of("a")


@given(
    names=st.lists(st.text("a-1", min_size=1, max_size=4), min_size=1, max_size=5, unique=True), n=st.integers(1, 12)
)
def test_names_of_copies_never_meet(names: list[str], n: int) -> None:
    copies = names_of(repeated(jobs_of(*names), n))
    assert len(set(copies)) == len(copies) == n * len(names)


def test_bursts_come_together() -> None:
    assert times_of(bursts(jobs_of(*"abcde"), 2, 10.0)) == [0, 0, 10, 10, 20]


def test_a_list_of_times_is_sorted_with_its_jobs() -> None:
    coming = listed(jobs_of(*"abc"), [5.0, 1.0, 3.0])
    assert (names_of(coming), times_of(coming)) == (["b", "c", "a"], [1, 3, 5])
    with pytest.raises(ValueError, match="shorter"):
        listed(jobs_of("a", "b"), [1.0])


def test_as_many_come_in_an_hour_as_asked_for() -> None:
    coming = times_of(poisson(jobs_of(*(f"j{n}" for n in range(4000))), 60.0, seed=1))
    assert coming == sorted(coming) and coming[0] == 0.0
    assert abs(coming[-1] / 3999 - 60.0) < 4 * 60 / 3999**0.5  # four standard deviations of the mean
    assert coming == times_of(poisson(jobs_of(*(f"k{n}" for n in range(4000))), 60.0, seed=1))
    assert coming != times_of(poisson(jobs_of(*(f"j{n}" for n in range(4000))), 60.0, seed=2))
