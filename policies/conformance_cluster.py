"""The conformance kits of orders and of whole policies; imported from ``policies.testing``."""

# ruff: noqa: S101

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from policies.balance.equal import Equal
from policies.composed import Composed, demand_of
from policies.conformance import Conformance, quick, same
from policies.conformance_place import check_reasons
from policies.feasibility import Room
from policies.interface import (
    Balance,
    Claim,
    ClusterPlan,
    ClusterSnapshot,
    Memo,
    Order,
    Policy,
    Unplaced,
)
from policies.place.pack import Pack
from policies.promises import PROMISES, after
from policies.referee import violations
from policies.strategies import cluster_snapshots, crowded_snapshots, degenerate_snapshots


class OrderConformance(Conformance):
    """The kit of an order: one honest claim for every job that has a turn, and plans that the referee passes."""

    kind = Order

    def answer(self, policy: Order, view: ClusterSnapshot) -> Any:
        """Ask for the ranking."""
        return policy.rank(view)

    def check_claims(self, snapshot: ClusterSnapshot) -> None:
        """Assert that everyone with a turn has one claim within the gang, or a refusal with a true reason."""
        order = self.policy()
        jobs = {job.id: job for job in snapshot.jobs}
        turns = jobs.keys() if order.preemptive else jobs.keys() - {lease.job for lease in snapshot.leases}
        claims = order.rank(snapshot)
        names = [claim.job.id if isinstance(claim, Claim) else claim.what for claim in claims]
        assert Counter(names) == Counter(turns)
        for claim in claims:
            if isinstance(claim, Unplaced):
                assert claim.shortfalls, "refused for no reason"
                assert all(item.requested > item.free for item in claim.shortfalls)
            else:
                assert claim.job is jobs[claim.job.id] or claim.job == jobs[claim.job.id]
                assert claim.job.min_workers <= claim.min_workers <= claim.max_workers <= claim.job.max_workers

    @quick
    @given(snapshot=cluster_snapshots())
    def test_one_claim_for_every_turn(self, snapshot: ClusterSnapshot) -> None:
        """Every job that waits, and under a preemptive order every job, has one claim or one refusal."""
        self.check_claims(snapshot)

    def check_plans(self, snapshot: ClusterSnapshot) -> None:
        """Assert that the referee passes its plan, and that it keeps what it promises."""
        order = self.policy()
        plan = Composed(order, Pack(), Equal()).plan(snapshot)
        assert violations(plan, snapshot) == ()
        assert order.preemptive or not plan.revokes, "only a preemptive order may revoke"
        if not order.needs_running:
            assert same(order.rank(without_running(snapshot)), order.rank(snapshot)), "it looks at running jobs"
        for promise in order.promises:
            assert promise in PROMISES, f"unknown promise {promise!r}: {', '.join(PROMISES)}"
            PROMISES[promise](order, snapshot, plan)

    @quick
    @given(snapshot=cluster_snapshots())
    def test_its_plans_pass_the_referee(self, snapshot: ClusterSnapshot) -> None:
        """With any placement: whole gangs, nothing over capacity, everything promised kept."""
        self.check_plans(snapshot)

    @quick
    @given(snapshot=crowded_snapshots())
    def test_keeps_its_promises_in_a_crowd(self, snapshot: ClusterSnapshot) -> None:
        """Where many jobs that are much alike want the same few nodes."""
        self.check_plans(snapshot)

    @quick
    @given(snapshot=cluster_snapshots())
    def test_is_a_pure_function(self, snapshot: ClusterSnapshot) -> None:
        """Equal snapshots get equal answers and stay as they were."""
        self.check_repeatable(snapshot)

    @quick
    @given(snapshot=cluster_snapshots(), data=st.data())
    def test_order_of_rows_does_not_matter(self, snapshot: ClusterSnapshot, data: st.DataObject) -> None:
        """The same jobs and nodes in another order rank the same."""
        rows = data.draw(st.permutations(range(len(snapshot.nodes))))
        leases = tuple(data.draw(st.permutations(snapshot.leases)))
        jobs = tuple(data.draw(st.permutations(snapshot.jobs)))
        other = replace(snapshot, jobs=jobs, leases=leases, nodes=snapshot.nodes.take(rows))
        assert same(self.policy().rank(snapshot), self.policy().rank(other))

    def test_degenerate_snapshots(self) -> None:
        """No nodes, no jobs, speeds of nothing."""
        for snapshot in degenerate_snapshots():
            self.check_claims(snapshot)
            self.check_repeatable(snapshot)


