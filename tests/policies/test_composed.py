"""What a composition does with the ranking of an order: who stays, who is evicted, who grows, who is refused why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from policies.balance.equal import Equal
from policies.composed import Composed, _Turns
from policies.feasibility import Room, slots
from policies.interface import (
    Claim,
    ClusterPlan,
    ClusterSnapshot,
    Grant,
    JobView,
    NodeTable,
    Order,
    Reservations,
    Resources,
    Shortfall,
    Slot,
    Unplaced,
)
from policies.order.fair_share import FairShare
from policies.order.fifo_backfill import FifoBackfill
from policies.place.pack import Pack
from policies.place.spread import Spread
from policies.promises import after
from policies.referee import violations
from policies.strategies import cluster_snapshots, crowded_snapshots
from policies.testing import PolicyConformance


class Ranked(Order):
    """A preemptive order that ranks by priority, the highest first, with as many workers as it was told."""

    name = "ranked"
    source = "our own"
    preemptive = True

    def __init__(self, most: Mapping[str, int] | None = None, blocks: bool = False) -> None:
        self.most = most or {}
        self.blocking = blocks

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim | Unplaced, ...]:
        jobs = sorted(snapshot.jobs, key=lambda job: (-job.priority, job.id))
        return tuple(Claim(job, job.min_workers, self.most.get(job.id, job.max_workers)) for job in jobs)


class Refuses(Ranked):
    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim | Unplaced, ...]:
        reasons = (Shortfall("luck", 1.0, 0.0, "here"),)
        return tuple(Unplaced(job.id, 0, 1, reasons) for job in snapshot.jobs)


def gpus(**nodes: int) -> NodeTable:
    return NodeTable.of(tuple(nodes), [[0.0, float(num), 0.0] for num in nodes.values()])


def job(name: str, priority: float, fewest: int = 1, most: int = 0, gpu: float = 1.0) -> JobView:
    return JobView(name, 0.0, Resources(gpu=gpu), fewest, most or fewest, priority=priority)


def cluster(nodes: NodeTable, jobs: Sequence[JobView], running: Mapping[str, str]) -> ClusterSnapshot:
    """Let jobs run: for each a text such as ``a0 b1``, node and GPU of every worker."""
    room, leases = Room(nodes), []
    bundles = {one.id: one.bundle for one in jobs}
    for name, places in running.items():
        for worker, place in enumerate(places.split()):
            devices = tuple(int(digit) for digit in place[1:])
            room.hold(bundles[name], nodes.ids.index(place[0]), devices)
            leases.append(Grant(name, worker, place[0], devices))
    return ClusterSnapshot(4, 9.0, 0, room.table(), tuple(jobs), tuple(leases))


def plan_of(order: Order, snapshot: ClusterSnapshot) -> ClusterPlan:
    plan = Composed(order, Pack(), Equal()).plan(snapshot)
    assert violations(plan, snapshot) == ()
    return plan


def changes(plan: ClusterPlan) -> tuple[list[str], list[str], list[str]]:
    """Say what is granted and revoked, as ``job.worker@node``, and who is unplaced."""
    granted, revoked = (
        sorted(f"{lease.job}.{lease.worker}@{lease.node}" for lease in leases) for leases in (plan.grants, plan.revokes)
    )
    return granted, revoked, sorted(item.what for item in plan.unplaced)


def test_nobody_is_moved_for_a_job_that_fits_beside() -> None:
    """Packing would like the fullest node, on which a job runs that is ranked behind."""
    jobs = [job("new", 9.0, gpu=2.0), job("old", 1.0, fewest=2)]
    for places in ("a0 a1", "b0 b1"):
        snapshot = cluster(gpus(a=2, b=2), jobs, {"old": places})
        other = "b" if places[0] == "a" else "a"
        assert changes(plan_of(Ranked(), snapshot)) == ([f"new.0@{other}"], [], [])


def test_the_last_ranked_is_evicted_and_no_more_than_it_takes() -> None:
    jobs = [job("new", 9.0), job("x", 3.0), job("y", 2.0), job("z", 1.0)]
    snapshot = cluster(gpus(a=1, b=1, c=1), jobs, {"x": "c0", "y": "b0", "z": "a0"})
    assert changes(plan_of(Ranked(), snapshot)) == (["new.0@a"], ["z.0@a"], ["z"])


def test_who_was_evicted_for_nothing_stays() -> None:
    """The last ranked does not make room for a job of two GPUs; the one before it does."""
    jobs = [job("new", 9.0, gpu=2.0), job("pair", 2.0, fewest=2), job("single", 1.0)]
    snapshot = cluster(gpus(a=2, b=1), jobs, {"pair": "a0 a1", "single": "b0"})
    assert changes(plan_of(Ranked(), snapshot)) == (["new.0@a"], ["pair.0@a", "pair.1@a"], ["pair"])


def test_a_job_before_the_newcomer_is_never_evicted() -> None:
    jobs = [job("first", 9.0), job("new", 5.0), job("last", 1.0)]
    snapshot = cluster(gpus(a=1, b=1), jobs, {"first": "a0", "last": "b0"})
    assert changes(plan_of(Ranked(), snapshot)) == (["new.0@b"], ["last.0@b"], ["last"])
    alone = cluster(gpus(a=1), jobs[:2], {"first": "a0"})
    plan = plan_of(Ranked(), alone)
    assert changes(plan) == ([], [], ["new"])
    assert [str(reason) for reason in plan.unplaced[0].shortfalls] == ["node a: gpu 1 requested, 0 free"]


def test_nobody_is_evicted_for_a_job_that_does_not_fit_even_then() -> None:
    jobs = [job("giant", 9.0, fewest=3), job("last", 1.0)]
    snapshot = cluster(gpus(a=1, b=1), jobs, {"last": "a0"})
    assert changes(plan_of(Ranked(), snapshot)) == ([], [], ["giant"])


def test_who_loses_its_nodes_moves_if_there_are_others() -> None:
    """The newcomer fits on node a only; the job there fits on b, which a third job leaves."""
    jobs = [job("new", 9.0, gpu=2.0), job("moves", 5.0), job("last", 1.0)]
    snapshot = cluster(gpus(a=2, b=1), jobs, {"moves": "a0", "last": "b0"})
    assert changes(plan_of(Ranked(), snapshot)) == (
        ["moves.0@b", "new.0@a"],
        ["last.0@b", "moves.0@a"],
        ["last"],
    )


def test_a_job_that_can_do_with_fewer_workers_shrinks_instead() -> None:
    jobs = [job("new", 9.0), job("elastic", 1.0, fewest=1, most=3)]
    snapshot = cluster(gpus(a=1, b=1, c=1), jobs, {"elastic": "a0 b0 c0"})
    granted, revoked, unplaced = changes(plan_of(Ranked(), snapshot))
    assert (len(granted), len(revoked), unplaced) == (1, 1, [])


def test_nobody_is_evicted_for_another_to_grow() -> None:
    jobs = [job("grows", 9.0, fewest=1, most=3), job("last", 1.0)]
    snapshot = cluster(gpus(a=1, b=1, c=1), jobs, {"grows": "b0", "last": "a0"})
    assert changes(plan_of(Ranked(), snapshot)) == (["grows.1@c"], [], [])


class Yields(Ranked):
    """Ranks by priority; the claims of jobs with less than 5 yield."""

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim | Unplaced, ...]:
        claims = (claim for claim in super().rank(snapshot) if isinstance(claim, Claim))
        return tuple(replace(claim, yields=claim.job.priority < 5.0) for claim in claims)


def test_who_yields_makes_room_for_growth() -> None:
    jobs = [job("grows", 9.0, fewest=1, most=3), job("last", 1.0)]
    snapshot = cluster(gpus(a=1, b=1, c=1), jobs, {"grows": "b0", "last": "a0"})
    assert changes(plan_of(Yields(), snapshot)) == (["grows.1@c", "grows.2@a"], ["last.0@a"], ["last"])


def test_who_yields_keeps_what_is_left_to_it() -> None:
    jobs = [job("grows", 9.0, fewest=1, most=2, gpu=2.0), job("last", 1.0)]
    snapshot = cluster(gpus(a=1, b=2), jobs, {"grows": "b01", "last": "a0"})
    assert changes(plan_of(Yields(), snapshot)) == ([], [], [])


def test_who_yields_holds_what_it_gets_back_once() -> None:
    jobs = [job("yields", 2.0), job("new", 1.0)]
    assert changes(plan_of(Yields(), cluster(gpus(a=2), jobs, {"yields": "a0"}))) == (["new.0@a"], [], [])


def test_surplus_workers_go_before_anybody_is_placed() -> None:
    """The first grows by what the last, which is to have fewer, gives back."""
    jobs = [job("first", 9.0, fewest=1, most=3), job("last", 1.0, fewest=1, most=4)]
    snapshot = cluster(gpus(a=4), jobs, {"first": "a0", "last": "a1 a2 a3"})
    plan = plan_of(Ranked({"last": 1}), snapshot)
    assert changes(plan) == (["first.1@a", "first.2@a"], ["last.1@a", "last.2@a"], [])


def test_new_workers_get_the_lowest_free_numbers() -> None:
    one = job("j", 1.0, fewest=1, most=4)
    snapshot = cluster(gpus(a=4), [one], {"j": "a0 a1"})
    leases = tuple(replace(lease, worker=number) for lease, number in zip(snapshot.leases, (1, 3), strict=True))
    plan = plan_of(Ranked(), replace(snapshot, leases=leases))
    assert [(grant.worker, grant.devices) for grant in plan.grants] == [(0, (2,)), (2, (3,))]


def test_a_node_that_is_gone_costs_a_gang_its_leases_or_its_place() -> None:
    one = job("j", 1.0, fewest=2)
    snapshot = cluster(gpus(a=1, b=1, c=1), [one], {"j": "a0 b0"})
    without_b = replace(snapshot, nodes=snapshot.nodes.take([0, 2]))
    assert changes(plan_of(Ranked(), without_b)) == (["j.1@c"], ["j.1@b"], [])
    without_both = replace(snapshot, nodes=snapshot.nodes.take([0]))
    assert changes(plan_of(Ranked(), without_both)) == ([], ["j.0@a", "j.1@b"], ["j"])


def test_behind_a_blocked_job_those_who_run_go_on_and_do_not_grow() -> None:
    jobs = [job("giant", 9.0, fewest=4), job("runs", 5.0, fewest=1, most=2), job("waits", 1.0)]
    snapshot = cluster(gpus(a=3), jobs, {"runs": "a0"})
    plan = plan_of(Ranked(blocks=True), snapshot)
    assert changes(plan) == ([], [], ["giant", "waits"])
    assert [str(reason) for reason in plan.unplaced[1].shortfalls] == ["waits behind job giant"]


def test_a_running_job_that_the_order_refuses_is_revoked() -> None:
    snapshot = cluster(gpus(a=1), [job("j", 1.0)], {"j": "a0"})
    assert changes(plan_of(Refuses(), snapshot)) == ([], ["j.0@a"], ["j"])


def test_leases_of_jobs_that_are_unknown_are_left_alone() -> None:
    snapshot = cluster(gpus(a=1), [job("gone", 1.0)], {"gone": "a0"})
    snapshot = replace(snapshot, jobs=(job("new", 9.0),))
    assert changes(plan_of(Ranked(), snapshot)) == ([], [], ["new"])


def test_a_placement_that_refuses_what_fits_evicts_nobody() -> None:
    class Picky(Pack):
        def place(self, claim: Claim, view: Any, memo: Any = None) -> Any:
            return Unplaced(claim.job.id, 0, claim.min_workers, (Shortfall("luck", 1.0, 0.0, "here"),))

    snapshot = cluster(gpus(a=1), [job("new", 9.0), job("last", 1.0)], {"last": "a0"})
    plan = Composed(Ranked(), Picky(), Equal()).plan(snapshot)
    assert changes(plan) == ([], [], ["new"])


class Counts(Pack):
    """Counts how often it is asked."""

    calls = 0

    def place(self, claim: Claim, view: Any, memo: Any = None) -> Any:
        self.calls += 1
        return super().place(claim, view, memo)


@pytest.mark.parametrize("gpu", [1.0, 2.0])
def test_equal_jobs_are_refused_without_asking_again(gpu: float) -> None:
    """Nothing free at all, or one GPU where two are asked for: ten thousand refusals are one, or none."""
    nodes = gpus(a=1, b=2) if gpu > 1 else gpus(a=0)
    jobs = tuple(job(f"j{number}", 0.0, fewest=2, gpu=gpu) for number in range(10_000))
    place = Counts()
    plan = Composed(Ranked(), place, Equal()).plan(ClusterSnapshot(0, 0.0, 0, nodes, jobs))
    assert len(plan.unplaced) == 10_000
    assert place.calls == (gpu > 1)
    assert {item.what for item in plan.unplaced} == {one.id for one in jobs}
    assert all(item.shortfalls for item in plan.unplaced)


class Keeps(Reservations):
    """Keeps node a for whoever is blocked, and writes down what it is told."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def start(self, claim: Claim, slots: tuple[Slot, ...]) -> None:
        self.log.append(f"{claim.job.id} starts on {[slot.node for slot in slots]}")

    def reserve(self, claim: Claim) -> None:
        self.log.append(f"{claim.job.id} waits")

    def left(self, claim: Claim, nodes: NodeTable) -> NodeTable | None:
        if claim.job.id == "unwanted":
            return None
        free, devices = nodes.free.copy(), nodes.device_free.copy()
        free[0], devices[0] = 0.0, 0.0
        return replace(nodes, free=free, device_free=devices)


