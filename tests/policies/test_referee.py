from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policies.interface import (
    Assignment,
    ClusterPlan,
    ClusterSnapshot,
    Grant,
    JobView,
    NodeTable,
    Resources,
    Shortfall,
    Unplaced,
    frozen,
)
from policies.referee import violations
from policies.strategies import round_view, shard_table, worker_table

CAPACITY = frozen([[4.0, 1.0, 1000.0], [2.0, 0.0, 1000.0]])
NODES = NodeTable.of(("a", "b"), CAPACITY)
JOB = JobView("j", 0.0, Resources(cpu=1.0), 2, 3)
SNAPSHOT = ClusterSnapshot(7, 0.0, 0, NODES, (JOB,))
GOOD = (Grant("j", 0, "a"), Grant("j", 1, "b"))
REFUSED = Unplaced("j", 0, 2, (Shortfall("cpu", 1.0, 0.0, "node a"),))


def test_a_good_plan_passes() -> None:
    assert violations(ClusterPlan(7, GOOD), SNAPSHOT) == ()
    assert violations(ClusterPlan(7, unplaced=(REFUSED,)), SNAPSHOT) == ()


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (ClusterPlan(6, GOOD), "the plan is for snapshot 6, but this is snapshot 7"),
        (ClusterPlan(7), "job j is forgotten: neither granted nor unplaced"),
        (ClusterPlan(7, GOOD[:1]), "job j: 1 workers granted and 0 kept, the gang is 2 to 3"),
        (ClusterPlan(7, (*GOOD, Grant("j", 2, "a"), Grant("j", 3, "a"))), "job j: 4 workers granted"),
        (ClusterPlan(7, (GOOD[0], Grant("j", 1, "z"))), "worker 1 is on node z, which does not exist"),
        (ClusterPlan(7, (*GOOD, Grant("k", 0, "a"))), "job k is granted a worker, but no such job waits"),
        (ClusterPlan(7, (GOOD[0], Grant("j", 0, "b"))), "job j: worker 0 is granted 2 times"),
        (ClusterPlan(7, GOOD, unplaced=(REFUSED,)), "job j is both granted and unplaced"),
        (
            ClusterPlan(7, GOOD, unplaced=(replace(REFUSED, what="k"),)),
            "job k is unplaced, but does not exist",
        ),
        (ClusterPlan(7, GOOD, revokes=(Grant("j", 5, "a"),)), "is revoked, but not held"),
        (
            ClusterPlan(7, tuple(Grant("j", w, "b") for w in range(3))),
            "node b: cpu over capacity, 3 granted, 2 free",
        ),
        ("nonsense", "a policy must return a ClusterPlan, an Assignment or Unplaced, got str"),
        (None, "got NoneType"),
    ],
)
def test_each_violation_of_a_cluster_plan(plan: Any, message: str) -> None:
    found = violations(plan, SNAPSHOT)
    assert len(found) == 1
    assert message in found[0]


def test_all_reasons_at_once() -> None:
    plan = ClusterPlan(1, tuple(Grant("j", 0, "b") for _ in range(5)))
    assert len(violations(plan, SNAPSHOT)) == 4  # stale, not the gang, twice the same worker, over capacity


class TestLeases:
    """Job j holds both processors of node b, which are already missing from what is free."""

    nodes = replace(NODES, free=frozen([[4.0, 1.0, 1000.0], [0.0, 0.0, 1000.0]]))
    leases = (Grant("j", 0, "b"), Grant("j", 1, "b"))
    other = JobView("k", 1.0, Resources(cpu=2.0), 1, 1)

    def found(self, plan: ClusterPlan) -> tuple[str, ...]:
        return violations(plan, ClusterSnapshot(7, 0.0, 0, self.nodes, (JOB, self.other), self.leases))

    def test_who_holds_leases_needs_no_grant(self) -> None:
        assert self.found(ClusterPlan(7, (Grant("k", 0, "a"),))) == ()

    def test_who_holds_leases_may_grow_within_the_gang(self) -> None:
        grown = ClusterPlan(7, (Grant("k", 0, "a"), Grant("j", 2, "a")))
        assert self.found(grown) == ()
        (reason,) = self.found(replace(grown, grants=(*grown.grants, Grant("j", 3, "a"))))
        assert reason == "job j: 2 workers granted and 2 kept, the gang is 2 to 3"
        (reason,) = self.found(replace(grown, grants=(grown.grants[0], Grant("j", 1, "a"))))
        assert reason == "job j: worker 1 is granted 2 times"

    def test_a_worker_moves_by_a_revoke_and_a_grant(self) -> None:
        moved = ClusterPlan(7, (Grant("k", 0, "a"), Grant("j", 1, "a")), revokes=self.leases[1:])
        assert self.found(moved) == ()

    def test_what_is_revoked_may_be_granted(self) -> None:
        plan = ClusterPlan(7, (Grant("k", 0, "b"),), revokes=self.leases, unplaced=(REFUSED,))
        assert self.found(plan) == ()
        (reason,) = self.found(replace(plan, unplaced=()))
        assert "job j is forgotten" in reason

    def test_what_is_revoked_twice_counts_once(self) -> None:
        plan = ClusterPlan(7, (Grant("k", 0, "b"),), revokes=(self.leases[0],) * 2)
        split, over = self.found(plan)
        assert split == "job j: 0 workers granted and 1 kept, the gang is 2 to 3"
        assert over == "node b: cpu over capacity, 2 granted, 1 free"


