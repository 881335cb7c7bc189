"""The ledger and the loop, on a cluster that is a table in memory."""

from __future__ import annotations

from collections.abc import Callable
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
    Policy,
    Resources,
    Tenant,
    frozen,
)
from policies.presets import resolve
from scheduler.errors import UserError
from scheduler.ledger import Ledger
from scheduler.loop import MAX_REPLANS, StalePlanError, checked_plan, step


class Table:
    """A cluster of two nodes with four processors each; ``changes`` applications in a row find it changed."""

    def __init__(self, cpus: float = 4.0, changes: int = 0) -> None:
        self.capacity = frozen([[cpus, 0.0, 1e9], [cpus, 0.0, 1e9]])
        self.free = self.capacity
        self.changes = changes
        self.applied: list[ClusterPlan] = []
        self.num_observed = 0

    def observe(self) -> NodeTable:
        self.num_observed += 1
        return NodeTable.of(("ant", "bee"), self.capacity, self.free)

    def now_s(self) -> float:
        return 7.0

    def apply(self, plan: ClusterPlan, snapshot: ClusterSnapshot) -> None:
        if self.changes:
            self.changes -= 1
            raise StalePlanError("node ant has changed")
        bundles = {job.id: job.bundle.vector() for job in snapshot.jobs}
        free = self.free.copy()
        for grant in plan.grants:
            free[snapshot.nodes.ids.index(grant.node)] -= bundles[grant.job]
        self.free = frozen(free)
        self.applied.append(plan)


class Scripted(Policy):
    """Answers what a function of the snapshot answers."""

    name = "scripted"
    balance = resolve("equal").balance

    def __init__(self, answer: Callable[[ClusterSnapshot], Any]) -> None:
        self.answer = answer

    def plan(self, snapshot: ClusterSnapshot) -> Any:
        return self.answer(snapshot)


def job(name: str = "j", fewest: int = 2, most: int = 3, cpu: float = 1.0) -> JobView:
    return JobView(name, 0.0, Resources(cpu=cpu), fewest, most)


def ledger_of(*jobs: JobView) -> Ledger:
    ledger = Ledger()
    for one in jobs:
        ledger.submit(one)
    return ledger


def held(ledger: Ledger, *jobs: str) -> tuple[Grant, ...]:
    return tuple(lease for name in jobs for lease in ledger.leases(name))


def test_each_event_makes_the_next_version() -> None:
    ledger, grants = ledger_of(job()), (Grant("j", 0, "ant"), Grant("j", 1, "bee"))
    assert (ledger.version, ledger.num_waiting, ledger.num_running) == (1, 1, 0)
    ledger.record(ClusterPlan(1, grants, state={"seen": 1}), 7.0)
    assert (ledger.version, ledger.num_waiting, ledger.num_running) == (2, 0, 1)
    assert (ledger.leases("j"), ledger.state, ledger.job("j").started_s) == (grants, {"seen": 1}, 7.0)
    ledger.record(ClusterPlan(2, revokes=(grants[0],)), 9.0)
    assert (ledger.version, ledger.leases("j"), ledger.job("j").started_s) == (3, grants[1:], 7.0)
    ledger.submit(job("k"))
    ledger.drop("j")
    assert (ledger.version, [known.id for known in ledger.waiting], ledger.running) == (5, ["k"], ())
    assert "j" not in ledger
    assert "k" in ledger


def test_a_worker_that_moves_is_revoked_and_granted_under_the_same_number() -> None:
    ledger, here, there = ledger_of(job()), Grant("j", 0, "ant"), Grant("j", 0, "bee")
    ledger.record(ClusterPlan(1, (here,)))
    ledger.record(ClusterPlan(2, (there,), (here,)))
    assert (ledger.leases("j"), ledger.num_running) == ((there,), 1)


def test_who_loses_everything_waits_again() -> None:
    ledger, grants = ledger_of(job()), (Grant("j", 0, "ant"), Grant("j", 1, "bee"))
    ledger.record(ClusterPlan(1, grants))
    ledger.record(ClusterPlan(2, revokes=grants))
    assert (ledger.num_waiting, ledger.num_running, ledger.leases("j")) == (1, 0, ())
    ledger.record(ClusterPlan(3, grants))
    ledger.lose(grants[0])
    assert ledger.leases("j") == grants[1:]
    ledger.lose(grants[1])
    assert (ledger.num_waiting, ledger.num_running) == (1, 0)