class Reserving(Ranked):
    preemptive = False

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def reservations(self, snapshot: ClusterSnapshot) -> Reservations:
        return Keeps(self.log)


def test_who_overtakes_gets_what_is_not_reserved() -> None:
    order = Reserving()
    jobs = [
        job("before", 9.0),
        job("giant", 8.0, fewest=9),
        job("unwanted", 7.0),
        job("beside", 6.0),
        job("late", 5.0),
    ]
    plan = plan_of(order, cluster(gpus(a=2, b=1), jobs, {}))
    assert changes(plan) == (["before.0@a", "beside.0@b"], [], ["giant", "late", "unwanted"])
    assert order.log == [
        "before starts on [0]",
        "giant waits",
        "unwanted waits",
        "beside starts on [1]",
        "late waits",
    ]
    assert [str(reason) for reason in plan.unplaced[-1].shortfalls] == ["waits behind job giant"]


class TestPreemptive(PolicyConformance):
    def policy(self) -> Composed:
        return Composed(Ranked(), Pack(), Equal())


class TestPreemptiveBlocking(PolicyConformance):
    def policy(self) -> Composed:
        return Composed(Ranked(blocks=True), Spread(), Equal())


@settings(max_examples=200, deadline=None)
@given(snapshot=cluster_snapshots(max_jobs=7))
def test_a_job_waits_only_for_those_before_it(snapshot: ClusterSnapshot) -> None:
    """Take away all that comes later: it still would not fit."""
    plan = plan_of(Ranked(), snapshot)
    rank = {turn.job.id: place for place, turn in enumerate(Ranked().rank(snapshot))}
    bundles = {one.id: one.bundle for one in snapshot.jobs}
    nodes = after(plan, snapshot)
    revoked = set(plan.revokes)
    there = [lease for lease in snapshot.leases if lease not in revoked] + list(plan.grants)
    for item in plan.unplaced:
        one = next(one for one in snapshot.jobs if one.id == item.what)
        room = Room(nodes)
        for lease in there:
            if rank[lease.job] > rank[one.id]:
                room.release(bundles[lease.job], nodes.ids.index(lease.node), lease.devices)
        assert slots(one, room.table()).sum() < one.min_workers