VIEW = round_view(worker_table([(1, 0, 20), (1, 0, 30)], [1.0, 1.0]), shard_table(np.ones(4), [10.0] * 4))


@pytest.mark.parametrize(
    ("worker_of", "message"),
    [
        ([0, 0, 1], "worker_of has shape (3,), but there are 4 shards"),
        ([[0, 0], [1, 1]], "worker_of has shape (2, 2)"),
        ([0.0, 0.0, 1.0, 1.0], "worker_of must hold whole numbers, got float64"),
        ([0, 0, 1, 2], "shard 3 is assigned to worker 2, but workers are 0 to 1"),
        ([0, 0, 1, -1], "shard 3 is assigned to worker -1"),
        ([0, 0, 0, 1], "worker w0: memory"),
    ],
)
def test_each_violation_of_an_assignment(worker_of: Any, message: str) -> None:
    (reason,) = violations(Assignment(np.array(worker_of)), VIEW)
    assert message in reason


def test_a_good_assignment_passes() -> None:
    assert violations(Assignment(np.array([1, 1, 0, 0])), VIEW) == ()


def test_a_refusal_of_shards_must_have_true_reasons() -> None:
    true = Shortfall("memory", 10.0, 5.0, "worker w0")
    assert violations(Unplaced("shards", 3, 4, (true,)), VIEW) == ()
    assert "unplaced for no reason" in violations(Unplaced("shards", 3, 4, ()), VIEW)[0]
    assert "is no shortfall" in violations(Unplaced("shards", 3, 4, (replace(true, free=10.0),)), VIEW)[0]
    assert "4 of 4 fit" in violations(Unplaced("shards", 4, 4, (true,)), VIEW)[0]


class TestDevices:
    """Node a has two GPUs, of which half of one is taken, and one node of two zones."""

    nodes = NodeTable.of(
        ("a", "b"),
        [[9.0, 2.0, 0.0], [9.0, 2.0, 0.0]],
        [[9.0, 1.5, 0.0], [9.0, 2.0, 0.0]],
        device_free=[[0.5, 1.0], [1.0, 1.0]],
        labels={"zone": ("x", "y")},
    )

    def found(self, job: JobView, *grants: Grant) -> tuple[str, ...]:
        return violations(ClusterPlan(7, grants), ClusterSnapshot(7, 0.0, 0, self.nodes, (job,)))

    def job(self, gpu: float, **more: Any) -> JobView:
        return JobView("j", 0.0, Resources(gpu=gpu), 1, 3, **more)

    def test_parts_and_whole_devices_pass(self) -> None:
        assert self.found(self.job(0.5), Grant("j", 0, "a", (0,)), Grant("j", 1, "a", (1,))) == ()
        assert self.found(self.job(2.0), Grant("j", 0, "b", (1, 0))) == ()

    def test_a_device_is_not_over_capacity_though_the_node_has_room(self) -> None:
        (reason,) = self.found(self.job(0.75), Grant("j", 0, "a", (0,)))
        assert reason == "node a: GPU 0 over capacity, 0.75 granted, 0.5 free"
        reasons = self.found(self.job(2.0), Grant("j", 0, "a", (0, 1)))
        assert reasons == (
            "node a: gpu over capacity, 2 granted, 1.5 free",
            "node a: GPU 0 over capacity, 1 granted, 0.5 free",
        )

    @pytest.mark.parametrize(
        ("gpu", "devices", "message"),
        [
            (1.0, (), "job j: worker 0 wants 1 GPU(s), but is granted 0"),
            (0.0, (0,), "job j: worker 0 wants 0 GPU(s), but is granted 1"),
            (2.0, (1, 1), "job j: worker 0 is granted the GPUs (1, 1), of 0 to 1"),
            (1.0, (2,), "job j: worker 0 is granted the GPUs (2,), of 0 to 1"),
        ],
    )
    def test_devices_are_as_many_as_asked(self, gpu: float, devices: tuple[int, ...], message: str) -> None:
        assert self.found(self.job(gpu), Grant("j", 0, "b", devices)) == (message,)

    def test_a_node_with_other_labels(self) -> None:
        job = self.job(1.0, selector={"zone": ("y", "z")})
        assert self.found(job, Grant("j", 0, "b", (0,))) == ()
        (reason,) = self.found(job, Grant("j", 0, "a", (1,)))
        assert reason == "job j: node a has not the labels {'zone': ('y', 'z')}"