def test_a_job_is_submitted_once() -> None:
    with pytest.raises(ValueError, match="job j is in the ledger already"):
        ledger_of(job(), job())


def test_dropping_an_unknown_job_changes_nothing_but_the_version() -> None:
    ledger = ledger_of(job())
    ledger.drop("nobody")
    assert (ledger.version, ledger.num_waiting) == (2, 1)


def test_a_snapshot_shows_the_ledger_and_the_policys_memory() -> None:
    ledger = ledger_of(job(), job("k"))
    ledger.record(ClusterPlan(1, (Grant("j", 0, "ant"),), state={"seen": 1}), 2.0)
    snapshot = ledger.snapshot(Table().observe(), 3.0, 9)
    assert (snapshot.version, snapshot.now_s, snapshot.seed) == (3, 3.0, 9)
    assert next((known.id, known.started_s) for known in snapshot.jobs) == ("j", 2.0)
    assert (snapshot.leases, snapshot.state) == ((Grant("j", 0, "ant"),), {"seen": 1})
    unaware = ledger.snapshot(Table().observe(), 3.0, 9, running=False)
    assert ([known.id for known in unaware.jobs], unaware.leases) == (["k"], ())


def test_a_snapshot_shows_who_shares_the_cluster() -> None:
    tenants = (Tenant("red", 2.0), Tenant("sea"))
    assert Ledger(tenants).snapshot(Table().observe(), 3.0, 9).tenants == tenants


def test_a_gang_is_granted_whole() -> None:
    cluster = Table()
    ledger = ledger_of(job())
    plan = step(cluster, resolve("equal"), ledger, seed=0)
    assert sorted(grant.worker for grant in plan.grants) == [0, 1, 2]
    assert cluster.applied == [plan]
    assert (ledger.leases("j"), ledger.version) == (plan.grants, 2)
    assert cluster.free[:, 0].sum() == 8.0 - 3.0


def test_who_runs_is_left_alone_and_who_waits_is_served() -> None:
    cluster, policy, ledger = Table(), resolve("equal"), ledger_of(job("j"))
    first = step(cluster, policy, ledger, seed=0)
    ledger.submit(job("k"))
    second = step(cluster, policy, ledger, seed=0)
    assert {grant.job for grant in second.grants} == {"k"}
    assert held(ledger, "j", "k") == first.grants + second.grants
    ledger.drop("j")
    assert held(ledger, "j", "k") == second.grants


def test_what_does_not_fit_is_unplaced_with_every_reason_and_holds_nothing() -> None:
    cluster = Table()
    ledger = ledger_of(job(fewest=2, cpu=5.0))
    plan = step(cluster, resolve("equal"), ledger, seed=0)
    (unplaced,) = plan.unplaced
    assert (unplaced.placed, unplaced.wanted) == (0, 2)
    assert [str(reason) for reason in unplaced.shortfalls] == [
        "node ant: cpu 5 requested, 4 free",
        "node bee: cpu 5 requested, 4 free",
    ]
    assert (plan.grants, ledger.leases("j")) == ((), ())


def test_a_stale_plan_is_planned_again_on_a_new_observation() -> None:
    cluster = Table(changes=MAX_REPLANS - 1)
    ledger = ledger_of(job())
    plan = step(cluster, resolve("equal"), ledger, seed=0)
    assert (cluster.num_observed, cluster.applied) == (MAX_REPLANS, [plan])
    assert ledger.version == 2, "plans that were not carried out are not recorded"


