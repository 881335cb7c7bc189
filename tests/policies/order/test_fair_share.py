"""The order that divides the cluster anew: fair-share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from order_cases import cluster, elastic, gpus, job, on, plan_of, planned, ranking, workers

from policies.interface import JobView, NodeTable, Resources, Tenant, frozen
from policies.order.fair_share import FairShare
from policies.presets import resolve
from policies.testing import OrderConformance, PolicyConformance
from scheduler.results.outcome import RunOutcome
from scheduler.simulation.fleet import Fleet, Machine
from scheduler.simulation.simulator import simulate
from scheduler.simulation.workload import SimulatedJob, Workload
from scheduler.simulation.world import World


class TestFairShareAsOrder(OrderConformance):
    def policy(self) -> FairShare:
        return FairShare()


class TestFairShareAsPolicy(PolicyConformance):
    def policy(self) -> Any:
        return resolve({"order": "fair-share", "place": "pack"})


def divided(
    num_gpus: int, *jobs: JobView, tenants: Sequence[Tenant] = (), **running: Sequence[tuple[str, int]]
) -> dict[str, int]:
    """Return who has how many workers on one node after the plan, when nothing else happens for ever after."""
    then = planned(FairShare(), cluster(gpus(a=num_gpus), jobs, running, tenants=tenants))
    plan = plan_of(FairShare(), then)
    assert (plan.grants, plan.revokes) == ((), ())
    return workers(then)


class TestShares:
    def test_one_job_has_everything(self) -> None:
        assert divided(8, elastic("j", "x")) == {"j": 8}

    def test_who_runs_shrinks_for_a_newcomer_of_another_tenant(self) -> None:
        assert divided(8, elastic("old", "x"), elastic("new", "y", at=1.0), old=on(*range(8))) == {"old": 4, "new": 4}

    def test_shares_are_of_tenants_not_of_jobs(self) -> None:
        jobs = [elastic("x", "x"), elastic("y1", "y"), elastic("y2", "y", at=1.0), elastic("y3", "y", at=2.0)]
        assert divided(8, *jobs) == {"x": 4, "y1": 2, "y2": 1, "y3": 1}

    def test_weights(self) -> None:
        jobs = [elastic(name, name) for name in "xyz"]
        assert divided(12, *jobs, tenants=[Tenant("x", 2.0)]) == {"x": 6, "y": 3, "z": 3}

    def test_weights_of_a_tree(self) -> None:
        tenants = [Tenant("up", 3.0), Tenant("left", 2.0, parent="up"), Tenant("right", parent="up")]
        jobs = [elastic(name, name) for name in ("left", "right", "other")]
        assert divided(12, *jobs, tenants=tenants) == {"left": 6, "right": 3, "other": 3}

    def test_who_can_use_no_more_leaves_it_to_the_others(self) -> None:
        assert divided(9, elastic("x", "x", most=1), elastic("y", "y"), elastic("z", "z")) == {"x": 1, "y": 4, "z": 4}

    def test_who_ends_makes_room_for_growth(self) -> None:
        assert divided(6, elastic("x", "x"), x=on(0, 1, 2)) == {"x": 6}

    def test_what_others_use_is_not_divided(self) -> None:
        nodes = NodeTable.of(("a",), [[10.0, 0.0, 0.0]], [[4.0, 0.0, 0.0]])
        jobs = [elastic(name, name, bundle=Resources(cpu=1.0)) for name in "xy"]
        assert workers(planned(FairShare(), cluster(nodes, jobs))) == {"x": 2, "y": 2}

    def test_the_dominant_share_is_of_what_others_leave(self) -> None:
        """Of 12 CPUs 6 are left, of 12 GB all: a CPU is as much as 2 GB."""
        nodes = NodeTable.of(("a",), [[12.0, 0.0, 12.0]], [[6.0, 0.0, 12.0]])
        jobs = [
            elastic("cpus", "x", bundle=Resources(cpu=1.0, memory=1.0)),
            elastic("bytes", "y", bundle=Resources(memory=2.0)),
        ]
        assert workers(planned(FairShare(), cluster(nodes, jobs))) == {"cpus": 4, "bytes": 4}

    def test_a_new_job_of_the_same_tenant_gets_its_least_workers_of_one_that_grew(self) -> None:
        jobs = [elastic("old"), elastic("new", fewest=3, at=1.0)]
        assert divided(8, *jobs, old=on(*range(8))) == {"old": 5, "new": 3}


class TestWithinATenant:
    def test_who_runs_is_not_stopped_for_an_equal(self) -> None:
        jobs = [job("first", fewest=3), job("late", at=9.0, fewest=2)]
        assert divided(4, *jobs, late=on(0, 1)) == {"late": 2}

    @pytest.mark.parametrize("better", [{"priority": 1.0}, {"deadline_s": 50.0}])
    def test_but_for_one_that_goes_before_it(self, better: dict[str, float]) -> None:
        jobs = [job("urgent", at=10.0, fewest=3, **better), job("runs", at=9.0, fewest=2, most=4)]
        assert divided(4, *jobs, runs=on(0, 1)) == {"urgent": 3}
        assert divided(5, *jobs, runs=on(0, 1)) == {"urgent": 3, "runs": 2}

    def test_priority_then_deadline_then_who_runs_then_first_come(self) -> None:
        jobs = [
            job("late", at=5.0),
            job("first", at=1.0),
            job("runs", at=9.0),
            job("due", at=9.0, deadline_s=99.0),
            job("high", at=9.0, priority=1.0),
        ]
        assert ranking(FairShare(), cluster(gpus(a=4), jobs, {"runs": on(0)})) == [
            "high",
            "due",
            "first",
            "runs",
            "late",
        ]

    def test_priorities_do_not_count_between_tenants(self) -> None:
        assert divided(4, elastic("x", "x", priority=9.0), elastic("y", "y")) == {"x": 2, "y": 2}


class TestGangs:
    def test_a_tenant_with_a_right_stops_what_cannot_shrink(self) -> None:
        """Half of the cluster is y's: the second gang of x has to go, and y grows into what it leaves."""
        jobs = [job("x1", tenant="x", fewest=2), job("x2", tenant="x", fewest=2, at=1.0), elastic("y", "y", at=2.0)]
        assert divided(4, *jobs, x1=on(0, 1), x2=on(2, 3)) == {"x1": 2, "y": 2}

    def test_growth_within_a_right_is_worth_more_than_a_gang_on_loan(self) -> None:
        tenants = [Tenant("x", quota=Resources(gpu=4.0)), Tenant("y", quota=Resources())]
        jobs = [elastic("x", "x", at=1.0), job("y", tenant="y", fewest=2)]
        assert divided(4, *jobs, tenants=tenants, y=on(0, 1)) == {"x": 4}

    def test_who_waits_starts_where_it_fits_after_all(self) -> None:
        jobs = [job("huge", tenant="x", fewest=9), job("small", tenant="x", at=1.0)]
        assert divided(4, *jobs) == {"small": 1}

    def test_a_gang_as_large_as_the_cluster_waits_for_older_tenants_only(self) -> None:
        gang = job("gang", tenant="x", fewest=4, at=5.0)
        assert divided(4, gang, elastic("older", "y", at=4.0), older=on(0)) == {"older": 4}
        assert divided(4, gang, elastic("newer", "y", at=6.0), newer=on(0)) == {"gang": 4}

    def test_where_aggregates_deceive_the_next_one_starts(self) -> None:
        """Two GPUs are free, one on each node: the gang's only worker does not fit, and who comes behind it does."""
        nodes = gpus(a=2, b=2)
        jobs = [
            job("x", tenant="x", fewest=2),
            job("wide", tenant="y", at=1.0, bundle=Resources(gpu=2.0)),
            job("late", tenant="y", at=2.0),
        ]
        snapshot = cluster(nodes, jobs, {"x": [("a", 0), ("b", 0)]})
        assert workers(planned(FairShare(), snapshot)) == {"x": 2, "late": 1}


