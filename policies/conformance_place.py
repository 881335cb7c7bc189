"""The conformance kit of placements; imported from ``policies.testing``."""

# ruff: noqa: S101

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from policies.composed import demand_of
from policies.conformance import Conformance, quick, same
from policies.feasibility import Room, slots
from policies.interface import (
    RESOURCES,
    Claim,
    ClusterPlan,
    ClusterSnapshot,
    Grant,
    JobView,
    Memo,
    NodeTable,
    Place,
    PlaceView,
    Resources,
    Slot,
    Unplaced,
)
from policies.referee import violations
from policies.strategies import degenerate_snapshots, job_views, node_tables

FOUR_GPUS = NodeTable.of(("one",), [[4.0, 4.0, 0.0]])
PAIRS_OF_GPUS = JobView("pairs", 0.0, Resources(cpu=1.0, gpu=2.0), 2, 2)


class PlaceConformance(Conformance):
    """The kit of a placement: the gang whole and within capacity, or refused for true reasons."""

    kind = Place

    def answer(self, policy: Place, view: ClusterSnapshot) -> Any:
        """Ask where the first job's workers go."""
        return policy.place(_claim(view.jobs[0]), _place_view(view))

    def check_placement(self, view: ClusterSnapshot) -> None:
        """Assert that the referee passes it, and that it is refused only when the gang does not fit."""
        job, nodes = view.jobs[0], view.nodes
        answer = self.answer(self.policy(), view)
        fit = slots(job, nodes).sum()
        if isinstance(answer, Unplaced):
            assert fit < job.min_workers, f"refused, although {fit} fit"
            assert answer.what == job.id
            assert answer.placed <= fit
            check_reasons(answer, job, nodes)
            return
        assert len(answer) == min(fit, job.max_workers), f"{len(answer)} workers, although {fit} fit"
        grants = tuple(grant_of(job.id, worker, nodes, slot) for worker, slot in enumerate(answer))
        assert violations(ClusterPlan(view.version, grants), view) == ()

    @quick
    @given(nodes=node_tables(), job=job_views(), seed=st.integers(0, 9))
    @example(nodes=FOUR_GPUS, job=PAIRS_OF_GPUS, seed=0)  # rare among those drawn
    def test_places_the_gang_or_refuses_truly(self, nodes: NodeTable, job: JobView, seed: int) -> None:
        """The gang is whole, within the capacity of nodes and devices; a refusal says what is short."""
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
        tables = (nodes, nodes.take(rows))
        views = [ClusterSnapshot(0, 0.0, 0, table, (job,)) for table in tables]
        one, two = (self.answer(self.policy(), view) for view in views)
        if isinstance(one, Unplaced):
            assert isinstance(two, Unplaced)
            assert set(one.shortfalls) == set(two.shortfalls)
        else:
            first, second = (
                Counter((table.ids[slot.node], slot.devices) for slot in answer)
                for table, answer in zip(tables, (one, two), strict=True)
            )
            assert first == second

    @quick
    @given(nodes=node_tables(), jobs=st.lists(job_views(), min_size=2, max_size=6), seed=st.integers(0, 9))
    def test_a_memo_changes_nothing(self, nodes: NodeTable, jobs: list[JobView], seed: int) -> None:
        """Claims one after the other, each on what is left, some of which end: with a memo as without.

        What is left is a table of its own at times, and at times a view of the room.
        """
        policy, memo, room = self.policy(), Memo(), Room(nodes)
        demand = demand_of(tuple(jobs))
        held: list[tuple[JobView, Slot]] = []
        for turn, job in enumerate([*jobs, *jobs]):
            view = PlaceView(room.table() if turn % 4 == 3 else room.view(), seed, demand)
            answer = policy.place(_claim(job), view, memo)
            assert same(answer, policy.place(_claim(job), view)), "a memo changes the answer"
            if turn % 3 == 2 and held:
                ended, slot = held.pop()
                room.release(ended.bundle, slot.node, slot.devices)
            for slot in () if isinstance(answer, Unplaced) else answer[:1]:
                room.hold(job.bundle, slot.node, slot.devices)
                held.append((job, slot))

    def test_degenerate_snapshots(self) -> None:
        """No nodes, empty nodes, nodes without memory, bundles of nothing."""
        for view in degenerate_snapshots():
            for job in view.jobs:
                self.check_placement(replace(view, jobs=(job,)))


def grant_of(job: str, worker: int, nodes: NodeTable, slot: Slot) -> Grant:
    """Return the grant of a slot."""
    return Grant(job, worker, nodes.ids[slot.node], slot.devices)


def _claim(job: JobView) -> Claim:
    return Claim(job, job.min_workers, job.max_workers)


def _place_view(view: ClusterSnapshot) -> PlaceView:
    return PlaceView(view.nodes, view.seed, demand_of(view.jobs))


def check_reasons(answer: Unplaced, job: JobView, nodes: NodeTable) -> None:
    """Assert that each shortfall is one: as much asked as the bundle has, no more free than there is."""
    amount = dict(zip(RESOURCES, job.bundle.vector().tolist(), strict=True))
    row = {f"node {node}": n for n, node in enumerate(nodes.ids)}
    assert answer.shortfalls, "refused for no reason"
    assert answer.placed < answer.wanted
    for item in answer.shortfalls:
        assert item.requested > item.free, f"{item} is no shortfall"
        if item.where in row and item.resource in RESOURCES:
            assert item.requested == amount[item.resource]
            assert item.free <= nodes.free[row[item.where], RESOURCES.index(item.resource)]
