"""Small clusters for the tests of orders: whole GPUs, jobs of known length, and who runs where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from policies.balance.equal import Equal
from policies.composed import Composed
from policies.feasibility import Room
from policies.interface import (
    Claim,
    ClusterPlan,
    ClusterSnapshot,
    Grant,
    JobView,
    NodeTable,
    Order,
    Resources,
    Tenant,
    frozen,
)
from policies.place.pack import Pack
from policies.promises import after
from policies.referee import violations


def job(name: str, length: float = float("nan"), *, at: float = 0.0, fewest: int = 1, **more: Any) -> JobView:
    """Build a job of one GPU a worker, of so many seconds whatever its number of workers; NaN: nobody knows."""
    bundle = more.pop("bundle", Resources(gpu=1.0))
    most = more.pop("most", fewest)
    rates = more.pop("rates", {"": frozen([1.0])})
    return JobView(name, at, bundle, fewest, most, work=length, rates=rates, **more)


def gpus(**nodes: int) -> NodeTable:
    """Build nodes of so many GPUs."""
    return NodeTable.of(tuple(nodes), [[0.0, float(num), 0.0] for num in nodes.values()])


def cluster(
    nodes: NodeTable,
    jobs: Sequence[JobView],
    running: Mapping[str, Sequence[tuple[str, int] | str]] | None = None,
    now: float = 0.0,
    tenants: Sequence[Tenant] = (),
) -> ClusterSnapshot:
    """Build a snapshot; ``running`` says on which nodes (and GPUs) the workers of a job are."""
    room, leases = Room(nodes), []
    bundles = {one.id: one.bundle for one in jobs}
    for name, places in (running or {}).items():
        for worker, place in enumerate(places):
            node, devices = (place, ()) if isinstance(place, str) else (place[0], (place[1],))
            room.hold(bundles[name], nodes.ids.index(node), devices)
            leases.append(Grant(name, worker, node, devices))
    return ClusterSnapshot(0, now, 0, room.table(), tuple(jobs), tuple(leases), tenants=tuple(tenants))


def plan_of(order: Order, snapshot: ClusterSnapshot) -> ClusterPlan:
    """Plan with the placement ``pack``; the referee has passed it."""
    plan = Composed(order, Pack(), Equal()).plan(snapshot)
    assert violations(plan, snapshot) == ()
    return plan


def starts(order: Order, snapshot: ClusterSnapshot) -> list[str]:
    """Return the jobs that are granted workers, sorted."""
    return sorted({grant.job for grant in plan_of(order, snapshot).grants})


def ranking(order: Order, snapshot: ClusterSnapshot) -> list[str]:
    """Return the jobs in the order of their turns, refused ones too."""
    return [turn.job.id if isinstance(turn, Claim) else turn.what for turn in order.rank(snapshot)]


def later(snapshot: ClusterSnapshot, plan: ClusterPlan) -> ClusterSnapshot:
    """Return the snapshot once a plan is carried out."""
    kept = tuple(lease for lease in snapshot.leases if lease not in set(plan.revokes))
    return replace(snapshot, nodes=after(plan, snapshot), leases=kept + plan.grants)


def planned(order: Order, snapshot: ClusterSnapshot) -> ClusterSnapshot:
    """Return the snapshot once the plan of an order is carried out."""
    return later(snapshot, plan_of(order, snapshot))


def workers(snapshot: ClusterSnapshot) -> dict[str, int]:
    """Count the workers of every job that has some."""
    return dict(Counter(lease.job for lease in snapshot.leases))


def elastic(name: str, tenant: str = "", most: int = 99, **more: Any) -> JobView:
    """Build a job that can use everything, unless told otherwise."""
    return job(name, tenant=tenant, most=most, **more)


def on(*devices: int) -> list[tuple[str, int]]:
    """Return the places of workers on these GPUs of node a."""
    return [("a", device) for device in devices]
