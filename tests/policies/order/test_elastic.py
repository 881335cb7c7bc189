"""Orders that say how many workers: pollux-goodput and optimus."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from order_cases import cluster, gpus, job, plan_of, ranking

from policies.interface import ClusterSnapshot, JobView, PolicyError, Resources, frozen
from policies.order.optimus import Optimus
from policies.order.pollux_goodput import PolluxGoodput

RATES = st.lists(st.integers(1, 9), min_size=1, max_size=5).map(lambda steps: np.cumsum(sorted(steps, reverse=True)))
JOBS = st.lists(st.tuples(RATES, st.integers(1, 2), st.integers(1, 50)), min_size=1, max_size=4)


def elastic(name: str, rates: Any, fewest: int = 1, work: float = 10.0, **more: Any) -> JobView:
    most = max(len(rates), fewest)
    return job(name, work, fewest=fewest, most=most, rates={"": frozen(rates)}, **more)


def jobs_of(drawn: list[tuple[Any, int, int]]) -> list[JobView]:
    return [elastic(f"j{number}", *one) for number, one in enumerate(drawn)]


def divisions(jobs: list[JobView], num_gpus: int) -> list[tuple[int, ...]]:
    """List all ways to give every job at least its least workers and at most all."""
    found = product(*(range(one.min_workers, one.max_workers + 1) for one in jobs))
    return [numbers for numbers in found if sum(numbers) <= num_gpus]


def division_of(order: Any, snapshot: ClusterSnapshot) -> dict[str, int]:
    return {claim.job.id: claim.max_workers for claim in order.rank(snapshot)}


def power_mean(values: list[float], p: float) -> float:
    if p == 0:
        return math.exp(sum(math.log(value) for value in values) / len(values))
    return (sum(value**p for value in values) / len(values)) ** (1 / p)


@settings(max_examples=200, deadline=None)
@given(drawn=JOBS, num_gpus=st.integers(1, 8), p=st.sampled_from((-3.0, -1.0, 0.0, 0.5, 1.0)))
def test_pollux_finds_the_largest_mean_of_concave_speedups(
    drawn: list[tuple[Any, int, int]], num_gpus: int, p: float
) -> None:
    jobs = jobs_of(drawn)
    every = divisions(jobs, num_gpus)
    snapshot = cluster(gpus(a=num_gpus), jobs)
    found = division_of(PolluxGoodput(p), snapshot)
    if not every:
        return
    share = num_gpus / len(jobs)

    def fair(one: JobView) -> float:
        if share < one.min_workers:
            return one.rate(one.min_workers) * share / one.min_workers
        return one.rate(min(int(share), one.max_workers))

    def mean(numbers: Any) -> float:
        return power_mean([one.rate(num) / fair(one) for one, num in zip(jobs, numbers, strict=True)], p)

    assert mean([found[one.id] for one in jobs]) == pytest.approx(max(map(mean, every)), rel=1e-9)
    assert sum(found.values()) <= num_gpus


@settings(max_examples=200, deadline=None)
@given(drawn=JOBS, num_gpus=st.integers(1, 8))
def test_optimus_finds_the_least_sum_of_times(drawn: list[tuple[Any, int, int]], num_gpus: int) -> None:
    jobs = jobs_of(drawn)  # concave rates make convex times
    every = divisions(jobs, num_gpus)
    found = division_of(Optimus(), cluster(gpus(a=num_gpus), jobs))
    if not every:
        return

    def total(numbers: Any) -> float:
        return sum(one.remaining_s(num) for one, num in zip(jobs, numbers, strict=True))

    assert total([found[one.id] for one in jobs]) == pytest.approx(min(map(total, every)), rel=1e-9)


def test_optimus_by_hand() -> None:
    """Of four GPUs each has one; a third one saves 100 - 50 there or 30 - 15 here, a fourth 50 - 33 or 30 - 15."""
    linear = [1.0, 2.0, 3.0, 4.0]
    jobs = [elastic("long", linear, work=100.0), elastic("short", linear, work=30.0)]
    assert division_of(Optimus(), cluster(gpus(a=4), jobs)) == {"long": 3, "short": 1}


def test_pollux_gives_workers_to_who_scales() -> None:
    jobs = [elastic("scales", [1.0, 2.0, 3.0, 4.0]), elastic("does-not", [1.0, 1.1, 1.2, 1.3])]
    assert division_of(PolluxGoodput(), cluster(gpus(a=4), jobs)) == {"scales": 3, "does-not": 1}


def test_the_lower_p_the_fairer() -> None:
    """Alone each would have two GPUs. The sum grows most with the first job, the least of the two with the second."""
    jobs = [elastic("steep", [1.0, 2.0, 3.0]), elastic("flat", [1.0, 1.4, 1.7])]
    found = {p: division_of(PolluxGoodput(p), cluster(gpus(a=4), jobs)) for p in (1.0, -9.0)}
    assert found == {1.0: {"steep": 3, "flat": 1}, -9.0: {"steep": 2, "flat": 2}}


@pytest.mark.parametrize("order", [Optimus(), PolluxGoodput()])
class TestBoth:
    def test_a_job_shrinks_for_a_new_one_and_keeps_the_rest(self, order: Any) -> None:
        linear = [1.0, 2.0, 3.0, 4.0]
        jobs = [elastic("old", linear, work=100.0), elastic("new", linear, work=100.0, at=5.0)]
        snapshot = cluster(gpus(a=4), jobs, {"old": [("a", number) for number in range(4)]})
        plan = plan_of(order, snapshot)
        assert [(lease.job, lease.worker) for lease in plan.revokes] == [("old", 2), ("old", 3)]
        assert [(grant.job, grant.worker) for grant in plan.grants] == [("new", 0), ("new", 1)]

    def test_a_job_grows_when_another_has_gone(self, order: Any) -> None:
        snapshot = cluster(gpus(a=3), [elastic("j", [1.0, 1.9, 2.7])], {"j": [("a", 1)]})
        plan = plan_of(order, snapshot)
        assert (plan.revokes, [grant.worker for grant in plan.grants]) == ((), [1, 2])

    def test_more_workers_that_gain_nothing_are_not_given(self, order: Any) -> None:
        assert division_of(order, cluster(gpus(a=4), [elastic("j", [1.0, 2.0, 2.0, 1.5])])) == {"j": 2}

    def test_jobs_of_which_nothing_is_known_keep_to_their_least(self, order: Any) -> None:
        jobs = [job("unknown", most=4, rates={}), elastic("known", [1.0, 2.0, 3.0])]
        assert division_of(order, cluster(gpus(a=4), jobs)) == {"unknown": 1, "known": 3}

    def test_small_gangs_first_where_not_all_have_room(self, order: Any) -> None:
        jobs = [elastic("wide", [1.0] * 3, fewest=3), elastic("b", [1.0], at=2.0), elastic("a", [1.0], at=1.0)]
        assert ranking(order, cluster(gpus(a=3), jobs)) == ["a", "b", "wide"]

    def test_workers_are_weighed_by_their_share_of_the_cluster(self, order: Any) -> None:
        """Both gain as much by a worker, one of which takes four of ten GPUs."""
        rates = [1.0, 1.5, 1.6]
        jobs = [elastic("heavy", rates, bundle=Resources(gpu=4.0)), elastic("light", rates, at=1.0)]
        assert division_of(order, cluster(gpus(a=8), jobs)) == {"heavy": 1, "light": 3}

    def test_a_gang_that_fits_on_no_node_takes_no_part(self, order: Any) -> None:
        jobs = [elastic("whole", [1.0], bundle=Resources(gpu=4.0)), elastic("j", [1.0, 2.0, 3.0, 4.0], at=1.0)]
        assert division_of(order, cluster(gpus(a=2, b=2), jobs)) == {"j": 4, "whole": 1}


@pytest.mark.parametrize("p", [1.5, math.inf, -math.inf, math.nan, True, "-1"])
def test_options(p: Any) -> None:
    with pytest.raises(PolicyError, match=r"p must be a finite number of at most 1, but got p="):
        PolluxGoodput(p)
