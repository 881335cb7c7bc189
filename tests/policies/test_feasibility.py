from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policies.feasibility import shortfalls, violations
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
from policies.strategies import round_view, shard_table, worker_table

CAPACITY = frozen([[4.0, 1.0, 1000.0], [2.0, 0.0, 1000.0]])
NODES = NodeTable(("a", "b"), CAPACITY, CAPACITY, ("cpu", "cpu"))
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
        (ClusterPlan(7, GOOD[:1]), "job j: 1 workers granted, the gang is 2 to 3"),
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

    def test_who_holds_leases_gets_no_more(self) -> None:
        (reason,) = self.found(ClusterPlan(7, (Grant("k", 0, "a"), Grant("j", 2, "a"))))
        assert reason == "job j holds leases already, and is granted 1 more"

    def test_what_is_revoked_may_be_granted(self) -> None:
        plan = ClusterPlan(7, (Grant("k", 0, "b"),), revokes=self.leases, unplaced=(REFUSED,))
        assert self.found(plan) == ()
        (reason,) = self.found(replace(plan, unplaced=()))
        assert "job j is forgotten" in reason

    def test_what_is_revoked_twice_counts_once(self) -> None:
        plan = ClusterPlan(7, (Grant("k", 0, "b"),), revokes=(self.leases[0],) * 2)
        split, over = self.found(plan)
        assert split == "job j is left 1 workers, its gang is at least 2"
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


def test_shortfalls_name_every_resource_on_every_node() -> None:
    found = shortfalls(Resources(cpu=3.0, gpu=1.0, memory=10.0), NODES, NODES.free)
    assert [str(item) for item in found] == [
        "node b: cpu 3 requested, 2 free",
        "node b: gpu 1 requested, 0 free",
    ]
    assert str(Shortfall("memory", 2**21, 2**20, "node a")) == "node a: memory 2.0 MiB requested, 1.0 MiB free"
