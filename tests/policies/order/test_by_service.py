"""Orders that go by the service that jobs have had: las and gittins."""

from __future__ import annotations

import math
from typing import Any

import pytest
from order_cases import cluster, gpus, job, plan_of, ranking, starts

from policies.interface import JobView, PolicyError, Resources
from policies.order.gittins import Gittins
from policies.order.las import Las
from policies.testing import OrderConformance

ONE = gpus(a=1)


class TestPromotes(OrderConformance):
    def policy(self) -> Las:
        return Las(thresholds_s=[5.0], promote=2.0)


class TestLearned(OrderConformance):
    def policy(self) -> Gittins:
        return Gittins(service_s=[1.0, 7.0, 7.0, 1e6], thresholds_s=[5.0, 100.0])


def had(name: str, attained: float, started: float = 0.0, **more: Any) -> JobView:
    return job(name, attained_s=attained, started_s=started, **more)


def test_a_job_sinks_at_each_threshold() -> None:
    jobs = [had("third", 100.0), had("second", 10.0), had("almost", 9.9), job("new", at=5.0)]
    assert ranking(Las([10.0, 100.0]), cluster(ONE, jobs)) == ["almost", "new", "second", "third"]


def test_service_is_time_times_gpus() -> None:
    wide = had("wide", 6.0, bundle=Resources(gpu=2.0))  # 12 GPU-seconds
    half = had("half", 12.0, bundle=Resources(gpu=0.5))  # 6
    none = had("none", 11.0, bundle=Resources(cpu=8.0))  # no GPUs: worker-seconds
    assert ranking(Las([10.0]), cluster(ONE, [wide, half, none])) == ["half", "none", "wide"]


def test_within_a_level_by_first_start_then_submission() -> None:
    jobs = [job("b", at=2.0), job("a", at=3.0), had("later", 9.0, started=5.0), had("sooner", 9.5, started=4.0)]
    assert ranking(Las([10.0]), cluster(ONE, jobs)) == ["sooner", "later", "b", "a"]


def test_a_new_job_stops_one_that_has_sunk_and_no_other() -> None:
    for attained, stopped in ((9.0, []), (10.0, ["runs"])):
        snapshot = cluster(ONE, [had("runs", attained), job("new", at=5.0)], {"runs": [("a", 0)]})
        assert [lease.job for lease in plan_of(Las([10.0]), snapshot).revokes] == stopped


def test_who_waited_for_long_rises_to_the_top() -> None:
    """It ran for 20 seconds and waited for 60: three times as long."""
    starved, other = had("starved", 20.0, started=0.0), job("new", at=79.0)
    snapshot = cluster(ONE, [starved, other], now=80.0)
    assert ranking(Las([10.0], promote=3.1), snapshot) == ["new", "starved"]
    assert ranking(Las([10.0], promote=3.0), snapshot) == ["starved", "new"]
    assert ranking(Las([10.0]), snapshot) == ["new", "starved"]
    gang = had("gang", 40.0, started=0.0, fewest=2)  # two workers for 20 seconds
    assert ranking(Las([10.0], promote=3.0), cluster(ONE, [gang, other], now=80.0)) == ["gang", "new"]
    assert ranking(Las([10.0], promote=3.0), cluster(ONE, [gang, other], now=79.5)) == ["new", "gang"]


def test_las_shares_the_cluster_among_jobs_of_unknown_length() -> None:
    """Jobs of 2 and 50 seconds at once, a second at a time: the short one is through at once after the long one."""
    attained, now, ends = {"long": 0.0, "short": 0.0}, 0.0, {}
    lengths = {"long": 50.0, "short": 2.0}
    started: dict[str, float] = {}
    running: str | None = None
    while lengths:
        jobs = [
            job(
                name,
                at=0.0 if name == "long" else 1.0,
                attained_s=attained[name],
                started_s=started.get(name, math.nan),
            )
            for name in lengths
            if now >= 1.0 or name == "long"
        ]
        snapshot = cluster(ONE, jobs, {running: [("a", 0)]} if running else {}, now=now)
        (running,) = starts(Las([5.0]), snapshot) or [running]
        started.setdefault(running, now)
        attained[running] += 1.0
        now += 1.0
        if attained[running] == lengths[running]:
            ends[running] = now
            del lengths[running]
            running = None
    assert ends == {"short": 7.0, "long": 52.0}


def test_the_index_by_hand() -> None:
    order = Gittins(service_s=[10.0, 1.0, 1.0])
    assert order.index(0.0, 1.0) == pytest.approx((2 / 3) / 1.0)
    assert order.index(0.0, math.inf) == pytest.approx(1 / 4.0)
    assert order.index(0.0, 5.0) == pytest.approx((2 / 3) / (7 / 3))
    assert order.index(1.0, 5.0) == 0.0
    assert order.index(1.0, math.inf) == pytest.approx(1 / 9)
    assert order.index(10.0, math.inf) == 0.0


def test_gittins_goes_on_with_what_will_soon_end_where_las_turns_to_the_new() -> None:
    """Nine of ten jobs take 4, one takes 100: after 3 most end at once, after 5 they will take long."""
    past = [4.0] * 9 + [100.0]
    jobs = [had("old", 5.0), had("nearly", 3.0, started=1.0), job("new", at=2.0)]
    order = Gittins(past, thresholds_s=[])
    assert [round(1 / order.index(one.attained_s, math.inf), 6) for one in jobs] == [95.0, 10.6, 13.6]
    assert ranking(order, cluster(ONE, jobs)) == ["nearly", "new", "old"]
    assert ranking(Las([]), cluster(ONE, jobs)) == ["old", "nearly", "new"]


def test_gittins_looks_as_far_as_the_level_reaches() -> None:
    """Within 5 more nobody ends who has had 3, half do who have had 1; over all time it is the other way round."""
    order = Gittins([2.0, 2.5, 9.0, 9.5, 10.0], thresholds_s=[5.0])
    jobs = [had("three", 3.0), had("one", 1.0, started=1.0)]
    assert order.index(3.0, 5.0) == 0.0
    assert ranking(order, cluster(ONE, jobs)) == ["one", "three"]


def test_without_past_jobs_gittins_is_las() -> None:
    jobs = [job("b", at=2.0), had("later", 9.0, started=5.0), had("sooner", 9.5, started=4.0), had("sunk", 11.0)]
    snapshot = cluster(ONE, jobs)
    assert ranking(Gittins(thresholds_s=[10.0]), snapshot) == ranking(Las([10.0]), snapshot)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Las([0.0]), "thresholds_s must be finite and greater than 0, but got thresholds_s=0.0"),
        (lambda: Las([2.0, 2.0]), "thresholds_s must be ascending, but got thresholds_s=[2.0, 2.0]"),
        (lambda: Las("12"), "thresholds_s must be a list of numbers, but got thresholds_s='12'"),
        (lambda: Las([True]), "but got thresholds_s=True"),
        (lambda: Las(promote=0), "promote must be finite and greater than 0, but got promote=0"),
        (lambda: Gittins([1.0, -1.0]), "service_s must be finite and greater than 0, but got service_s=-1.0"),
        (lambda: Gittins(3.0), "service_s must be a list of numbers, but got service_s=3.0"),
    ],
)
def test_options(make: Any, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        make()
    assert message in str(caught.value)
