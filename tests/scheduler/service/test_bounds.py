"""Running jobs within their bounds: what is given and taken where the policy leaves them beyond, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turning_cases import World, check_books, check_jobs

from policies.conformance import same
from policies.feasibility import Room
from policies.interface import ClusterPlan, ClusterSnapshot, Grant, JobView, NodeTable, Resources, Tenant
from policies.presets import resolve
from policies.referee import violations
from policies.strategies import cluster_snapshots
from scheduler.service import turns
from scheduler.service.bounds import KEEPING, within_bounds
from scheduler.service.records import State, TenantRecord
from scheduler.service.replays import replay

GIB = 2.0**30
FIFO = resolve("fifo+spread+equal")


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "REST_S", 0.0)


def snapshot(*held: tuple[JobView, int], cpus: float = 16.0, tenants: tuple[Tenant, ...] = ()) -> ClusterSnapshot:
    """Return one node, on which these jobs have so many workers."""
    room = Room(NodeTable.of(["ant"], [[cpus, 0.0, GIB]], [[cpus, 0.0, GIB]]))
    leases = tuple(Grant(job.id, worker, "ant") for job, num in held for worker in range(num))
    for job, num in held:
        for _ in range(num):
            room.hold(job.bundle, 0, ())
    jobs = tuple(job for job, _ in held)
    return ClusterSnapshot(3, 0.0, 0, room.table(), jobs, leases, {"kept": 1}, tenants)


def job(name: str, least: int, most: int, tenant: str = "") -> JobView:
    return JobView(name, 0.0, Resources(cpu=1.0), least, most, tenant=tenant)


def test_the_highest_numbers_go_and_the_lowest_free_ones_come() -> None:
    view = snapshot((job("a", 1, 2), 4), (job("b", 4, 6), 3))
    lacking = replace(view, leases=tuple(one for one in view.leases if (one.job, one.worker) != ("b", 1)))
    plan = within_bounds(FIFO, lacking)
    assert [(one.job, one.worker) for one in plan.revokes] == [("a", 2), ("a", 3)]
    assert [(one.job, one.worker) for one in plan.grants] == [("b", 1), ("b", 3)]
    assert (plan.version, plan.state) == (3, {"kept": 1})


def test_as_many_are_granted_as_fit_and_those_before_count() -> None:
    plan = within_bounds(FIFO, snapshot((job("a", 6, 6), 4), (job("b", 6, 6), 4), cpus=11.0))
    assert [one.job for one in plan.grants] == ["a", "a", "b"]


@pytest.mark.parametrize(("borrows", "num"), [(False, 1), (True, 4)])
def test_quotas_that_are_not_borrowed_beyond_are_kept(borrows: bool, num: int) -> None:
    """Its part counts, too, and so do those that are beyond it already."""
    tenants = (Tenant("red", quota=Resources(5.0, memory=GIB), borrows=borrows), Tenant("pink", parent="red"))
    plan = within_bounds(FIFO, snapshot((job("a", 6, 6, "red"), 2), (job("b", 2, 2, "pink"), 2), tenants=tenants))
    assert [one.job for one in plan.grants] == ["a"] * num
    beyond = snapshot((job("a", 3, 3, "red"), 2), (job("b", 8, 8, "pink"), 8), tenants=tenants)
    assert len(within_bounds(FIFO, beyond).grants) == borrows


@settings(max_examples=150)
@given(view=cluster_snapshots(), data=st.data())
def test_the_referee_lets_it_pass(view: ClusterSnapshot, data: st.DataObject) -> None:
    """Whoever lacks workers afterwards too is taken for a job of no more than it has: it is no new gang."""
    held = view.held()
    bounds = st.tuples(st.integers(1, 5), st.integers(0, 3))
    drawn = {one.id: data.draw(bounds) for one in view.jobs if one.id in held}
    jobs = [
        replace(one, min_workers=drawn[one.id][0], max_workers=sum(drawn[one.id]))
        for one in view.jobs
        if one.id in held
    ]
    view = replace(view, jobs=tuple(jobs))
    plan = within_bounds(FIFO, view)
    assert same(plan, within_bounds(FIFO, view))
    after = {one.id: len(held[one.id]) for one in jobs}
    for sign, leases in ((1, plan.grants), (-1, plan.revokes)):
        for lease in leases:
            after[lease.job] += sign
    for one in jobs:
        num = len(held[one.id])
        assert min(num, one.max_workers) <= after[one.id] <= max(min(num, one.max_workers), one.min_workers)
    excused = [replace(one, min_workers=min(one.min_workers, after[one.id])) for one in jobs]
    assert violations(ClusterPlan(view.version, plan.grants, plan.revokes), replace(view, jobs=tuple(excused))) == ()


def test_bounds_are_kept_by_decisions_that_can_be_asked_for_again() -> None:
    world = World("fifo+spread+equal")
    world.submit("first", 4, 4)
    world.resize("first", 1, 2)
    world.turn(2)
    world.resize("first", 6, 8)
    world.turn(2)
    rows = world.journal.rows("SELECT * FROM decisions ORDER BY number")
    kept = [row for row in rows if row["policy"] == f"{KEEPING}fifo+spread+equal"]
    assert [(row["grants"] != "[]", row["revokes"] != "[]") for row in kept] == [(False, True), (True, False)]
    assert all(row["took_s"] > 0 for row in kept)
    found = replay(world.journal.rows)
    assert (found.agree, found.differ, dict(found.skipped)) == (len(rows), 0, {})


def test_a_tenants_quota_holds_for_what_a_resize_asks_for() -> None:
    """The policy knows of no quotas, and leaves those that run alone."""
    world = World("fifo+spread+equal")
    quota = Tenant("red", quota=Resources(cpu=5.0, memory=1e12), borrows=False)
    world.registry.set_tenant(TenantRecord(quota), world.now_s)
    world.submit("first", 2, 2, tenant="red")
    world.submit("second", 2, 2, tenant="red")
    world.resize("first", 4, 4)
    world.turn(3)
    assert (world.num_held("first"), world.num_held("second")) == (3, 2)
    check_books(world)


@pytest.mark.parametrize("policy", ["fifo+spread+equal", "fair-share+fgd+adaptive-pull", "las+pack+equal"])
def test_a_job_that_is_to_stop_is_never_grown(policy: str) -> None:
    world = World(policy)
    world.submit("first", 3, 10)
    world.resize("first", 3, 4)
    world.turn(2)
    held = world.num_held("first")
    world.drivers.of("first")[0].is_deaf = True
    world.control("first", "stop")
    world.resize("first", 8, 10)
    world.turn(3)
    assert (world.registry["first"].state, world.num_held("first")) == (State.STOPPING, held)
    node = next(iter(world.cluster.held)).node
    lost = sum(grant.node == node for grant in world.cluster.held)
    world.cluster.lose(node)
    world.cluster.bad = {node}
    world.turn(1)
    world.cluster.bad = set()
    world.turn(3)
    assert world.num_held("first") == held - lost
    check_books(world)
    check_jobs(world)
