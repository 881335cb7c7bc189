from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from order_cases import gpus, job

from policies.feasibility import devices_for, fits, slots
from policies.interface import JobView, NodeTable, Resources, Slot
from policies.order.timeline import LATE, Timeline, ending
from policies.strategies import job_views, node_tables


def free_gpus(line: Timeline, start: float, end: float) -> list[float]:
    return line.table(start, end).free[:, 1].tolist()


def two_nodes() -> Timeline:
    """Node a has 2 GPUs of which one is in use until 10, node b one that is in use until 20."""
    nodes = NodeTable.of(
        ("a", "b"), [[0, 2, 0], [0, 1, 0]], [[0, 1, 0], [0, 0, 0]], device_free=[[0.0, 1.0], [0.0, 0.0]]
    )
    one = job("one")
    return Timeline(nodes, [(one, Slot(0, (0,)), 10.0), (one, Slot(1, (0,)), 20.0)])


def test_nodes_become_free_when_jobs_end() -> None:
    line = two_nodes()
    assert [free_gpus(line, at, at) for at in (0.0, 9.0, 10.0, 19.0, 20.0, 1e9)] == [
        [1, 0],
        [1, 0],
        [2, 0],
        [2, 0],
        [2, 1],
        [2, 1],
    ]
    assert free_gpus(line, 5.0, 15.0) == [1, 0]
    assert free_gpus(line, 10.0, math.inf) == [2, 0]
    assert line.table(12.0, 12.0).device_free.tolist() == [[1, 1], [0, 0]]


def test_the_earliest_time_of_a_gang() -> None:
    line = two_nodes()
    assert [line.earliest(job("j"), workers, 5.0) for workers in (1, 2, 3, 4)] == [0.0, 10.0, 20.0, None]


def test_a_bundle_of_nothing_fits_at_once_where_the_labels_are_right() -> None:
    nodes = NodeTable.of(("a", "b"), [[0, 1, 0]] * 2, labels={"zone": ("x", "y")})
    nothing = job("j", bundle=Resources(), selector={"zone": ("y",)})
    assert Timeline(nodes, []).earliest(nothing, 3, 5.0) == 0.0
    nowhere = job("j", bundle=Resources(), selector={"zone": ("z",)})
    assert Timeline(nodes, []).earliest(nowhere, 1, 5.0) is None


def test_a_gap_before_a_reservation_is_used_if_it_is_long_enough() -> None:
    line = Timeline(gpus(a=1), [])
    assert line.reserve(job("first"), 1, 10.0, 15.0) == [Slot(0, (0,))]
    assert line.earliest(job("short"), 1, 10.0) == 0.0  # fits exactly
    assert line.earliest(job("long"), 1, 10.5) == 15.0
    assert line.earliest(job("endless"), 1, math.inf) == 15.0


def test_reservations_take_what_is_in_use_now_before_what_is_free() -> None:
    line = two_nodes()
    assert line.reserve(job("j"), 1, 10.0, math.inf) == [Slot(0, (0,))]
    line = two_nodes()
    assert sorted(line.reserve(job("j"), 2, 20.0, math.inf)) == [Slot(0, (0,)), Slot(1, (0,))]


def test_what_is_released_is_as_it_was() -> None:
    line = two_nodes()
    for slot in line.reserve(job("j"), 2, 10.0, 12.0):
        line.release(job("j"), slot, 10.0, 12.0)
    assert [free_gpus(line, at, at) for at in (0.0, 10.0, 11.0, 20.0)] == [[1, 0], [2, 0], [2, 0], [2, 1]]


def test_ending() -> None:
    assert ending(2.0, 3.0) == 5.0
    assert ending(LATE, 3.0) == math.inf
    assert ending(2.0, math.inf) == math.inf
    assert ending(2.0, 0.0) == 2.0


TIMES = st.sampled_from((0.0, 1.0, 2.0, 3.0, 5.0, 8.0, LATE))


@settings(max_examples=200, deadline=None)
@given(nodes=node_tables(4), one=job_views(), others=st.lists(job_views(), max_size=6), data=st.data())
def test_the_earliest_time_is_the_first_at_which_it_fits(
    nodes: NodeTable, one: JobView, others: list[JobView], data: Any
) -> None:
    releases, line = [], Timeline(nodes, [])
    for other in others:
        able = np.flatnonzero(fits(other, nodes)).tolist()
        if able:
            row = data.draw(st.sampled_from(able))
            releases.append((other, Slot(row, devices_for(other.bundle, nodes.device_free[row])), data.draw(TIMES)))
    line = Timeline(nodes, releases)
    for other in others:  # some reservations, where there is room for them
        start, length = data.draw(TIMES), data.draw(TIMES)
        if slots(other, line.table(start, ending(start, length))).sum() >= other.min_workers:
            line.reserve(other, other.min_workers, start, ending(start, length))
    length, workers = data.draw(TIMES), data.draw(st.integers(1, 4))
    events = sorted({0.0, *np.concatenate([np.zeros(0), *line._starts]).tolist()})
    expected = next(
        (
            start
            for start in events
            if len(nodes) and np.minimum(slots(one, line.table(start, ending(start, length))), workers).sum() >= workers
        ),
        None,
    )
    assert line.earliest(one, workers, length) == expected


@settings(max_examples=100, deadline=None)
@given(nodes=node_tables(4), jobs=st.lists(job_views(), min_size=1, max_size=5), data=st.data())
def test_reservations_leave_nothing_below_nothing(nodes: NodeTable, jobs: list[JobView], data: Any) -> None:
    line = Timeline(nodes, [])
    for one in jobs:
        length = data.draw(TIMES)
        start = line.earliest(one, one.min_workers, length)
        if start is not None:
            assert len(line.reserve(one, one.min_workers, start, ending(start, length))) == one.min_workers
    for row in range(len(nodes)):
        assert (line.lowest(row, 0.0, math.inf) >= -1e-6).all()
