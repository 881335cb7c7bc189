"""Orders that go by what is known of time: sjf, srtf, srsf, priority, deadline."""

from __future__ import annotations

import math
from typing import Any

import pytest
from order_cases import cluster, gpus, job, plan_of, ranking, starts

from policies.interface import PolicyError, Resources, Unplaced, frozen
from policies.order.deadline import Deadline
from policies.order.priority import Priority
from policies.order.sjf import Sjf
from policies.order.srsf import Srsf
from policies.order.srtf import Srtf
from policies.testing import OrderConformance

ONE = gpus(a=1)


class TestLast(OrderConformance):
    def policy(self) -> Deadline:
        return Deadline("last")


def test_short_jobs_first_and_unknown_ones_last() -> None:
    jobs = [job("unknown", at=0.0), job("long", 9.0), job("b", 5.0, at=1.0), job("a", 5.0, at=1.0), job("new", at=2.0)]
    for order in (Sjf(), Srtf(), Srsf()):
        assert ranking(order, cluster(ONE, jobs)) == ["a", "b", "long", "unknown", "new"]


def test_what_is_done_does_not_count() -> None:
    jobs = [job("fresh", 10.0), job("nearly", 100.0, done=95.0), job("stuck", 1.0, rates={"": frozen([0.0])})]
    assert ranking(Srtf(), cluster(ONE, jobs)) == ["nearly", "fresh", "stuck"]


def test_lengths_are_those_on_the_fastest_kind_with_all_workers() -> None:
    jobs = [job("plain", 10.0), job("fast", 30.0, most=3, rates={"": frozen([1.0, 2.0, 4.0]), "k": frozen([99.0])})]
    assert ranking(Sjf(), cluster(ONE, jobs)) == ["fast", "plain"]  # 30 / 4 = 7.5
    assert ranking(Sjf(), cluster(ONE, [job("plain", 7.0), *jobs[1:]])) == ["plain", "fast"]


def test_sjf_stops_nobody() -> None:
    snapshot = cluster(ONE, [job("long", 99.0), job("short", 1.0)], {"long": [("a", 0)]})
    assert ranking(Sjf(), snapshot) == ["short"]
    assert plan_of(Sjf(), snapshot).revokes == ()


def test_srtf_stops_who_has_more_left() -> None:
    for left, stopped in ((9.0, ()), (11.0, ("runs",))):
        snapshot = cluster(ONE, [job("runs", 100.0, done=100.0 - left), job("new", 10.0)], {"runs": [("a", 0)]})
        assert tuple(lease.job for lease in plan_of(Srtf(), snapshot).revokes) == stopped


def test_srsf_counts_gpus() -> None:
    """Three jobs on two GPUs, of 2 x 2, 1 x 8 and 2 x 6 GPU-seconds."""
    nodes = gpus(a=2)
    jobs = [job("wide", 2.0, fewest=2), job("slim", 8.0), job("pair", 6.0, bundle=Resources(gpu=2.0))]
    assert ranking(Srtf(), cluster(nodes, jobs)) == ["wide", "pair", "slim"]
    assert ranking(Srsf(), cluster(nodes, jobs)) == ["wide", "slim", "pair"]


def test_priority_then_first_come() -> None:
    jobs = [job("b", at=1.0), job("a", at=1.0), job("first", at=0.0), job("high", at=9.0, priority=1.0)]
    assert ranking(Priority(), cluster(ONE, jobs, now=10.0)) == ["high", "first", "a", "b"]


def test_waiting_raises_priority() -> None:
    old, new = job("old", at=0.0), job("new", at=100.0, priority=2.0)
    assert ranking(Priority(age_s=60.0), cluster(ONE, [old, new], now=100.0)) == ["new", "old"]  # 100/60 is under 2
    assert ranking(Priority(age_s=40.0), cluster(ONE, [old, new], now=100.0)) == ["old", "new"]


def test_priority_lets_nobody_past_who_has_the_turn() -> None:
    jobs = [job("wide", priority=1.0, fewest=2), job("slim")]
    assert starts(Priority(), cluster(ONE, jobs)) == []


def test_the_earliest_deadline_first() -> None:
    jobs = [
        job("none", 1.0),
        job("late", 1.0, deadline_s=50.0),
        job("soon", 1.0, deadline_s=20.0),
        job("unknown", deadline_s=30.0),
    ]
    assert ranking(Deadline(), cluster(ONE, jobs, now=10.0)) == ["soon", "unknown", "late", "none"]
    running = cluster(ONE, jobs[1:3], {"late": [("a", 0)]}, now=10.0)
    assert [lease.job for lease in plan_of(Deadline(), running).revokes] == ["late"]


def test_edf_meets_deadlines_that_first_come_first_served_misses() -> None:
    """One machine, jobs of 4 and 2 seconds due at 10 and 3: the second one stops the first."""
    jobs = [job("early", 4.0, deadline_s=10.0), job("urgent", 2.0, at=1.0, deadline_s=3.0)]
    snapshot = cluster(ONE, jobs, {"early": [("a", 0)]}, now=1.0)
    assert starts(Deadline(), snapshot) == ["urgent"]


def test_a_hopeless_job_is_refused_with_the_seconds_that_it_lacks() -> None:
    snapshot = cluster(ONE, [job("j", 100.0, deadline_s=60.0), job("fits", 50.0, deadline_s=60.0)], now=10.0)
    _, second = Deadline().rank(snapshot)
    assert second == Unplaced("j", 0, 1, second.shortfalls)
    assert str(second).splitlines()[1] == "  - until the deadline of job j: seconds 100 requested, 50 free"
    assert starts(Deadline(), snapshot) == ["fits"]
    assert ranking(Deadline("last"), snapshot) == ["fits", "j"]
    assert starts(Deadline("last"), cluster(gpus(a=2), snapshot.jobs, now=10.0)) == ["fits", "j"]


def test_a_deadline_that_has_passed_is_hopeless_whatever_the_length() -> None:
    snapshot = cluster(ONE, [job("unknown", deadline_s=5.0)], now=10.0)
    assert str(plan_of(Deadline(), snapshot).unplaced[0].shortfalls[0]).endswith("seconds 0 requested, -5 free")


def test_a_running_job_that_is_late_goes_on_while_nobody_needs_its_nodes() -> None:
    late = job("late", 100.0, deadline_s=50.0)
    alone = cluster(ONE, [late], {"late": [("a", 0)]}, now=10.0)
    assert plan_of(Deadline(), alone).revokes == ()
    both = cluster(ONE, [late, job("new", 1.0)], {"late": [("a", 0)]}, now=10.0)
    assert [lease.job for lease in plan_of(Deadline(), both).revokes] == ["late"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Priority(age_s=0), "age_s must be finite and greater than 0, but got age_s=0"),
        (lambda: Priority(age_s=-1.0), "but got age_s=-1.0"),
        (lambda: Priority(age_s=math.inf), "but got age_s=inf"),
        (lambda: Priority(age_s=math.nan), "but got age_s=nan"),
        (lambda: Priority(age_s=True), "but got age_s=True"),
        (lambda: Deadline("never"), "hopeless must be 'refuse' or 'last', but got hopeless='never'"),
    ],
)
def test_options(make: Any, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        make()
    assert message in str(caught.value)