@settings(max_examples=200, deadline=None)
@given(snapshot=cluster_snapshots(max_jobs=7))
def test_nobody_is_revoked_without_need(snapshot: ClusterSnapshot) -> None:
    """Only where somebody before it gets workers; and what was revoked could not have stayed as it was."""
    plan = plan_of(Ranked(), snapshot)
    rank = {turn.job.id: place for place, turn in enumerate(Ranked().rank(snapshot))}
    first = min((rank[grant.job] for grant in plan.grants), default=len(rank))
    assert all(rank[lease.job] > first for lease in plan.revokes)
    bundles = {one.id: one.bundle for one in snapshot.jobs}
    workers = Counter(lease.job for lease in [*snapshot.leases, *plan.grants])
    workers.subtract(lease.job for lease in plan.revokes)
    room = Room(after(plan, snapshot))
    for lease in plan.revokes:
        one = next(one for one in snapshot.jobs if one.id == lease.job)
        if workers[one.id] >= one.min_workers and workers[one.id] < one.max_workers:
            row = room.row(lease.node)
            assert row is not None
            assert not room.has(bundles[lease.job], row, lease.devices), "it shrank, although its place is free"


@settings(max_examples=200)
@given(snapshot=crowded_snapshots() | cluster_snapshots())
def test_a_refusal_that_is_had_from_an_equal_claim_is_the_one_that_would_be_found(snapshot: ClusterSnapshot) -> None:
    for order in (Ranked(), FairShare(), FifoBackfill()):
        policy = Composed(order, Spread(), Equal())
        quick = policy.plan(snapshot)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_Turns, "_as_before", lambda self, rest: None)
            assert quick == policy.plan(snapshot)
