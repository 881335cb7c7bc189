"""Orders that share a cluster among owners: drf, quota, finish-time-fair."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from order_cases import cluster, gpus, job, plan_of, ranking, starts

from policies.interface import ClusterSnapshot, JobView, NodeTable, PolicyError, Resources, Tenant, frozen
from policies.order.drf import Drf
from policies.order.finish_time_fair import FinishTimeFair, finish_time_fairness
from policies.order.quota import Quota
from policies.promises import asks_no_more
from policies.strategies import cluster_snapshots


def machine(cpu: float, memory: float) -> NodeTable:
    return NodeTable.of(("m",), [[cpu, 0.0, memory]])


def tasks(tenant: str, num: int, cpu: float, memory: float) -> list[JobView]:
    """Build so many jobs of one worker each."""
    bundle = Resources(cpu=cpu, memory=memory)
    return [job(f"{tenant}-{number:02}", at=float(number), bundle=bundle, tenant=tenant) for number in range(num)]


def workers_of(order: Any, snapshot: ClusterSnapshot) -> Counter[str]:
    """Count the workers of each tenant after the plan."""
    plan, owner = plan_of(order, snapshot), {one.id: one.tenant for one in snapshot.jobs}
    found = Counter(owner[lease.job] for lease in [*snapshot.leases, *plan.grants])
    found.subtract(owner[lease.job] for lease in plan.revokes)
    return +found


class TestDrf:
    def test_the_example_of_the_paper(self) -> None:
        """9 CPUs and 18 GB; tasks of 1 CPU and 4 GB, and of 3 CPUs and 1 GB: three and two of them."""
        snapshot = cluster(machine(9, 18), tasks("a", 9, 1, 4) + tasks("b", 9, 3, 1))
        assert workers_of(Drf(), snapshot) == {"a": 3, "b": 2}

    def test_the_example_of_the_paper_with_elastic_jobs(self) -> None:
        jobs = [
            job("a", most=9, bundle=Resources(cpu=1, memory=4), tenant="a"),
            job("b", most=9, bundle=Resources(cpu=3, memory=1), tenant="b"),
        ]
        assert workers_of(Drf(), cluster(machine(9, 18), jobs)) == {"a": 3, "b": 2}

    def test_weights(self) -> None:
        tenants = [Tenant("a", 2.0), Tenant("b")]
        jobs = tasks("a", 12, 1, 0) + tasks("b", 12, 1, 0)
        assert workers_of(Drf(), cluster(machine(12, 0), jobs, tenants=tenants)) == {"a": 8, "b": 4}

    def test_who_runs_already_counts(self) -> None:
        jobs = tasks("a", 6, 1, 0) + tasks("b", 6, 1, 0)
        running = {"a-00": ["m"], "a-01": ["m"], "a-02": ["m"]}
        snapshot = cluster(machine(6, 0), jobs, running)
        assert ranking(Drf(), snapshot)[:3] == ["b-00", "b-01", "b-02"]
        assert workers_of(Drf(), snapshot) == {"a": 3, "b": 3}

    def test_a_tenant_that_cannot_use_more_leaves_the_rest_to_the_others(self) -> None:
        jobs = tasks("a", 1, 1, 0) + tasks("b", 9, 1, 0) + tasks("big", 1, 7, 0)
        assert workers_of(Drf(), cluster(machine(6, 0), jobs)) == {"a": 1, "b": 5}

    def test_elastic_jobs_grow_after_all_have_started(self) -> None:
        jobs = [
            job("a1", most=9, bundle=Resources(cpu=1), tenant="a"),
            job("a2", at=1.0, bundle=Resources(cpu=1), tenant="a"),
            job("b1", most=2, bundle=Resources(cpu=1), tenant="b"),
        ]
        claims = {claim.job.id: claim.max_workers for claim in Drf().rank(cluster(machine(6, 0), jobs))}
        assert claims == {"a1": 3, "a2": 1, "b1": 2}

    def test_what_costs_nothing_is_given_at_once(self) -> None:
        free = job("free", most=10**6, bundle=Resources(), tenant="a")
        assert Drf().rank(cluster(machine(1, 0), [free]))[0].max_workers == 10**6

    def test_no_parent_counts_what_one_of_its_parts_cannot_use_more_of(self) -> None:
        """H-DRF, rescaling: half of each resource for either branch, though one branch's parts want different ones."""
        tenants = [Tenant("sci"), Tenant("eng"), Tenant("dev", parent="eng"), Tenant("prod", parent="eng")]
        jobs = tasks("sci", 10, 1, 1) + tasks("dev", 10, 1, 0) + tasks("prod", 10, 0, 1)
        snapshot = cluster(machine(10, 10), jobs, tenants=tenants)
        assert workers_of(Drf(), snapshot) == {"sci": 5, "dev": 5, "prod": 5}

    def test_a_part_does_not_starve_for_what_its_sibling_has(self) -> None:
        """H-DRF, blocked nodes: once CPUs are gone, memory is halved between the two that want it."""
        tenants = [*(Tenant(f"t{n}") for n in (1, 2, 3, 4)), Tenant("t31", parent="t3"), Tenant("t32", parent="t3")]
        jobs = [
            *tasks("t1", 30, 1, 0),
            *tasks("t2", 30, 1, 0),
            *tasks("t31", 30, 1, 0),
            *tasks("t32", 30, 0, 1),
            *tasks("t4", 30, 0, 1),
        ]
        found = workers_of(Drf(), cluster(machine(30, 30), jobs, tenants=tenants))
        assert found == {"t1": 10, "t2": 10, "t31": 10, "t32": 15, "t4": 15}

    def test_a_parent_with_jobs_of_its_own_shares_with_its_parts(self) -> None:
        jobs = tasks("up", 8, 1, 0) + tasks("down", 8, 1, 0) + tasks("other", 8, 1, 0)
        snapshot = cluster(machine(8, 0), jobs, tenants=[Tenant("down", parent="up")])
        assert workers_of(Drf(), snapshot) == {"up": 2, "down": 2, "other": 4}

    @pytest.mark.parametrize("order", [Drf(), Quota()])
    def test_tenants_that_are_no_tree(self, order: Any) -> None:
        loop = [Tenant("a", parent="b"), Tenant("b", parent="a")]
        with pytest.raises(PolicyError, match="tenant a is a part of itself: a -> b -> a"):
            order.rank(cluster(machine(1, 1), tasks("a", 1, 1, 0), tenants=loop))
        with pytest.raises(PolicyError, match=r"tenant a: weight must be greater than 0, but got weight=0\.0"):
            order.rank(cluster(machine(1, 1), tasks("a", 1, 1, 0), tenants=[Tenant("a", 0.0)]))


