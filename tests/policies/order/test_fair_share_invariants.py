"""What the order fair-share holds to, whatever comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from order_cases import cluster, elastic, gpus, job, later, on, plan_of, planned, workers

from policies.feasibility import TOLERANCE, Room, slots
from policies.interface import ClusterSnapshot, Grant, JobView, NodeTable, Resources, Tenant
from policies.order.fair_share import FairShare
from policies.order.progressive import Permit, ProgressiveFilling
from policies.order.tenancy import lineage, tenants_of
from policies.strategies import cluster_snapshots, crowded_snapshots

NEEDS = st.sampled_from(((1.0, 0.0), (1.0, 1.0), (2.0, 1.0), (0.0, 1.0), (1.0, 3.0)))
QUOTAS = st.none() | st.builds(lambda cpu, memory: Resources(cpu, 0.0, memory), *[st.integers(0, 8).map(float)] * 2)
TREE = {"a": "", "b": "", "c": "", "d": "c", "e": "c"}


@st.composite
def tenancies(draw: st.DrawFn) -> tuple[Tenant, ...]:
    """Draw weights and quotas for three tenants, one of two parts."""
    weight = st.sampled_from((1.0, 2.0, 3.0))
    return tuple(Tenant(name, draw(weight), draw(QUOTAS), up, draw(st.booleans())) for name, up in TREE.items())


@st.composite
def machines(draw: st.DrawFn) -> ClusterSnapshot:
    """Draw one machine, on which fits whatever fits in sum, and jobs of a tree of tenants, some running."""
    room = Room(NodeTable.of(("m",), [[float(draw(st.integers(1, 16))), 0.0, float(draw(st.integers(1, 16)))]]))
    jobs: list[JobView] = []
    leases: list[Grant] = []
    for number in range(draw(st.integers(1, 10))):
        cpu, memory = draw(NEEDS)
        fewest = draw(st.integers(1, 5))
        one = job(
            f"j{number}",
            at=float(draw(st.integers(0, 4))),
            bundle=Resources(cpu=cpu, memory=memory),
            fewest=fewest,
            most=fewest + draw(st.integers(0, 5)),
            tenant=draw(st.sampled_from(sorted(TREE))),
            priority=draw(st.sampled_from((0.0, 0.0, 0.0, 1.0))),
            deadline_s=draw(st.sampled_from((np.inf, np.inf, 9.0))),
        )
        jobs.append(one)
        num = draw(st.integers(one.min_workers, one.max_workers)) if draw(st.booleans()) else 0
        if num <= slots(one, room.table()).sum():
            for worker in range(num):
                room.hold(one.bundle, 0, ())
                leases.append(Grant(one.id, worker, "m"))
    return ClusterSnapshot(0, 5.0, 0, room.table(), tuple(jobs), tuple(leases), tenants=draw(tenancies()))


def used_by_tenants(snapshot: ClusterSnapshot) -> dict[str, np.ndarray[Any, Any]]:
    """Add up what every tenant's jobs and those of its parts have."""
    tenants, jobs = tenants_of(snapshot), {one.id: one for one in snapshot.jobs}
    used = {name: np.zeros(3) for name in tenants}
    for lease in snapshot.leases:
        for name in lineage(jobs[lease.job].tenant, tenants):
            used[name] = used[name] + jobs[lease.job].bundle.vector()
    return used


@settings(max_examples=300, deadline=None)
@given(snapshot=machines())
def test_planning_again_changes_nothing(snapshot: ClusterSnapshot) -> None:
    then = planned(FairShare(), snapshot)
    plan = plan_of(FairShare(), then)
    assert (plan.grants, plan.revokes) == ((), ())


@settings(max_examples=200, deadline=None)
@given(snapshot=cluster_snapshots(max_jobs=8) | crowded_snapshots())
def test_where_aggregates_deceive_plans_come_to_rest(snapshot: ClusterSnapshot) -> None:
    for _ in range(4):
        plan = plan_of(FairShare(), snapshot)
        if not plan.grants and not plan.revokes:
            return
        snapshot = later(snapshot, plan)
    raise AssertionError("it goes on and on")


@settings(max_examples=200, deadline=None)
@given(snapshot=machines())
def test_whoever_fits_runs_and_grows(snapshot: ClusterSnapshot) -> None:
    """What is left is of no use to any job, by its gang or by one more worker, but beyond a quota."""
    then = planned(FairShare(), snapshot)
    tenants, used, has = tenants_of(then), used_by_tenants(then), workers(then)
    for one in then.jobs:
        more = 1 if one.id in has else one.min_workers
        amount = one.bundle.vector() * more
        bound = [tenants[name] for name in lineage(one.tenant, tenants) if not tenants[name].borrows]
        forbidden = any(
            up.quota is not None and (used[up.name] + amount > up.quota.vector() + TOLERANCE).any() for up in bound
        )
        full = slots(one, then.nodes).sum() < more
        assert full or forbidden or has.get(one.id) == one.max_workers, f"{one.id} could have {more} more"


@settings(max_examples=200, deadline=None)
@given(snapshot=machines() | cluster_snapshots(max_jobs=8))
def test_who_does_not_borrow_is_never_beyond_its_quota(snapshot: ClusterSnapshot) -> None:
    used = used_by_tenants(planned(FairShare(), snapshot))
    for tenant in snapshot.tenants:
        if tenant.quota is not None and not tenant.borrows:
            assert (used[tenant.name] <= tenant.quota.vector() + TOLERANCE).all()


