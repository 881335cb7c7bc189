from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from order_cases import cluster, gpus, job, plan_of, starts

from policies.balance.equal import Equal
from policies.composed import Composed
from policies.interface import ClusterSnapshot, PolicyError, Resources
from policies.order.fifo_backfill import FifoBackfill
from policies.place.spread import Spread
from policies.testing import OrderConformance, PolicyConformance

FOUR = gpus(a=1, b=1, c=1, d=1)
EASY, CONSERVATIVE = FifoBackfill(), FifoBackfill("conservative")


class TestConservative(OrderConformance):
    def policy(self) -> FifoBackfill:
        return FifoBackfill("conservative")


class TestShallow(OrderConformance):
    def policy(self) -> FifoBackfill:
        return FifoBackfill("conservative", depth=1)


class TestWholePolicy(PolicyConformance):
    def policy(self) -> Composed:
        return Composed(FifoBackfill(), Spread(), Equal())


def queue(*jobs: Any) -> ClusterSnapshot:
    """Two of four nodes are in use for 10 more seconds; ``jobs`` wait, in this order."""
    running = job("running", 10.0, fewest=2)
    return cluster(FOUR, [running, *jobs], {"running": [("a", 0), ("b", 0)]})


def test_a_job_that_ends_in_time_overtakes_and_one_that_does_not_waits() -> None:
    head = job("head", 5.0, at=1.0, fewest=4)
    assert starts(EASY, queue(head, job("short", 10.0, at=2.0))) == ["short"]
    assert starts(EASY, queue(head, job("long", 10.5, at=2.0))) == []
    plan = plan_of(EASY, queue(head, job("long", 10.5, at=2.0)))
    assert [str(item).splitlines()[-1] for item in plan.unplaced[1:]] == ["  - waits behind job head"]


def test_long_jobs_use_what_the_first_blocked_leaves() -> None:
    head = job("head", 5.0, at=1.0, fewest=3)  # at 10 all four are free: one more than it needs
    longs = [job(f"long-{number}", 99.0, at=2.0 + number) for number in range(2)]
    assert starts(EASY, queue(head, *longs)) == ["long-0"]


def test_a_short_job_does_not_use_up_what_a_long_one_could_have() -> None:
    head = job("head", 5.0, at=1.0, fewest=3)
    both = [job("short", 10.0, at=2.0), job("long", 99.0, at=3.0)]
    for jobs in (both, both[::-1]):  # wherever the first is put, the reservation moves out of the other's way
        assert starts(EASY, queue(head, *jobs)) == ["long", "short"]


def test_easy_protects_the_first_blocked_only_and_conservative_all() -> None:
    first = job("first", 10.0, at=1.0, fewest=3)  # from 10 to 20
    second = job("second", 5.0, at=2.0, fewest=4)  # from 20
    assert starts(EASY, queue(first, second, job("long", 30.0, at=3.0))) == ["long"]
    assert starts(CONSERVATIVE, queue(first, second, job("long", 30.0, at=3.0))) == []
    assert starts(CONSERVATIVE, queue(first, second, job("fits", 20.0, at=3.0))) == ["fits"]


def test_conservative_starts_what_fits_before_all_reservations() -> None:
    first = job("first", 10.0, at=1.0, fewest=4)  # from 10 to 20
    short, exact = job("short", 5.0, at=2.0, fewest=2), job("exact", 10.0, at=3.0, fewest=2)
    assert starts(CONSERVATIVE, queue(first, exact)) == ["exact"]
    assert starts(CONSERVATIVE, queue(first, short, exact)) == ["short"]  # the other could have 5 to 10 only: too short


def test_who_starts_in_the_same_plan_counts_until_it_ends() -> None:
    before = job("before", 20.0, at=0.5)  # takes one of the two free nodes before the head is blocked
    head = job("head", 5.0, at=1.0, fewest=4)  # from 20 then
    assert starts(EASY, queue(before, head, job("next", 20.0, at=2.0))) == ["before", "next"]
    assert starts(EASY, queue(before, head, job("next", 20.5, at=2.0))) == ["before"]


def test_a_job_of_unknown_length_uses_what_is_left_over_only() -> None:
    unknown = job("unknown", at=2.0)
    assert starts(EASY, queue(job("head", 5.0, at=1.0, fewest=4), unknown)) == []
    assert starts(EASY, queue(job("head", 5.0, at=1.0, fewest=3), unknown)) == ["unknown"]
    stuck = job("stuck", 5.0, at=2.0, rates={"": [0.0]})
    assert starts(EASY, queue(job("head", 5.0, at=1.0, fewest=4), stuck)) == []


def test_a_running_job_of_unknown_length_ends_after_all_others() -> None:
    running = job("running", fewest=2)
    jobs = [running, job("head", 5.0, at=1.0, fewest=4), job("long", 1e9, at=2.0), job("unknown", at=3.0)]
    assert starts(EASY, cluster(FOUR, jobs, {"running": [("a", 0), ("b", 0)]})) == ["long"]


