"""The conformance kits of placements, orders and whole policies; imported from ``policies.testing``."""

# ruff: noqa: S101

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from policies.conformance import Conformance, quick, same
from policies.feasibility import violations
from policies.interface import (
    RESOURCES,
    Balance,
    Claim,
    ClusterPlan,
    ClusterSnapshot,
    Grant,
    JobView,
    NodeTable,
    Order,
    Place,
    Policy,
    Unplaced,
)
from policies.strategies import cluster_snapshots, degenerate_snapshots, job_views, node_tables


class PlaceConformance(Conformance):
    """The kit of a placement: the gang whole and within capacity, or refused for true reasons."""

    kind = Place

    def answer(self, policy: Place, view: ClusterSnapshot) -> Any:
        """Ask where the first job's workers go."""
        return policy.place(_claim(view.jobs[0]), view.nodes, view.seed)

    def check_placement(self, view: ClusterSnapshot) -> None:
        """Assert that the referee passes it, and that it is refused only when the gang does not fit."""
        job, nodes = view.jobs[0], view.nodes
        answer = self.answer(self.policy(), view)
        slots = _slots(job, nodes)
        if isinstance(answer, Unplaced):
            assert slots < job.min_workers, f"refused, although {slots} fit"
            assert answer.what == job.id
            assert answer.placed <= slots
            _check_reasons(answer, job, nodes)
            return
        grants = tuple(Grant(job.id, worker, nodes.ids[row]) for worker, row in enumerate(answer))
        assert violations(ClusterPlan(view.version, grants), view) == ()

    @quick
    @given(nodes=node_tables(), job=job_views(), seed=st.integers(0, 9))
    def test_places_the_gang_or_refuses_truly(self, nodes: NodeTable, job: JobView, seed: int) -> None:
        """The gang is whole, and within capacity; a refusal says what is short."""
        self.check_placement(ClusterSnapshot(0, 0.0, seed, nodes, (job,)))

    @quick
    @given(nodes=node_tables(), job=job_views(), seed=st.integers(0, 9))
    def test_is_a_pure_function(self, nodes: NodeTable, job: JobView, seed: int) -> None:
        """Equal nodes get equal answers and stay as they were."""
        self.check_repeatable(ClusterSnapshot(0, 0.0, seed, nodes, (job,)))

    @quick
    @given(nodes=node_tables(), job=job_views(), data=st.data())
    def test_order_of_rows_does_not_matter(self, nodes: NodeTable, job: JobView, data: st.DataObject) -> None:
        """The same nodes in another order get the same workers."""
        drawn = data.draw(st.permutations(range(len(nodes))))
        for rows in (drawn, range(len(nodes) - 1, -1, -1)):
            self.check_order_of_rows(nodes, job, rows)

    def check_order_of_rows(self, nodes: NodeTable, job: JobView, rows: Sequence[int]) -> None:
        """Assert that ``nodes`` and the same ``nodes`` in the order ``rows`` get the same workers."""
        chosen = [
            answer if isinstance(answer, Unplaced) else Counter(table.ids[row] for row in answer)
            for table in (nodes, _permuted(nodes, rows))
            for answer in [self.policy().place(_claim(job), table, 0)]
        ]
        if isinstance(chosen[0], Unplaced):
            assert isinstance(chosen[1], Unplaced)
            assert set(chosen[0].shortfalls) == set(chosen[1].shortfalls)
        else:
            assert chosen[0] == chosen[1]

    def test_degenerate_snapshots(self) -> None:
        """No nodes, empty nodes, bundles of nothing."""
        for view in degenerate_snapshots():
            for job in view.jobs:
                self.check_placement(replace(view, jobs=(job,)))


