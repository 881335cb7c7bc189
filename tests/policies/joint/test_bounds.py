"""The lower bounds: by hand, and against the best schedules that can be found by trying them all."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joint_cases import cluster, job

from policies.interface import ClusterSnapshot, JobView, NodeTable, frozen
from policies.joint.bounds import makespan_bound_s, mean_completion_bound_s


def snapshot(nodes: NodeTable, *jobs: JobView) -> ClusterSnapshot:
    return ClusterSnapshot(0, 0.0, 0, nodes, jobs)


class TestByHand:
    def test_three_jobs_on_two_nodes(self) -> None:
        given = snapshot(cluster({"k": [1, 1]}), *(job(name, rates={"k": 2.0}, work=20.0) for name in "abc"))
        assert makespan_bound_s(given) == pytest.approx(15)
        assert mean_completion_bound_s(given) == pytest.approx((10 + 10 + 15) / 3)

    def test_the_longest_job_alone(self) -> None:
        jobs = [job("a", rates={"x": 2.0, "y": 1.0}, work=200.0), job("b", rates={"x": 1.0, "y": 1.0}, work=1.0)]
        assert makespan_bound_s(snapshot(cluster({"x": [1], "y": [1]}), *jobs)) == pytest.approx(100)

    def test_jobs_that_trade_kinds(self) -> None:
        jobs = [job("a", rates={"x": 4.0, "y": 1.0}, work=4.0), job("b", rates={"x": 4.0, "y": 2.0}, work=4.0)]
        assert makespan_bound_s(snapshot(cluster({"x": [1], "y": [1]}), *jobs)) == pytest.approx(1 / 0.7)

    def test_gangs_hold_nodes_together(self) -> None:
        jobs = [job("a", 2, rates={"k": 1.0}, work=6.0), job("b", rates={"k": 1.0}, work=6.0)]
        given = snapshot(cluster({"k": [1, 1]}), *jobs)
        assert makespan_bound_s(given) == pytest.approx(9)
        assert mean_completion_bound_s(given) == pytest.approx((6 + 9) / 2)

    def test_an_elastic_job_may_be_frugal_or_fast(self) -> None:
        # One worker makes 1, two make 1.5: the fastest end is at 4, the least that is held are 6 worker-seconds.
        elastic = replace(job("a"), max_workers=2, work=6.0, rates={"k": frozen([1.0, 1.5])})
        assert makespan_bound_s(snapshot(cluster({"k": [2]}), elastic)) == pytest.approx(4)
        pair = [replace(elastic, id=name) for name in "abcd"]
        assert makespan_bound_s(snapshot(cluster({"k": [2]}), *pair)) == pytest.approx(12)

    def test_what_is_not_known_may_be_short_and_what_cannot_be_never_ends(self) -> None:
        nodes, known = cluster({"k": [1]}), job("a", rates={"k": 1.0}, work=5.0)
        unknown = [
            job("b"),
            job("c", rates={"k": 1.0}),
            job("d", work=9.0),
            job("e", rates={"k": 1.0}, work=5.0, done=5.0),
        ]
        assert makespan_bound_s(snapshot(nodes, known, *unknown)) == pytest.approx(5)
        assert makespan_bound_s(snapshot(nodes, *unknown)) == mean_completion_bound_s(snapshot(nodes)) == 0
        for never in (job("f", rates={"k": 0.0}, work=1.0), job("g", 2, rates={"k": 1.0}, work=1.0)):
            assert makespan_bound_s(snapshot(nodes, known, never)) == math.inf
            assert mean_completion_bound_s(snapshot(nodes, known, never)) == math.inf


JOBS = st.lists(
    st.tuples(st.integers(1, 2), st.integers(1, 4), st.sampled_from(((2, 1), (1, 1), (1, 2), (2, 0)))),
    min_size=1,
    max_size=3,
)
"""Workers, work, and rates on two kinds."""


def shortest_schedules(gpus: tuple[int, int], jobs: list[tuple[int, int, tuple[int, int]]]) -> tuple[float, float]:
    """Return the least makespan and mean end of all schedules in steps of a second, in each of which jobs may move."""
    limit = 60
    seen = {tuple(work for _, work, _ in jobs): frozenset({0})}
    makespan, mean = math.inf, math.inf
    for step in range(1, limit):
        after: dict[tuple[int, ...], frozenset[int]] = {}
        for left, sums in seen.items():
            for kinds in product((None, 0, 1), repeat=len(jobs)):
                used = [sum(jobs[j][0] for j, kind in enumerate(kinds) if kind == k) for k in (0, 1)]
                if used[0] > gpus[0] or used[1] > gpus[1]:
                    continue
                now = tuple(
                    max(amount - (jobs[j][2][kind] if kind is not None else 0), 0)
                    for j, (amount, kind) in enumerate(zip(left, kinds, strict=True))
                )
                ended = sum(step for j in range(len(jobs)) if left[j] > 0 and now[j] == 0)
                after[now] = after.get(now, frozenset()) | {total + ended for total in sums}
        done = after.pop((0,) * len(jobs), frozenset())
        if done:
            makespan, mean = min(makespan, step), min(mean, min(done) / len(jobs))
        seen = {left: frozenset({min(sums)}) for left, sums in after.items()}
        if makespan < math.inf and step >= makespan + 6:
            break
    return makespan, mean


@settings(max_examples=40)
@given(gpus=st.tuples(st.integers(0, 2), st.integers(1, 2)), wanted=JOBS)
def test_no_schedule_beats_the_bounds(gpus: tuple[int, int], wanted: list[tuple[int, int, tuple[int, int]]]) -> None:
    jobs = [
        job(f"j{n}", workers, rates={"x": float(rates[0]), "y": float(rates[1])}, work=float(work))
        for n, (workers, work, rates) in enumerate(wanted)
    ]
    given = snapshot(cluster({"x": [1] * gpus[0], "y": [1] * gpus[1]}), *jobs)
    makespan, mean = shortest_schedules(gpus, wanted)
    assert makespan_bound_s(given) <= makespan * (1 + 1e-6)
    assert mean_completion_bound_s(given) <= mean * (1 + 1e-6)
    if makespan < math.inf:
        assert makespan_bound_s(given) >= 0.3 * makespan, "a bound that says nothing"


@settings(max_examples=30)
@given(work=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_on_one_node_the_bounds_are_reached(work: list[int]) -> None:
    given = snapshot(cluster({"k": [1]}), *(job(f"j{n}", rates={"k": 1.0}, work=float(w)) for n, w in enumerate(work)))
    assert makespan_bound_s(given) == pytest.approx(sum(work))
    assert mean_completion_bound_s(given) == pytest.approx(np.cumsum(sorted(work)).mean())


def test_the_bounds_do_not_depend_on_what_is_free() -> None:
    nodes = cluster({"k": [1, 1]})
    jobs = [job(name, rates={"k": 1.0}, work=4.0) for name in "abc"]
    busy = replace(nodes, free=frozen(nodes.free * 0), device_free=frozen(nodes.device_free * 0))
    for bound in (makespan_bound_s, mean_completion_bound_s):
        assert bound(snapshot(nodes, *jobs)) == bound(snapshot(busy, *jobs))