RED = Tenant("red", quota=Resources(gpu=2.0))
SEA = Tenant("sea", quota=Resources(gpu=6.0))
STRICT = replace(RED, borrows=False)


class TestQuotas:
    def test_quotas_are_served_first_and_the_rest_is_lent(self) -> None:
        """Eight are within sea's quota, two within red's; red is the poorer one and gets both that are left."""
        tenants = [RED, Tenant("sea", quota=Resources(gpu=8.0))]
        assert divided(12, elastic("r", "red"), elastic("s", "sea"), tenants=tenants) == {"r": 4, "s": 8}

    def test_who_has_no_quota_is_within_it(self) -> None:
        assert divided(8, elastic("r", "red"), elastic("s", "none"), tenants=[RED]) == {"r": 2, "s": 6}

    def test_a_loan_is_taken_back(self) -> None:
        jobs = [elastic("r", "red"), elastic("s", "sea", at=1.0)]
        assert divided(8, *jobs, tenants=[RED, SEA], r=on(*range(8))) == {"r": 2, "s": 6}

    def test_quotas_of_parents_bind_too(self) -> None:
        tenants = [RED, Tenant("up", quota=Resources(gpu=3.0), borrows=False), Tenant("down", parent="up")]
        assert divided(8, elastic("d", "down"), elastic("r", "red"), tenants=tenants) == {"d": 3, "r": 5}

    def test_who_does_not_borrow_grows_as_far_as_its_quota(self) -> None:
        assert divided(8, elastic("r", "red"), tenants=[STRICT]) == {"r": 2}

    def test_who_does_not_borrow_is_told_its_quota(self) -> None:
        jobs = [job("r1", tenant="red"), job("r2", tenant="red", at=1.0, fewest=2)]
        plan = plan_of(FairShare(), cluster(gpus(a=8), jobs, tenants=[STRICT]))
        assert [grant.job for grant in plan.grants] == ["r1"]
        (refused,) = plan.unplaced
        assert str(refused) == "r2: only 1 of 2 fit\n  - quota of tenant red: gpu 2 requested, 1 free"

    def test_who_runs_beyond_a_quota_that_may_not_be_exceeded_is_stopped(self) -> None:
        assert divided(8, job("r", tenant="red", fewest=3), tenants=[STRICT], r=on(0, 1, 2)) == {}