class OrderConformance(Conformance):
    """The kit of an order: one honest claim for every job that waits."""

    kind = Order

    def answer(self, policy: Order, view: ClusterSnapshot) -> Any:
        """Ask for the ranking."""
        return policy.rank(view)

    @quick
    @given(snapshot=cluster_snapshots())
    def test_one_claim_for_every_job_that_waits(self, snapshot: ClusterSnapshot) -> None:
        """Jobs that hold leases claim nothing, others once, for their own bundle and within their gang."""
        claims = self.policy().rank(snapshot)
        jobs = {job.id: job for job in snapshot.jobs}
        waiting = jobs.keys() - {lease.job for lease in snapshot.leases}
        assert Counter(claim.job for claim in claims) == Counter(waiting)
        for claim in claims:
            job = jobs[claim.job]
            assert claim.bundle == job.bundle
            assert job.min_workers <= claim.min_workers <= claim.max_workers <= job.max_workers

    @quick
    @given(snapshot=cluster_snapshots())
    def test_is_a_pure_function(self, snapshot: ClusterSnapshot) -> None:
        """Equal snapshots get equal answers and stay as they were."""
        self.check_repeatable(snapshot)

    @quick
    @given(snapshot=cluster_snapshots(), data=st.data())
    def test_order_of_rows_does_not_matter(self, snapshot: ClusterSnapshot, data: st.DataObject) -> None:
        """The same jobs in another order rank the same."""
        other = replace(snapshot, jobs=tuple(data.draw(st.permutations(snapshot.jobs))))
        assert same(self.policy().rank(snapshot), self.policy().rank(other))

    def test_degenerate_snapshots(self) -> None:
        """No nodes, no jobs."""
        for snapshot in degenerate_snapshots():
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
        for item in plan.unplaced:
            _check_reasons(item, jobs[item.what], snapshot.nodes)

    def test_has_a_balance(self) -> None:
        """The rounds of a job ask the policy's balance."""
        assert isinstance(self.policy().balance, Balance)

    @quick
    @given(snapshot=cluster_snapshots())
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
        """The same nodes in another order get the same workers of each job."""
        rows = data.draw(st.permutations(range(len(snapshot.nodes))))
        other = replace(snapshot, nodes=_permuted(snapshot.nodes, rows))
        plans = [self.policy().plan(view) for view in (snapshot, other)]
        one, two = (Counter((grant.job, grant.node) for grant in plan.grants) for plan in plans)
        assert one == two

    def test_degenerate_snapshots(self) -> None:
        """No nodes, no jobs, empty nodes, bundles of nothing."""
        for snapshot in degenerate_snapshots():
            self.check_plan(snapshot)
            self.check_repeatable(snapshot)


def _permuted(nodes: NodeTable, rows: Sequence[int]) -> NodeTable:
    order = np.array(rows, dtype=np.int64)
    names = [tuple(column[row] for row in rows) for column in (nodes.ids, nodes.numeric_class)]
    return NodeTable(names[0], nodes.capacity[order], nodes.free[order], names[1])


def _claim(job: JobView) -> Claim:
    return Claim(job.id, job.bundle, job.min_workers, job.max_workers)


def _slots(job: JobView, nodes: NodeTable) -> float:
    """Count how many of the job's bundles fit in all nodes."""
    bundle = job.bundle.vector()
    wanted = bundle > 0
    if not wanted.any():
        return np.inf if len(nodes) else 0.0
    return float(np.floor(nodes.free[:, wanted] / bundle[wanted] + 1e-9).min(axis=1).sum())


def _check_reasons(answer: Unplaced, job: JobView, nodes: NodeTable) -> None:
    """Assert that each shortfall is one: as much asked as the bundle has, no more free than there is."""
    amount = dict(zip(RESOURCES, job.bundle.vector().tolist(), strict=True))
    row = {f"node {node}": n for n, node in enumerate(nodes.ids)}
    assert answer.shortfalls, "refused for no reason"
    assert answer.placed < answer.wanted
    for item in answer.shortfalls:
        assert item.requested > item.free, f"{item} is no shortfall"
        if item.where in row:
            assert item.requested == amount[item.resource]
            assert item.free <= nodes.free[row[item.where], RESOURCES.index(item.resource)]
