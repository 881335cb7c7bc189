"""Fragmentation: by hand, beside a count in plain words, and over a run."""

from __future__ import annotations

import math
from itertools import count, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.feasibility import TOLERANCE
from policies.interface import JobView, NodeTable, Resources, frozen
from policies.presets import resolve
from policies.strategies import job_views, node_tables
from scheduler.simulation import stranded as module
from scheduler.simulation.fleet import Fleet, Machine
from scheduler.simulation.simulator import simulate
from scheduler.simulation.stranded import GROWTH, Stranded, stranded_gpus
from scheduler.simulation.workload import SimulatedJob, Workload
from scheduler.simulation.world import World


def asking(cpu: float, gpu: float, zone: str = "") -> JobView:
    return JobView("j", 0.0, Resources(cpu, gpu), 1, 1, selector={"zone": (zone,)} if zone else {})


NODES = NodeTable.of(
    ["n", "m"],
    [[4.0, 3.0, 0.0], [4.0, 2.0, 0.0]],
    [[1.0, 1.75, 0.0], [4.0, 2.0, 0.0]],
    device_free=[[1.0, 0.5, 0.25], [1.0, 1.0, 0.0]],
    labels={"zone": ["a", "b"]},
)


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([asking(1.0, 0.5)], 0.25),
        ([asking(1.0, 1.0)], 0.75),
        ([asking(1.0, 2.0)], 1.75),
        ([asking(2.0, 0.25)], 1.75),
        ([asking(1.0, 0.5, "a")], 2.25),
        ([asking(1.0, 2.0), asking(1.0, 0.5, "a")], 0.25),
        ([asking(9.0, 0.25), asking(0.0, 0.25), asking(0.0, 0.25, "b")], 0.0),
    ],
)
def test_by_hand(jobs: list[JobView], expected: float) -> None:
    assert stranded_gpus([job.bundle_class for job in jobs], NODES) == expected


@given(node_tables(), st.lists(job_views(), max_size=4))
def test_a_gpu_is_stranded_if_nobody_can_have_it(nodes: NodeTable, jobs: list[JobView]) -> None:
    jobs = [job for job in jobs if job.bundle.gpu > 0]
    expected = sum(
        nodes.device_free[row, device]
        for row, device in product(range(len(nodes)), range(nodes.device_free.shape[1]))
        if not any(_can_have(job, nodes, row, device) for job in jobs)
    )
    assert stranded_gpus([job.bundle_class for job in jobs], nodes) == pytest.approx(expected)


def _can_have(job: JobView, nodes: NodeTable, row: int, device: int) -> bool:
    bundle, room = job.bundle, nodes.device_free[row] + TOLERANCE
    labels = all(nodes.labels.get(label, [""] * 9)[row] in values for label, values in job.selector.items())
    beside = nodes.free[row, 0] + TOLERANCE >= bundle.cpu and nodes.free[row, 2] + TOLERANCE >= bundle.memory
    enough = (room >= 1).sum() >= bundle.gpu if bundle.gpu > 1 else True
    return bool(labels and beside and enough and room[device] >= min(bundle.gpu, 1.0))


def test_it_is_counted_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    stranded, counted = Stranded(), count()
    monkeypatch.setattr(module, "stranded_gpus", lambda asked, nodes: float(next(counted)))
    stranded.come(asking(1.0, 0.5))
    found = [stranded.on(NODES) for _ in range(10_000)]
    assert found[:20] == [float(moment) for moment in range(20)]
    assert found == sorted(found)
    gaps = np.diff([found.index(value) for value in sorted(set(found))])
    assert (gaps[0], gaps[-1]) == (1, pytest.approx(10_000 / GROWTH, rel=0.1))


def test_it_is_not_counted_where_nobody_asks_for_gpus() -> None:
    stranded = Stranded()
    stranded.come(asking(1.0, 0.0))
    assert math.isnan(stranded.on(NODES))
    for _ in range(2):
        stranded.come(asking(1.0, 0.5))
    stranded.go(asking(1.0, 0.5))
    assert stranded.on(NODES) == 0.25
    stranded.go(asking(1.0, 0.5))
    assert math.isnan(stranded.on(NODES))


def test_over_a_run() -> None:
    bundle = Resources(1.0, 1.0)
    jobs = [
        SimulatedJob(JobView(name, at_s, bundle, 1, 1, work=10.0, rates={"": frozen([1.0])}))
        for name, at_s in (("a", 0.0), ("b", 5.0))
    ]
    outcome = simulate(World(Fleet((Machine("m", Resources(1.0, 4.0, 8.0)),)), Workload(tuple(jobs))), resolve("equal"))
    assert [(use.at_s, use.stranded_gpus) for use in outcome.uses[:-1]] == [(0.0, 3.0), (5.0, 3.0), (10.0, 3.0)]
    assert math.isnan(outcome.uses[-1].stranded_gpus)
