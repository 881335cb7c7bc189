"""Relocate: the kit, and moves by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.interface import ClusterPlan, ClusterSnapshot, Grant, JobView, NodeTable, PolicyError, Resources
from policies.joint.relocate import Relocate
from policies.referee import violations
from policies.testing import PolicyConformance


class TestRelocate(PolicyConformance):
    def policy(self) -> Relocate:
        return Relocate()


def job(name: str, cpu: float = 0.0, gpu: float = 0.0, workers: int = 1, **more: object) -> JobView:
    return JobView(name, 0.0, Resources(cpu=cpu, gpu=gpu), workers, workers, **more)  # type: ignore[arg-type]


def snapshot(
    capacity: list[tuple[float, float]], jobs: list[JobView], *leases: Grant, **more: object
) -> ClusterSnapshot:
    """Return nodes a, b, ... with this CPU and GPU, on which the leases are held."""
    ids = "abcdefgh"[: len(capacity)]
    table = NodeTable.of(list(ids), [[cpu, gpu, 100.0] for cpu, gpu in capacity], **more)  # type: ignore[arg-type]
    free, device_free = table.free.copy(), table.device_free.copy()
    bundles = {one.id: one.bundle for one in jobs}
    for lease in leases:
        row, bundle = ids.index(lease.node), bundles[lease.job]
        free[row] -= bundle.vector()
        device_free[row, list(lease.devices)] -= min(bundle.gpu, 1.0)
    return ClusterSnapshot(0, 0.0, 0, replace(table, free=free, device_free=device_free), tuple(jobs), leases)


def planned(view: ClusterSnapshot, moves: int = 1) -> ClusterPlan:
    plan = Relocate(moves=moves).plan(view)
    assert violations(plan, view) == ()
    return plan


HALVES = snapshot(
    [(4, 1), (4, 1)],
    [job("x", gpu=0.5), job("y", gpu=0.5), job("new", gpu=1.0)],
    Grant("x", 0, "a", (0,)),
    Grant("y", 0, "b", (0,)),
)
"""Two GPUs, half of each in use, and somebody who wants a whole one."""


def test_a_worker_moves_so_that_a_whole_gpu_is_free() -> None:
    plan = planned(HALVES)
    (gone,) = plan.revokes
    assert plan.unplaced == ()
    assert dict.fromkeys(plan.grants) == dict.fromkeys(
        [Grant("new", 0, gone.node, (0,)), replace(gone, node="b" if gone.node == "a" else "a")]
    )


def test_nobody_moves_without_leave_or_where_there_is_room() -> None:
    assert planned(HALVES, moves=0).revokes == ()
    roomy = snapshot([(4, 1), (4, 1)], [job("x", gpu=0.5), job("new", gpu=1.0)], Grant("x", 0, "a", (0,)))
    assert planned(roomy).revokes == ()
    assert planned(roomy).grants == (Grant("new", 0, "b", (0,)),)


def test_nobody_moves_where_that_would_not_help() -> None:
    full = snapshot(
        [(4, 1), (4, 1)],
        [job("x", gpu=0.6), job("y", gpu=0.6), job("new", gpu=1.0)],
        Grant("x", 0, "a", (0,)),
        Grant("y", 0, "b", (0,)),
    )
    plan = planned(full)
    assert (plan.grants, plan.revokes, [item.what for item in plan.unplaced]) == ((), (), ["new"])


def test_the_smallest_worker_moves() -> None:
    """On a as well as on b, one worker is in the way: the one with 2 CPUs moves, not that with 3."""
    view = snapshot(
        [(8, 0), (8, 0), (3, 0)],
        [job("x", cpu=3), job("y", cpu=2), job("new", cpu=7)],
        Grant("x", 0, "a"),
        Grant("y", 0, "b"),
    )
    plan = planned(view)
    assert plan.revokes == (Grant("y", 0, "b"),)
    assert Grant("new", 0, "b") in plan.grants


def test_a_worker_may_move_to_another_gpu_of_its_node() -> None:
    """Halves of both GPUs of a node are in use; both of them go on one."""
    view = snapshot(
        [(4, 2)],
        [job("x", gpu=0.5), job("y", gpu=0.5), job("new", gpu=1.0)],
        Grant("x", 0, "a", (0,)),
        Grant("y", 0, "a", (1,)),
    )
    plan = planned(view)
    (gone,) = plan.revokes
    assert replace(gone, devices=(1 - gone.devices[0],)) in plan.grants


def test_a_gang_is_helped_that_lacks_room_for_one_worker() -> None:
    jobs = [job("x", cpu=1), job("new", cpu=4, workers=2)]
    plan = planned(snapshot([(4, 0), (4, 0), (1, 0)], jobs, Grant("x", 0, "b")))
    assert plan.revokes == (Grant("x", 0, "b"),)
    assert {(grant.job, grant.worker, grant.node) for grant in plan.grants} >= {("x", 0, "c")}
    assert {grant.node for grant in plan.grants if grant.job == "new"} == {"a", "b"}
    lacks_two = [job("x", cpu=1), job("y", cpu=1), job("new", cpu=4, workers=2)]
    view = snapshot([(4, 0), (4, 0), (2, 0)], lacks_two, Grant("x", 0, "a"), Grant("y", 0, "b"))
    assert planned(view).grants == ()


def test_as_many_move_as_may() -> None:
    """Two wait for whole GPUs; each needs one move, and nobody moves twice."""
    names = ["p", "q", "r", "s"]
    jobs = [job(name, gpu=0.5) for name in names] + [job("new1", gpu=1.0), job("new2", gpu=1.0)]
    leases = [Grant(name, 0, node, (0,)) for name, node in zip(names, "abcd", strict=True)]
    view = snapshot([(4, 1)] * 4, jobs, *leases)
    assert [item.what for item in planned(view, moves=1).unplaced] == ["new2"]
    plan = planned(view, moves=2)
    assert (plan.unplaced, len(plan.revokes), len(set(plan.revokes))) == ((), 2, 2)


def test_nobody_is_helped_past_one_who_is_not() -> None:
    """The first wants more than there is: who comes after him waits, as under the order alone."""
    jobs = [replace(one, id=name) for one, name in zip(HALVES.jobs, ("x", "y", "z-new"), strict=True)]
    plan = planned(replace(HALVES, jobs=(*jobs, job("large", gpu=2.0))))
    assert (plan.grants, plan.revokes) == ((), ())


def test_labels_are_kept() -> None:
    """Who insists on a label moves to a node that has it, or stays."""
    selector = {"zone": ("east",)}
    jobs = [job("x", gpu=0.5, selector=selector), job("y", gpu=0.5), job("new", gpu=1.0, selector=selector)]
    leases = (Grant("x", 0, "a", (0,)), Grant("y", 0, "b", (0,)))
    plan = planned(snapshot([(4, 1), (4, 1)], jobs, *leases, labels={"zone": ["east", "west"]}))
    assert plan.grants == ()


@pytest.mark.parametrize("moves", [-1, 0.5, True, "one"])
def test_moves_that_cannot_be(moves: object) -> None:
    with pytest.raises(PolicyError, match="moves must be a whole number, at least 0, but got moves="):
        Relocate(moves=moves)  # type: ignore[arg-type]