class PolicyConformance(Conformance):
    """The kit of a whole policy: every waiting job granted whole or refused for true reasons."""

    kind = Policy

    def answer(self, policy: Policy, view: ClusterSnapshot) -> Any:
        """Ask for the plan."""
        return policy.plan(view)

    def check_plan(self, snapshot: ClusterSnapshot) -> None:
        """Assert that the referee passes the plan, and that its refusals are true."""
        plan = self.policy().plan(snapshot)
        assert violations(plan, snapshot) == ()
        jobs = {job.id: job for job in snapshot.jobs}
        everything = snapshot.nodes if not plan.revokes else snapshot.nodes.emptied()
        for item in plan.unplaced:
            check_reasons(item, jobs[item.what], everything)
        if not self.policy().needs_running:
            told = replace(snapshot, demand=demand_of(snapshot.jobs))
            unaware = self.policy().plan(without_running(told))
            assert same(unaware, self.policy().plan(told)), "it looks at running jobs"

    def test_has_a_balance(self) -> None:
        """The rounds of a job ask the policy's balance."""
        assert isinstance(self.policy().balance, Balance)

    @quick
    @given(snapshot=cluster_snapshots() | crowded_snapshots())
    def test_every_job_is_granted_whole_or_refused_truly(self, snapshot: ClusterSnapshot) -> None:
        """No job is forgotten or split, no node over capacity; a refusal says what is short."""
        self.check_plan(snapshot)

    @quick
    @given(snapshot=cluster_snapshots())
    def test_is_a_pure_function(self, snapshot: ClusterSnapshot) -> None:
        """Equal snapshots get equal plans and stay as they were."""
        self.check_repeatable(snapshot)

    @quick
    @given(snapshot=cluster_snapshots(), data=st.data())
    def test_order_of_rows_does_not_matter(self, snapshot: ClusterSnapshot, data: st.DataObject) -> None:
        """The same nodes, jobs and leases in another order get the same workers of each job."""
        rows = data.draw(st.permutations(range(len(snapshot.nodes))))
        leases = tuple(data.draw(st.permutations(snapshot.leases)))
        jobs = tuple(data.draw(st.permutations(snapshot.jobs)))
        other = replace(snapshot, nodes=snapshot.nodes.take(rows), jobs=jobs, leases=leases)
        plans = [self.policy().plan(view) for view in (snapshot, other)]
        one, two = (Counter((grant.job, grant.node) for grant in plan.grants) for plan in plans)
        assert one == two

    @quick
    @given(snapshot=cluster_snapshots())
    def test_a_memo_changes_nothing(self, snapshot: ClusterSnapshot) -> None:
        """The plan after this plan: with a memo as without."""
        policy, memo = self.policy(), Memo()
        plan = policy.plan(snapshot, memo)
        assert same(plan, policy.plan(snapshot)), "a memo changes the plan"
        later = _later(plan, snapshot, 10.0)
        assert same(policy.plan(later, memo), policy.plan(later)), "a memo changes the next plan"

    @quick
    @given(snapshot=cluster_snapshots() | crowded_snapshots())
    def test_a_live_view_is_left_as_it_was(self, snapshot: ClusterSnapshot) -> None:
        """On nodes that somebody else goes on changing: the plan of a table, and nothing of it stays behind."""
        room = Room(snapshot.nodes)
        live = replace(snapshot, nodes=room.view())
        assert same(self.policy().plan(live), self.policy().plan(snapshot)), "a live view changes the plan"
        for name in ("free", "device_free", "gpu_leases"):
            assert np.array_equal(getattr(room, name), getattr(snapshot.nodes, name)), f"the plan is left in {name}"

    @quick
    @given(snapshot=cluster_snapshots(), data=st.data())
    def test_plans_in_a_row(self, snapshot: ClusterSnapshot, data: st.DataObject) -> None:
        """Time passes, jobs end, and each plan builds on the one before and on what the policy remembers."""
        for _ in range(4):
            self.check_plan(snapshot)
            snapshot = _later(self.policy().plan(snapshot), snapshot, data.draw(st.sampled_from((0.0, 1.0, 400.0))))
            if running := sorted({lease.job for lease in snapshot.leases}):
                snapshot = _without(data.draw(st.sampled_from(running)), snapshot)

    def test_degenerate_snapshots(self) -> None:
        """No nodes, no jobs, empty nodes, bundles of nothing."""
        for snapshot in degenerate_snapshots():
            self.check_plan(snapshot)
            self.check_repeatable(snapshot)


def without_running(snapshot: ClusterSnapshot) -> ClusterSnapshot:
    """Return the snapshot as who does not need the running jobs may get it."""
    running = {lease.job for lease in snapshot.leases}
    return replace(snapshot, jobs=tuple(job for job in snapshot.jobs if job.id not in running), leases=())


def _later(plan: ClusterPlan, snapshot: ClusterSnapshot, passed_s: float) -> ClusterSnapshot:
    """Return the snapshot some seconds after the plan was carried out."""
    revoked = set(plan.revokes)
    leases = tuple(lease for lease in snapshot.leases if lease not in revoked) + plan.grants
    now_s = snapshot.now_s + passed_s
    return replace(snapshot, nodes=after(plan, snapshot), leases=leases, state=plan.state, now_s=now_s)


def _without(name: str, snapshot: ClusterSnapshot) -> ClusterSnapshot:
    """Return the snapshot once a job has ended."""
    ended = ClusterPlan(snapshot.version, revokes=tuple(lease for lease in snapshot.leases if lease.job == name))
    later = _later(replace(ended, state=snapshot.state), snapshot, 0.0)
    return replace(later, jobs=tuple(job for job in snapshot.jobs if job.id != name))
