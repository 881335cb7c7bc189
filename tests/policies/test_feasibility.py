from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given

from policies.feasibility import Room, devices_for, fits, shortfalls, slots
from policies.interface import JobView, NodeTable, PolicyError, Resources, Shortfall
from policies.strategies import job_views, node_tables

NODES = NodeTable.of(
    ("a", "b", "c"),
    [[4.0, 2.0, 1000.0], [2.0, 0.0, 1000.0], [8.0, 2.0, 1000.0]],
    [[4.0, 1.5, 1000.0], [2.0, 0.0, 1000.0], [8.0, 1.0, 1000.0]],
    device_free=[[0.5, 1.0], [0.0, 0.0], [0.5, 0.5]],
    labels={"zone": ("x", "x", "")},
)


def job(cpu: float = 0.0, gpu: float = 0.0, memory: float = 0.0, **more: object) -> JobView:
    return JobView("j", 0.0, Resources(cpu, gpu, memory), 1, 3, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wants", "able", "many"),
    [
        (job(cpu=3), [True, False, True], [1, 0, 2]),
        (job(gpu=1), [True, False, False], [1, 0, 0]),
        (job(gpu=0.5), [True, False, True], [3, 0, 2]),
        (job(gpu=0.75), [True, False, False], [1, 0, 0]),
        (job(gpu=2), [False, False, False], [0, 0, 0]),
        (job(memory=400), [True, True, True], [2, 2, 2]),
        (job(cpu=1, selector={"zone": ("x", "y")}), [True, True, False], [4, 2, 0]),
        (job(cpu=1, selector={"rack": ("1",)}), [False, False, False], [0, 0, 0]),
        (job(), [True, True, True], [np.inf] * 3),
    ],
)
def test_fits_and_slots(wants: JobView, able: list[bool], many: list[float]) -> None:
    assert fits(wants, NODES).tolist() == able
    assert slots(wants, NODES).tolist() == many


@given(nodes=node_tables(), wants=job_views())
def test_a_bundle_fits_where_there_is_a_slot(nodes: NodeTable, wants: JobView) -> None:
    assert ((slots(wants, nodes) >= 1) == fits(wants, nodes)).all()


@given(nodes=node_tables(), wants=job_views())
def test_as_many_bundles_as_slots_can_be_held(nodes: NodeTable, wants: JobView) -> None:
    for row, many in enumerate(slots(wants, nodes)):
        room, held = Room(nodes), 0
        while held < 50 and fits(wants, room.one(row))[0]:
            devices = devices_for(wants.bundle, room.device_free[row])
            assert room.has(wants.bundle, row, devices)
            room.hold(wants.bundle, row, devices)
            held += 1
        assert held == min(many, 50)
        table = room.table()
        assert np.allclose(table.device_free.sum(axis=1), table.free[:, 1])


def test_devices_are_the_tightest_for_a_part_and_whole_otherwise() -> None:
    free = np.array([1.0, 0.25, 0.5, 1.0])
    assert devices_for(Resources(gpu=0.25), free) == (1,)
    assert devices_for(Resources(gpu=0.3), free) == (2,)
    assert devices_for(Resources(gpu=1.0), free) == (0,)
    assert devices_for(Resources(gpu=2.0), free) == (0, 3)
    assert devices_for(Resources(cpu=1.0), free) == ()


def test_room_gives_back_what_it_held() -> None:
    room, bundle = Room(NODES), Resources(cpu=1.0, gpu=0.5)
    before = room.table()
    room.hold(bundle, 0, (0,))
    held = room.table()
    assert held.free[0].tolist() == [3.0, 1.0, 1000.0]
    assert held.device_free[0].tolist() == [0.0, 1.0]
    assert held.gpu_leases[0].tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert not room.has(bundle, 0, (0,))
    room.release(bundle, 0, (0,))
    assert np.array_equal(room.table().free, before.free)
    assert np.array_equal(room.table().gpu_leases, before.gpu_leases)


def test_free_gpus_of_which_only_the_sum_is_known_are_whole_first() -> None:
    nodes = NodeTable.of(("a",), [[0.0, 3.0, 0.0]], [[0.0, 1.5, 0.0]])
    assert nodes.device_free.tolist() == [[1.0, 0.5, 0.0]]
    assert nodes.emptied().device_free.tolist() == [[1.0, 1.0, 1.0]]


def test_shortfalls_name_everything_on_every_node() -> None:
    found = shortfalls(job(cpu=3.0, gpu=1.0, memory=10.0), NODES)
    assert [str(item) for item in found] == [
        "node b: cpu 3 requested, 2 free",
        "node b: gpu 1 requested, 0 free",
        "node c: gpu on one device 1 requested, 0.5 free",
    ]
    assert [str(item) for item in shortfalls(job(gpu=2.0, selector={"zone": ("x",)}), NODES)] == [
        "node a: gpu 2 requested, 1.5 free",
        "node b: gpu 2 requested, 0 free",
        "node c: gpu 2 requested, 1 free",
        "node c: has not the label zone=x",
    ]
    assert str(Shortfall("memory", 2**21, 2**20, "node a")) == "node a: memory 2.0 MiB requested, 1.0 MiB free"
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301


def test_a_bundle_and_a_gang_that_cannot_be() -> None:
    with pytest.raises(PolicyError, match="a part of one GPU or a whole number of them, got gpu=1\\.5"):
        job(gpu=1.5)
    with pytest.raises(PolicyError, match="got min_workers=3, max_workers=2"):
        JobView("j", 0.0, Resources(), 3, 2)


def test_rates_and_what_remains() -> None:
    known = job(work=100.0, done=40.0, rates={"": np.array([1.0, 1.5]), "fast": np.array([6.0])})
    assert [known.rate(workers) for workers in (0, 1, 2, 5)] == [0.0, 1.0, 1.5, 1.5]
    assert known.remaining_s(2) == 40.0
    assert known.remaining_s(1, "fast") == 10.0
    assert known.remaining_s(0) == np.inf
    assert np.isnan(job().remaining_s(1))