AMOUNTS = st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(any)


@settings(max_examples=200, deadline=None)
@given(wants=st.lists(AMOUNTS, min_size=2, max_size=4), cpu=st.integers(5, 20), memory=st.integers(5, 20))
def test_drf_shares_as_it_promises_up_to_a_task(wants: Sequence[tuple[int, int]], cpu: int, memory: int) -> None:
    """On one machine, with tasks enough: nobody has less than its part, and nobody envies anybody."""
    names = [f"t{number}" for number in range(len(wants))]
    jobs = [one for name, want in zip(names, wants, strict=True) for one in tasks(name, 41, *want)]
    found = workers_of(Drf(), cluster(machine(cpu, memory), jobs))
    total = np.array([cpu, memory])
    has = {name: np.array(want) * found[name] for name, want in zip(names, wants, strict=True)}
    largest = [max(np.array(want) / total) for want in wants]
    for name, want in zip(names, wants, strict=True):
        assert max(has[name] / total) >= (1 - sum(largest)) / len(wants) - 1e-9, "sharing incentive"
        asked = np.array(want) > 0
        for other, size in zip(names, wants, strict=True):
            without_one = np.maximum(has[other] - np.array(size), 0)
            would_be = (without_one[asked] // np.array(want)[asked]).min()
            assert would_be <= found[name], f"{name} would rather have what {other} has, but for one task"
    left = total - sum(has.values())
    assert all((np.array(want) > left).any() for want in wants), "something is left that somebody could use"


def four(*jobs: JobView, tenants: Sequence[Tenant], **running: Sequence[tuple[str, int]]) -> ClusterSnapshot:
    return cluster(gpus(a=4), jobs, running, tenants=tenants)


RED = Tenant("red", quota=Resources(gpu=2.0))
SEA = Tenant("sea", quota=Resources(gpu=2.0))


class TestQuota:
    def test_what_nobody_needs_is_lent(self) -> None:
        jobs = [job(f"r{number}", at=float(number), tenant="red") for number in range(5)]
        assert starts(Quota(), four(*jobs, tenants=[RED, SEA])) == ["r0", "r1", "r2", "r3"]

    def test_the_owner_gets_it_back_from_the_last_borrower(self) -> None:
        red = [job(f"r{number}", at=float(number), tenant="red") for number in range(4)]
        running = {f"r{number}": [("a", number)] for number in range(4)}
        snapshot = four(*red, job("s", at=9.0, tenant="sea"), tenants=[RED, SEA], **running)
        plan = plan_of(Quota(), snapshot)
        assert [lease.job for lease in plan.revokes] == ["r3"]
        assert [grant.job for grant in plan.grants] == ["s"]

    def test_nobody_within_quota_is_stopped(self) -> None:
        """Not for an earlier or more important job within quota, either: promises made twice go to who has them."""
        runs = [job("r0", at=5.0, tenant="red", fewest=2), job("x", at=5.0, tenant="none", fewest=2)]
        snapshot = four(
            *runs, job("s", at=1.0, tenant="sea", priority=9.0), tenants=[RED, SEA], r0=[("a", 0), ("a", 1)],
            x=[("a", 2), ("a", 3)],
        )  # fmt: skip
        assert plan_of(Quota(), snapshot).revokes == ()

    def test_quotas_of_parents_bind_too(self) -> None:
        parts = [SEA, Tenant("blue", parent="sea"), Tenant("navy", parent="sea")]
        jobs = [
            job("b", at=0.0, tenant="blue", fewest=2),
            job("n", at=1.0, tenant="navy"),
            job("free", at=2.0, tenant="red"),
        ]
        assert ranking(Quota(), four(*jobs, tenants=[RED, *parts])) == ["b", "free", "n"]

    def test_within_quota_by_priority_then_first_come(self) -> None:
        jobs = [job("late", at=2.0), job("first", at=1.0), job("high", at=3.0, priority=1.0)]
        assert ranking(Quota(), four(*jobs, tenants=[])) == ["high", "first", "late"]

    def test_jobs_grow_as_far_as_the_quota_goes(self) -> None:
        jobs = [
            job("r", tenant="red", most=9),
            job("r2", at=1.0, tenant="red"),
            job("s", tenant="sea", most=9),
            job("over", at=2.0, tenant="sea", fewest=2, most=3),
        ]
        claims = {claim.job.id: claim.max_workers for claim in Quota().rank(four(*jobs, tenants=[RED, SEA]))}
        assert claims == {"r": 1, "r2": 1, "s": 2, "over": 3}

    def test_who_does_not_borrow_stays_within_its_quota(self) -> None:
        strict = Tenant("red", quota=Resources(gpu=2.0), borrows=False)
        jobs = [
            job("r", tenant="red", most=9),
            job("over", at=1.0, tenant="red", fewest=2),
            job("s", tenant="sea", most=9),
        ]
        snapshot = four(*jobs, tenants=[strict, SEA], over=[("a", 0), ("a", 1)])
        plan = plan_of(Quota(), snapshot)
        assert str(plan.unplaced[0]) == "r: only 0 of 1 fit\n  - quota of tenant red: gpu 1 requested, 0 free"
        assert workers_of(Quota(), snapshot) == {"red": 2, "sea": 2}

    def test_a_borrower_shrinks_before_it_is_stopped(self) -> None:
        jobs = [job("r", tenant="none", most=4, fewest=1), job("s", at=9.0, tenant="sea")]
        tenants = [Tenant("none", quota=Resources()), SEA]
        snapshot = four(*jobs, tenants=tenants, r=[("a", number) for number in range(4)])
        assert workers_of(Quota(), snapshot) == {"none": 3, "sea": 1}


@settings(max_examples=200, deadline=None)
@given(snapshot=cluster_snapshots(max_jobs=8))
def test_no_borrower_has_what_somebody_within_quota_waits_for(snapshot: ClusterSnapshot) -> None:
    plan, tenants = plan_of(Quota(), snapshot), {tenant.name: tenant for tenant in snapshot.tenants}
    jobs, revoked = {one.id: one for one in snapshot.jobs}, set(plan.revokes)
    there = [lease for lease in [*snapshot.leases, *plan.grants] if lease not in revoked]
    workers, used = Counter(lease.job for lease in there), {}

    def above(one: JobView) -> list[str]:
        names = [one.tenant]
        while names[-1] in tenants and tenants[names[-1]].parent:
            names.append(tenants[names[-1]].parent)
        return [name for name in names if name in tenants and tenants[name].quota is not None]

    for name, num in workers.items():
        for tenant in above(jobs[name]):
            used[tenant] = used.get(tenant, 0.0) + jobs[name].bundle.vector() * num
    over = {
        name
        for name in workers
        if any((used[tenant] > tenants[tenant].quota.vector() + 1e-6).any() for tenant in above(jobs[name]))
    }
    for waits in (jobs[item.what] for item in plan.unplaced):
        amount = waits.bundle.vector() * waits.min_workers
        quotas = [(used.get(tenant, 0.0) + amount, tenants[tenant].quota.vector()) for tenant in above(waits)]
        if any((after > quota + 1e-6).any() for after, quota in quotas):
            continue
        for borrower in over:
            share = jobs[borrower].bundle.vector() * jobs[borrower].min_workers
            alone = any((share > tenants[tenant].quota.vector() + 1e-6).any() for tenant in above(jobs[borrower]))
            if alone:  # not even by itself within quota: certainly a borrower
                assert not asks_no_more(waits, jobs[borrower], workers[borrower])


class TestFinishTimeFair:
    RATES = {"": frozen([1.0, 2.0, 3.0, 4.0])}  # noqa: RUF012

    def test_rho_by_hand(self) -> None:
        """Four GPUs, two jobs: alone each has two, so 100 of work take 50 seconds."""
        jobs = [
            job("waits", 100.0, at=0.0, most=4, rates=self.RATES),  # 40 + 100 / 4, over 50
            job("runs", 100.0, at=10.0, most=4, done=60.0, rates=self.RATES),  # 30 + 40 / 1, over 50
        ]
        snapshot = cluster(gpus(a=4), jobs, {"runs": [("a", 0)]}, now=40.0)
        assert finish_time_fairness(snapshot) == pytest.approx({"waits": 1.3, "runs": 1.4})
        assert ranking(FinishTimeFair(), snapshot) == ["runs", "waits"]

    def test_less_than_a_gang_is_had_for_a_part_of_the_time(self) -> None:
        """Four jobs of two GPUs on four: each has one GPU's worth, half the speed of its gang."""
        jobs = [job(f"j{number}", 100.0, fewest=2) for number in range(4)]
        assert finish_time_fairness(cluster(gpus(a=4), jobs, now=0.0))["j0"] == pytest.approx(0.5)

    def test_who_waits_gets_its_turn(self) -> None:
        """The running job's rho stays 130 / 200; that of the one that waits rises from 11 / 20 to 31 / 20."""
        turns = []
        for now in (40.0, 60.0):
            jobs = [job("runs", 100.0, at=0.0, done=now - 30.0), job("new", 10.0, at=39.0)]
            snapshot = cluster(gpus(a=1), jobs, {"runs": [("a", 0)]}, now=now)
            assert finish_time_fairness(snapshot) == pytest.approx({"runs": 0.65, "new": 0.55 if now < 50 else 1.55})
            turns.append([grant.job for grant in plan_of(FinishTimeFair(), snapshot).grants])
        assert turns == [[], ["new"]]

    def test_jobs_without_a_length_come_last(self) -> None:
        jobs = [job("unknown"), job("stuck", 5.0, rates={"": frozen([0.0])}), job("known", 1e6)]
        snapshot = cluster(gpus(a=1), jobs, now=1.0)
        assert ranking(FinishTimeFair(), snapshot) == ["known", "stuck", "unknown"]
        assert math.isnan(finish_time_fairness(snapshot)["unknown"])
