"""The referee: whether a plan may be carried out, with every reason why not.

The loop, the simulator and every test ask the same two questions: ``shortfalls`` (what is missing for
one more bundle?) and ``violations`` (what is wrong with this plan?).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.interface import (
    MEMORY,
    RESOURCES,
    Assignment,
    ClusterPlan,
    ClusterSnapshot,
    Floats,
    Grant,
    NodeTable,
    Resources,
    RoundView,
    Shortfall,
    Unplaced,
)

TOLERANCE = 1e-6
"""Slack for sums of fractional resources, in units of the resource (a byte is never split)."""


def fits(bundle: Floats, free: Floats) -> NDArray[np.bool_]:
    """Say for every row of ``free`` (shape ``(n, 3)``) whether ``bundle`` (shape ``(3,)``) fits in it."""
    return np.asarray((free + TOLERANCE >= bundle).all(axis=1), dtype=np.bool_)


def shortfalls(bundle: Resources, nodes: NodeTable, free: Floats) -> tuple[Shortfall, ...]:
    """Name, for every node where ``bundle`` does not fit, every resource that is short there."""
    wanted = bundle.vector()
    return tuple(
        Shortfall(RESOURCES[r], float(wanted[r]), float(max(free[n, r], 0.0)), f"node {nodes.ids[n]}")
        for n, r in np.argwhere(free + TOLERANCE < wanted)
    )


@singledispatch
def violations(plan: Any, view: Any) -> tuple[str, ...]:
    """Return everything that is wrong with ``plan``; an empty tuple lets it pass.

    A ``ClusterPlan`` is judged on its ``ClusterSnapshot``, an ``Assignment`` (or
    ``Unplaced`` shards) on its ``RoundView``.
    """
    del view
    return (f"a policy must return a ClusterPlan, an Assignment or Unplaced, got {type(plan).__name__}",)


@violations.register
def _cluster_plan(plan: ClusterPlan, snapshot: ClusterSnapshot) -> tuple[str, ...]:
    found: list[str] = []
    if plan.version != snapshot.version:
        found.append(f"the plan is for snapshot {plan.version}, but this is snapshot {snapshot.version}")
    found += _unknown_names(plan, snapshot)
    found += _gangs(plan, snapshot)
    found += _capacity(plan, snapshot)
    return tuple(found)


def _unknown_names(plan: ClusterPlan, snapshot: ClusterSnapshot) -> list[str]:
    nodes, jobs = set(snapshot.nodes.ids), {job.id for job in snapshot.jobs}
    found = []
    for grant in plan.grants:
        if grant.node not in nodes:
            found.append(f"job {grant.job}: worker {grant.worker} is on node {grant.node}, which does not exist")
        if grant.job not in jobs:
            found.append(f"job {grant.job} is granted a worker, but no such job waits")
    found += [f"lease {lease} is revoked, but not held" for lease in plan.revokes if lease not in snapshot.leases]
    known = jobs | {lease.job for lease in snapshot.leases}
    found += [f"job {item.what} is unplaced, but does not exist" for item in plan.unplaced if item.what not in known]
    return found


def _gangs(plan: ClusterPlan, snapshot: ClusterSnapshot) -> list[str]:
    """Each job that holds no lease is granted whole, or is unplaced; a worker is granted once."""
    found = []
    revoked = set(plan.revokes)
    held = Counter(lease.job for lease in snapshot.leases if lease not in revoked)
    cut = {lease.job for lease in revoked}
    granted = Counter(grant.job for grant in plan.grants)
    unplaced = Counter(item.what for item in plan.unplaced)
    for job in snapshot.jobs:
        num = granted[job.id]
        if num and held[job.id]:
            found.append(f"job {job.id} holds leases already, and is granted {num} more")
        elif job.id in cut and 0 < held[job.id] < job.min_workers:
            found.append(f"job {job.id} is left {held[job.id]} workers, its gang is at least {job.min_workers}")
        elif num and unplaced[job.id]:
            found.append(f"job {job.id} is both granted and unplaced")
        elif num and not job.min_workers <= num <= job.max_workers:
            found.append(f"job {job.id}: {num} workers granted, the gang is {job.min_workers} to {job.max_workers}")
        elif not num and not unplaced[job.id] and not held[job.id]:
            found.append(f"job {job.id} is forgotten: neither granted nor unplaced")
    twice = Counter((grant.job, grant.worker) for grant in plan.grants)
    found += [f"job {job}: worker {worker} is granted {num} times" for (job, worker), num in twice.items() if num > 1]
    return found


def _capacity(plan: ClusterPlan, snapshot: ClusterSnapshot) -> list[str]:
    row = {node: n for n, node in enumerate(snapshot.nodes.ids)}
    bundles = {job.id: job.bundle.vector() for job in snapshot.jobs}
    free = snapshot.nodes.free.copy()

    def move(grants: Iterable[Grant], sign: float) -> None:
        for grant in grants:
            if grant.node in row and grant.job in bundles:
                free[row[grant.node]] += sign * bundles[grant.job]

    revoked = set(plan.revokes)
    move((lease for lease in snapshot.leases if lease in revoked), +1.0)
    before = free.copy()
    move(plan.grants, -1.0)
    return [
        f"node {snapshot.nodes.ids[n]}: {RESOURCES[r]} over capacity, "
        f"{before[n, r] - free[n, r]:g} granted, {before[n, r]:g} free"
        for n, r in np.argwhere((free < -TOLERANCE) & (free < before))
    ]


@violations.register
def _assignment(plan: Assignment, view: RoundView) -> tuple[str, ...]:
    worker_of = np.asarray(plan.worker_of)
    num_shards, num_workers = len(view.shards), len(view.workers)
    if worker_of.shape != (num_shards,):
        return (f"worker_of has shape {worker_of.shape}, but there are {num_shards} shards",)
    if not np.issubdtype(worker_of.dtype, np.integer):
        return (f"worker_of must hold whole numbers, got {worker_of.dtype}",)
    found = [
        f"shard {s} is assigned to worker {worker_of[s]}, but workers are 0 to {num_workers - 1}"
        for s in np.flatnonzero((worker_of < 0) | (worker_of >= num_workers))
    ]
    if found:
        return tuple(found)
    given = np.bincount(worker_of, weights=view.shards.bytes, minlength=num_workers)
    limit = view.workers.bundle[:, MEMORY]
    return tuple(
        str(Shortfall("memory", float(given[w]), float(limit[w]), f"worker {view.workers.ids[w]}"))
        for w in np.flatnonzero(given > limit + TOLERANCE)
    )


@violations.register
def _unplaced(plan: Unplaced, view: RoundView) -> tuple[str, ...]:
    """Check that a refusal counts this job's shards, and that each of its reasons is one."""
    found = [f"{item} is no shortfall" for item in plan.shortfalls if not item.requested > item.free]
    if not plan.shortfalls:
        found.append(f"{plan.what}: unplaced for no reason")
    if not plan.placed < plan.wanted == len(view.shards):
        found.append(f"{plan.what}: {plan.placed} of {plan.wanted} fit, but there are {len(view.shards)} shards")
    return tuple(found)
