"""The referee: whether a plan may be carried out, with every reason why not.

The loop, the simulator and every test ask the same question, ``violations``: what is wrong with this plan?
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import singledispatch
from typing import Any, TypeVar

import numpy as np

from policies.feasibility import TOLERANCE
from policies.plans import Assignment, Call, ClusterPlan, Grant, Shortfall, Unplaced
from policies.tables import MEMORY, RESOURCES, NodeTable, Resources
from policies.views import ClusterSnapshot, JobView, RoundView, Selector

Name = TypeVar("Name")


@singledispatch
def violations(plan: Any, view: Any) -> tuple[str, ...]:
    """Return everything that is wrong with ``plan``; an empty tuple lets it pass.

    A ``ClusterPlan`` is judged on its ``ClusterSnapshot``, an ``Assignment`` (or
    ``Unplaced`` shards), or a ``Call`` for an idle worker, on its ``RoundView``.
    """
    del view
    return (f"a policy must return a ClusterPlan, an Assignment or Unplaced, got {type(plan).__name__}",)


@violations.register
def _cluster_plan(plan: ClusterPlan, snapshot: ClusterSnapshot) -> tuple[str, ...]:
    found: list[str] = []
    if plan.version != snapshot.version:
        found.append(f"the plan is for snapshot {plan.version}, but this is snapshot {snapshot.version}")
    jobs = {job.id: job for job in snapshot.jobs}
    found += _unknown_names(plan, snapshot, jobs)
    found += _gangs(plan, snapshot)
    found += _placing(plan, snapshot, jobs)
    return tuple(found)


def _unknown_names(plan: ClusterPlan, snapshot: ClusterSnapshot, jobs: Mapping[str, JobView]) -> list[str]:
    nodes, found = snapshot.nodes.row_of, []
    for grant in plan.grants:
        if grant.node not in nodes:
            found.append(f"job {grant.job}: worker {grant.worker} is on node {grant.node}, which does not exist")
        if grant.job not in jobs:
            found.append(f"job {grant.job} is granted a worker, but no such job waits")
    leases = set(snapshot.leases) if plan.revokes else set()
    found += [f"lease {lease} is revoked, but not held" for lease in plan.revokes if lease not in leases]
    if strange := [item.what for item in plan.unplaced if item.what not in jobs]:
        known = {lease.job for lease in snapshot.leases}
        found += [f"job {what} is unplaced, but does not exist" for what in strange if what not in known]
    return found


def _gangs(plan: ClusterPlan, snapshot: ClusterSnapshot) -> list[str]:
    """Afterwards each job has its gang whole, or nothing and a reason; a worker is granted once."""
    found = []
    revoked = set(plan.revokes)
    kept = [lease for lease in snapshot.leases if lease not in revoked] if revoked else snapshot.leases
    held, granted = _count(lease.job for lease in kept), _count(grant.job for grant in plan.grants)
    unplaced, losing = {item.what for item in plan.unplaced}, {lease.job for lease in revoked}
    touched = granted.keys() | losing
    for job in snapshot.jobs:
        if job.id not in touched and (job.id in unplaced or job.id in held):
            continue
        num = held[job.id] + granted[job.id]
        if granted[job.id] and job.id in unplaced:
            found.append(f"job {job.id} is both granted and unplaced")
        elif job.id in touched and num:
            if not job.min_workers <= num <= job.max_workers:
                found.append(
                    f"job {job.id}: {granted[job.id]} workers granted and {held[job.id]} kept, "
                    f"the gang is {job.min_workers} to {job.max_workers}"
                )
        elif not num and job.id not in unplaced:
            found.append(f"job {job.id} is forgotten: neither granted nor unplaced")
    twice = _count((grant.job, grant.worker) for grant in (*kept, *plan.grants))
    found += [f"job {job}: worker {worker} is granted {num} times" for (job, worker), num in twice.items() if num > 1]
    return found


def _count(what: Iterable[Name]) -> defaultdict[Name, int]:
    """Count how often each occurs; for the few of a plan, quicker than a ``Counter``."""
    found: defaultdict[Name, int] = defaultdict(int)
    for one in what:
        found[one] += 1
    return found


class _Account:
    """What is free of one node and what is granted of that, in plain numbers: a plan touches few nodes."""

    def __init__(self, nodes: NodeTable, row: int) -> None:
        self._where = f"node {nodes.ids[row]}"
        self._free: list[float] = [*nodes.free[row].tolist(), *nodes.device_free[row].tolist()]
        self._granted = [0.0] * len(self._free)

    def release(self, bundle: Resources, devices: tuple[int, ...]) -> None:
        """Count what is given back."""
        self._add(self._free, bundle, devices)

    def grant(self, bundle: Resources, devices: tuple[int, ...]) -> None:
        """Count what is granted."""
        self._add(self._granted, bundle, devices)

    @staticmethod
    def _add(sums: list[float], bundle: Resources, devices: tuple[int, ...]) -> None:
        for column, amount in enumerate((bundle.cpu, bundle.gpu, bundle.memory)):
            sums[column] += amount
        for device in devices:
            sums[len(RESOURCES) + device] += min(bundle.gpu, 1.0)

    def overdrawn(self) -> list[str]:
        """Say of what there is more granted than free."""
        return [
            f"{self._where}: {RESOURCES[column] if column < len(RESOURCES) else f'GPU {column - len(RESOURCES)}'} "
            f"over capacity, {granted:g} granted, {free:g} free"
            for column, (free, granted) in enumerate(zip(self._free, self._granted, strict=True))
            if granted > max(free + TOLERANCE, 0.0)
        ]


def _placing(plan: ClusterPlan, snapshot: ClusterSnapshot, jobs: Mapping[str, JobView]) -> list[str]:
    """No grant over what is free, on the whole node or on a device, and none on a node with other labels."""
    nodes, rows = snapshot.nodes, snapshot.nodes.row_of
    touched = sorted({rows[lease.node] for lease in (*plan.revokes, *plan.grants) if lease.node in rows})
    accounts = {row: _Account(nodes, row) for row in touched}
    for lease in set(plan.revokes) & set(snapshot.leases) if plan.revokes else ():
        if lease.job in jobs and lease.node in rows:
            accounts[rows[lease.node]].release(jobs[lease.job].bundle, lease.devices)
    found: list[str] = []
    for grant in plan.grants:
        if grant.node not in rows or grant.job not in jobs:
            continue
        job, row = jobs[grant.job], rows[grant.node]
        wrong = _wrong_devices(grant, job, nodes.device_free.shape[1])
        if wrong:
            found.append(wrong)
        if not _has_labels(nodes, row, job.selector):
            found.append(f"job {grant.job}: node {grant.node} has not the labels {dict(job.selector)}")
        accounts[row].grant(job.bundle, () if wrong else grant.devices)
    return found + [over for account in accounts.values() for over in account.overdrawn()]


def _has_labels(nodes: NodeTable, row: int, selector: Selector) -> bool:
    have = {label: nodes.labels[label][row] for label in selector if label in nodes.labels}
    return all(have.get(label, "") in values for label, values in selector.items())


def _wrong_devices(grant: Grant, job: JobView, num_devices: int) -> str:
    """Say what is wrong with the devices of a grant, if anything."""
    wanted = 0 if job.bundle.gpu <= 0 else max(int(job.bundle.gpu), 1)
    devices = grant.devices
    if len(devices) != wanted:
        return f"job {grant.job}: worker {grant.worker} wants {wanted} GPU(s), but is granted {len(devices)}"
    if len(set(devices)) != wanted or not all(0 <= device < num_devices for device in devices):
        return f"job {grant.job}: worker {grant.worker} is granted the GPUs {devices}, of 0 to {num_devices - 1}"
    return ""


@violations.register
def _assignment(plan: Assignment, view: RoundView) -> tuple[str, ...]:
    worker_of = np.asarray(plan.worker_of)
    num_shards, num_workers = len(view.shards), len(view.workers)
    if worker_of.shape != (num_shards,):
        return (f"worker_of has shape {worker_of.shape}, but there are {num_shards} shards",)
    if not np.issubdtype(worker_of.dtype, np.integer):
        return (f"worker_of must hold whole numbers, got {worker_of.dtype}",)
    strange = (worker_of < (-1 if view.pulls else 0)) | (worker_of >= num_workers)
    if strange.any():
        return tuple(
            f"shard {s} is assigned to worker {worker_of[s]}, but workers are 0 to {num_workers - 1}"
            for s in np.flatnonzero(strange)
        )
    mine = worker_of >= 0
    given = np.bincount(worker_of[mine], weights=view.shards.bytes[mine], minlength=num_workers)
    limit = view.workers.bundle[:, MEMORY]
    return tuple(
        str(Shortfall("memory", float(given[w]), float(limit[w]), f"worker {view.workers.ids[w]}"))
        for w in np.flatnonzero(given > limit + TOLERANCE)
    )


@violations.register
def _call(plan: Call, view: RoundView) -> tuple[str, ...]:
    shards = np.asarray(plan.shards)
    if shards.ndim != 1 or (len(shards) and not np.issubdtype(shards.dtype, np.integer)):
        return (f"a call's shards must be a row of whole numbers, got {shards.dtype} of shape {shards.shape}",)
    strange = shards[~np.isin(shards, view.pending)]
    if len(strange):
        return tuple(f"shard {shard} is not pending" for shard in strange)
    if len(np.unique(shards)) < len(shards):
        return ("a shard is given twice in one call",)
    given, limit = float(view.shards.bytes[shards].sum()), float(view.workers.bundle[plan.worker, MEMORY])
    if given > limit + TOLERANCE:
        return (str(Shortfall("memory", given, limit, f"worker {view.workers.ids[plan.worker]}")),)
    return ()


@violations.register
def _unplaced(plan: Unplaced, view: RoundView) -> tuple[str, ...]:
    """Check that a refusal counts this job's shards, and that each of its reasons is one."""
    found = [f"{item} is no shortfall" for item in plan.shortfalls if not item.requested > item.free]
    if not plan.shortfalls:
        found.append(f"{plan.what}: unplaced for no reason")
    if not plan.placed < plan.wanted == len(view.shards):
        found.append(f"{plan.what}: {plan.placed} of {plan.wanted} fit, but there are {len(view.shards)} shards")
    return tuple(found)