def test_what_a_stale_plan_has_taken_back_is_lost() -> None:
    class Halfway(Table):
        def apply(self, plan: ClusterPlan, snapshot: ClusterSnapshot) -> None:
            if plan.revokes:
                raise StalePlanError("node bee has changed", plan.revokes)
            super().apply(plan, snapshot)

    def moves(snapshot: ClusterSnapshot) -> ClusterPlan:
        if not snapshot.leases:
            return ClusterPlan(snapshot.version, (Grant("j", 0, "ant"), Grant("j", 1, "ant")))
        grants = tuple(Grant("j", held.worker, "bee") for held in snapshot.leases)
        return ClusterPlan(snapshot.version, grants, revokes=snapshot.leases)

    cluster, ledger = Halfway(), ledger_of(job())
    step(cluster, Scripted(moves), ledger, seed=0)
    assert len(ledger.leases("j")) == 2
    step(cluster, Scripted(moves), ledger, seed=0)  # loses both, and is placed anew
    assert [(lease.worker, lease.node) for lease in ledger.leases("j")] == [(0, "ant"), (1, "ant")]
    assert len(cluster.applied) == 2


def test_a_cluster_that_keeps_changing_ends_the_step() -> None:
    cluster = Table(changes=MAX_REPLANS)
    with pytest.raises(StalePlanError, match="node ant has changed"):
        step(cluster, resolve("equal"), ledger_of(job()), seed=0)
    assert (cluster.num_observed, cluster.applied) == (MAX_REPLANS, [])


def test_grants_may_be_a_list() -> None:
    grants = [Grant("j", 0, "ant"), Grant("j", 1, "ant")]
    policy = Scripted(lambda snapshot: ClusterPlan(snapshot.version, grants))  # type: ignore[arg-type]
    ledger = ledger_of(job())
    step(Table(), policy, ledger, seed=0)
    assert ledger.leases("j") == tuple(grants)


def refusal(answer: Callable[[ClusterSnapshot], Any]) -> str:
    """Return why a policy's answer is refused; nothing is applied."""
    cluster = Table()
    with pytest.raises(UserError) as caught:
        step(cluster, Scripted(answer), ledger_of(job(), job("k")), seed=0)
    assert cluster.applied == []
    return str(caught.value)


def test_a_policy_that_raises_is_named() -> None:
    def divide(snapshot: ClusterSnapshot) -> Any:
        return snapshot.version / 0

    assert refusal(divide) == "policy 'scripted' raised ZeroDivisionError: division by zero"


@pytest.mark.parametrize("answer", [None, 3, (), Assignment(np.zeros(2, dtype=np.int64))])
def test_an_answer_of_another_type_is_named(answer: Any) -> None:
    kind = type(answer).__name__
    article = "an" if kind[0] in "Ai" else "a"
    expected = f"policy 'scripted' must return a ClusterPlan, but returned {article} {kind}"
    assert refusal(lambda _: answer) == expected


def test_a_plan_that_cannot_even_be_read_is_refused() -> None:
    message = refusal(lambda snapshot: ClusterPlan(snapshot.version, (("j", 0, "ant"),)))  # type: ignore[arg-type]
    assert "its ClusterPlan cannot be read: AttributeError: 'tuple' object has no attribute 'node'" in message


def test_a_bad_plan_is_refused_with_every_violation() -> None:
    def bad(snapshot: ClusterSnapshot) -> ClusterPlan:
        grants = (Grant("j", 0, "cat"), Grant("nobody", 0, "ant"))
        return ClusterPlan(snapshot.version - 1, grants)

    assert refusal(bad).splitlines() == [
        "policy 'scripted' returned a plan that breaks 5 rule(s):",
        "  - the plan is for snapshot 1, but this is snapshot 2",
        "  - job j: worker 0 is on node cat, which does not exist",
        "  - job nobody is granted a worker, but no such job waits",
        "  - job j: 1 workers granted and 0 kept, the gang is 2 to 3",
        "  - job k is forgotten: neither granted nor unplaced",
    ]


def test_a_very_bad_plan_is_cut_after_twenty_violations() -> None:
    message = refusal(lambda s: ClusterPlan(s.version, tuple(Grant("j", w, "cat") for w in range(30))))
    assert len(message.splitlines()) == 1 + 20 + 1
    assert message.endswith("  - and 12 more")


def test_a_good_plan_is_returned_as_it_is() -> None:
    snapshot = ledger_of(job()).snapshot(Table().observe(), 0.0, 0)
    plan = resolve("equal").plan(snapshot)
    assert checked_plan(Scripted(lambda _: plan), snapshot) is plan