@settings(max_examples=200, deadline=None)
@given(snapshot=machines())
def test_nobody_borrows_what_somebody_within_quota_could_use(snapshot: ClusterSnapshot) -> None:
    """Who lacks a worker within quota could not have it in place of what any one job has certainly borrowed."""
    then = planned(FairShare(), snapshot)
    tenants, used, has = tenants_of(then), used_by_tenants(then), workers(then)

    def beyond(one: JobView, amounts: Mapping[str, Any]) -> bool:
        quotas = [(amounts[name], tenants[name].quota) for name in lineage(one.tenant, tenants)]
        return any(quota is not None and (amount > quota.vector() + TOLERANCE).any() for amount, quota in quotas)

    def borrowed(one: JobView) -> int:
        """Count the workers that are beyond a quota even if nobody else uses any of it."""
        least, all_ = (dict.fromkeys(tenants, one.bundle.vector() * num) for num in (one.min_workers, has[one.id]))
        return has[one.id] if beyond(one, least) else int(beyond(one, all_))

    loans = [(one, borrowed(one)) for one in then.jobs if one.id in has]
    for one in then.jobs:
        wants = one.bundle.vector() * (1 if one.id in has else one.min_workers)
        if has.get(one.id) == one.max_workers or beyond(one, {name: amount + wants for name, amount in used.items()}):
            continue
        for borrower, num in loans:
            enough = then.nodes.free[0] + borrower.bundle.vector() * num + TOLERANCE >= wants
            assert not (num and enough.all()), f"{borrower.id} has borrowed what {one.id} has a right to"


@settings(max_examples=200, deadline=None)
@given(snapshot=machines())
def test_nobody_is_stopped_for_an_equal_of_its_own_tenant(snapshot: ClusterSnapshot) -> None:
    alone = replace(
        snapshot,
        jobs=tuple(replace(one, tenant="", priority=0.0, deadline_s=np.inf) for one in snapshot.jobs),
        tenants=(),
    )
    assert workers(alone).keys() <= workers(planned(FairShare(), alone)).keys()


@settings(max_examples=200, deadline=None)
@given(
    weights=st.lists(st.sampled_from((1.0, 2.0, 3.0, 5.0)), min_size=2, max_size=5),
    size=st.integers(5, 40),
    jobs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=8),
    taken=st.integers(0, 40),
)
def test_shares_are_as_the_weights_up_to_a_worker(
    weights: Sequence[float], size: int, jobs: Sequence[tuple[int, int]], taken: int
) -> None:
    """Everybody can use everything, in single workers, however many jobs it has and whoever ran before."""
    names = [f"t{number}" for number in range(len(weights))]
    every = [elastic(name, name) for name in names]
    every += [
        elastic(f"more-{number}", names[owner % len(names)], most=1, at=float(at))
        for number, (owner, at) in enumerate(jobs)
    ]
    tenants = [Tenant(name, weight) for name, weight in zip(names, weights, strict=True)]
    snapshot = cluster(gpus(a=size), every, {"t0": on(*range(min(taken, size)))}, tenants=tenants)
    has = {name: used[1] for name, used in used_by_tenants(planned(FairShare(), snapshot)).items()}
    assert sum(has.values()) == size
    for poor, weight in zip(names, weights, strict=True):
        for rich, other in zip(names, weights, strict=True):
            assert (has[rich] - 1) / other <= has[poor] / weight + 1e-9, f"{poor} has a right to a worker of {rich}"


def looked_at_each(self: ProgressiveFilling, leaf: Any, job: JobView, permit: Permit) -> bool:
    return self._fits(job, job.min_workers) and permit(job, job.min_workers)


@settings(max_examples=300)
@given(snapshot=machines() | crowded_snapshots() | cluster_snapshots(), tenants=tenancies())
def test_who_is_refused_like_another_would_be_if_looked_at(
    snapshot: ClusterSnapshot, tenants: tuple[Tenant, ...]
) -> None:
    for view in (snapshot, replace(snapshot, tenants=tenants)):
        quick = FairShare().rank(view)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ProgressiveFilling, "_may_start", looked_at_each)
            assert quick == FairShare().rank(view)


def test_of_many_jobs_that_are_alike_few_are_looked_at() -> None:
    """Whether there is no room for them, or no quota."""
    looked: list[str] = []
    alike = [
        job(f"j{number:03}", fewest=2, bundle=Resources(cpu=1.0), tenant="ab"[number % 2]) for number in range(200)
    ]
    tenants = {name: Tenant(name) for name in "ab"}

    def permit(one: JobView, workers: int) -> bool:
        looked.append(one.id)
        return one.tenant == "b"

    def room(one: JobView) -> float:
        looked.append(one.id)
        return 1e6

    total = np.array([8.0, 0.0, 0.0])
    filling = ProgressiveFilling(alike, tenants, total, total, room)
    filling.fill(permit)
    assert filling.workers == {f"j{number:03}": 2 for number in (1, 3, 5, 7)}
    assert len(looked) <= 30
    filling.fill()
    assert len(looked) <= 60