def simulated(tenants: Sequence[Tenant], until_s: float) -> RunOutcome:
    """Run elastic jobs of different length and size, more than the fleet can do, with arrivals all the time."""
    random = np.random.default_rng(7)
    jobs = []
    for tenant in tenants:
        arrivals = [0.0, 0.0, *np.sort(random.uniform(0.0, until_s, 60)).tolist()]
        for number, at_s in enumerate(arrivals):
            fewest = int(random.integers(1, 3))
            most = fewest + int(random.integers(4, 20))
            rates = {"": frozen(np.arange(1.0, most + 1.0))}
            view = JobView(
                f"{tenant.name}-{number}", at_s, Resources(1.0), fewest, most, tenant=tenant.name,
                work=float(random.uniform(500.0, 4000.0)), rates=rates,
            )  # fmt: skip
            jobs.append(SimulatedJob(view))
    fleet = Fleet(tuple(Machine(f"m{number}", Resources(32.0, 0.0, 2.0**30)) for number in range(4)))
    world = World(fleet, Workload(tuple(jobs)), until_s=until_s, tenants=tuple(tenants))
    return simulate(world, resolve({"order": "fair-share"}))


def test_over_time_tenants_have_worker_seconds_as_their_weights() -> None:
    tenants, until_s = [Tenant("a", 2.0), Tenant("b"), Tenant("c")], 1000.0
    outcome = simulated(tenants, until_s)
    had = {tenant.name: sum(one.worker_s for one in outcome.jobs if one.tenant == tenant.name) for tenant in tenants}
    assert sum(not np.isnan(one.ended_s) for one in outcome.jobs) > 10
    assert sum(had.values()) == pytest.approx(128 * until_s, rel=0.01)
    for tenant in tenants:
        assert had[tenant.name] / sum(had.values()) == pytest.approx(tenant.weight / 4, rel=0.05)