def test_a_job_that_should_have_ended_is_awaited() -> None:
    running = job("running", 10.0, fewest=2, done=12.0)
    jobs = [running, job("head", 5.0, at=1.0, fewest=4), job("short", 0.5, at=2.0)]
    assert starts(EASY, cluster(FOUR, jobs, {"running": [("a", 0), ("b", 0)]})) == []


def test_nodes_are_told_apart() -> None:
    nodes = gpus(a=2, b=2)
    running = [job("ends", 10.0), job("stays", 100.0)]
    head = job("head", 5.0, at=1.0, bundle=Resources(gpu=2.0))  # fits on node a at 10
    snapshot = cluster(nodes, [*running, head, job("long", 50.0, at=2.0)], {"ends": [("a", 0)], "stays": [("b", 0)]})
    assert [(grant.job, grant.node) for grant in plan_of(EASY, snapshot).grants] == [("long", "b")]
    both = cluster(nodes, [*running, head], {"ends": [("a", 0)], "stays": [("b", 0)]})
    assert starts(EASY, both) == []


def test_kinds_of_node_make_lengths() -> None:
    head = job("head", 5.0, at=1.0, fewest=4)
    rates = {"": [1.0], "fast": [4.0]}
    assert starts(EASY, queue(head, job("j", 40.0, at=2.0, rates=rates))) == []  # these nodes are not fast


def test_a_job_for_which_no_node_is_large_enough_holds_up_nobody() -> None:
    giant = job("giant", 5.0, at=1.0, fewest=5)
    head = job("head", 5.0, at=2.0, fewest=4)
    assert starts(EASY, queue(giant, head, job("short", 10.0, at=3.0))) == ["short"]
    assert starts(EASY, queue(giant, head, job("long", 11.0, at=3.0))) == []  # the next one is protected


def test_nobody_overtakes_more_jobs_than_are_protected() -> None:
    heads = [job(f"head-{number}", 5.0, at=1.0 + number, fewest=4) for number in range(2)]
    shallow = FifoBackfill("conservative", depth=1)
    assert starts(shallow, queue(*heads, job("short", 1.0, at=3.0))) == []
    assert starts(CONSERVATIVE, queue(*heads, job("short", 1.0, at=3.0))) == ["short"]


JOBS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 12)), max_size=8)


@settings(max_examples=300, deadline=None)
@given(size=st.integers(1, 8), running=JOBS, waiting=JOBS)
def test_on_equal_nodes_easy_is_the_algorithm_that_counts_processors(
    size: int, running: list[tuple[int, int]], waiting: list[tuple[int, int]]
) -> None:
    nodes = gpus(**{f"n{number}": 1 for number in range(size)})
    jobs, places, free = [], {}, list(range(size))
    for number, (workers, length) in enumerate(running):
        if workers <= len(free):
            jobs.append(job(f"r{number}", float(length), fewest=workers))
            places[f"r{number}"] = [(f"n{free.pop()}", 0) for _ in range(workers)]
    ends = [(int(one.work), one.min_workers) for one in jobs]
    for number, (workers, length) in enumerate(waiting):
        jobs.append(job(f"w{number}", float(length), at=float(number), fewest=workers))
    expected = sorted(f"w{number}" for number in easy_by_counting(len(free), ends, waiting))
    assert starts(EASY, cluster(nodes, jobs, places)) == expected


def easy_by_counting(free: int, ends: list[tuple[int, int]], waiting: list[tuple[int, int]]) -> list[int]:
    """Say who starts on a machine of equal processors, of which only the number matters."""
    found, shadow, extra = [], math.inf, 0
    blocked = False
    total = free + sum(workers for _, workers in ends)
    for number, (workers, length) in enumerate(waiting):
        starts_now = workers <= free and (not blocked or length <= shadow or workers <= extra)
        if starts_now:
            free -= workers
            extra -= workers if blocked and length > shadow else 0
            ends = [*ends, (length, workers)]
            found.append(number)
        elif not blocked and workers <= total:
            blocked = True
            at_end = free
            for end, given_back in sorted(ends):
                at_end += given_back
                if at_end >= workers:
                    shadow = end
                    break
            extra = free + sum(given_back for end, given_back in ends if end <= shadow) - workers
    return found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reservations": "all"}, "reservations must be 'easy' or 'conservative', but got reservations='all'"),
        ({"depth": 0}, "depth must be a whole number of at least 1, but got depth=0"),
        ({"depth": True}, "but got depth=True"),
        ({"depth": 1.5}, "but got depth=1.5"),
    ],
)
def test_options(options: Any, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        FifoBackfill(**options)
    assert message in str(caught.value)
