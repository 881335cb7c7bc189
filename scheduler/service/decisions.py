"""Decisions as the journal keeps them: what has changed, what was planned, and why somebody waits. Pure."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from policies.interface import ClusterPlan, ClusterSnapshot, Grant, JobView, NodeTable, Resources, Tenant, frozen
from scheduler.service.records import TenantRecord

MOST_REASONS = 20
"""How many of those that wait have their reasons written down; those behind them wait for them."""


class DecisionLog:
    """Turns decisions into rows, of which each tells only what the ones before it do not.

    A service that begins anew tells everything once more.
    """

    def __init__(self) -> None:
        self._views: dict[str, JobView] = {}
        self._leases: set[Grant] = set()
        self._tenants: tuple[Tenant, ...] | None = None

    def since(self, snapshot: ClusterSnapshot) -> dict[str, Any]:
        """Return what a snapshot has that the rows so far do not tell."""
        views = {job.id: job for job in snapshot.jobs}
        leases = set(snapshot.leases)
        found: dict[str, Any] = {
            "begins": self._tenants is None,
            "jobs": [view_json(job) for name, job in views.items() if self._views.get(name) is not job],
            "gone": [name for name in self._views if name not in views],
            "granted": [list(vars(one).values()) for one in sorted(leases - self._leases, key=_by_worker)],
            "lost": [list(vars(one).values()) for one in sorted(self._leases - leases, key=_by_worker)],
        }
        if snapshot.tenants != self._tenants:
            found["tenants"] = [TenantRecord(one).as_json() for one in snapshot.tenants]
        self._views, self._leases, self._tenants = views, leases, snapshot.tenants
        return found

    def enter(self, plan: ClusterPlan) -> dict[str, Any]:
        """Return what was planned."""
        self._leases = (self._leases - set(plan.revokes)) | set(plan.grants)
        return {
            "grants": [list(vars(one).values()) for one in plan.grants],
            "revokes": [list(vars(one).values()) for one in plan.revokes],
            "unplaced": [[one.what, str(one)] for one in plan.unplaced[:MOST_REASONS]],
        }


def snapshots(
    rows: Sequence[Mapping[str, Any]], nodes: Mapping[int, NodeTable]
) -> Iterator[tuple[Mapping[str, Any], ClusterSnapshot]]:
    """Yield each decision's row with the snapshot on which it was made; ``nodes`` are the tables by number.

    A policy's own memory is not kept: one that has some may answer otherwise.
    """
    views: dict[str, JobView] = {}
    leases: set[Grant] = set()
    tenants: tuple[Tenant, ...] = ()
    for row in rows:
        since = json.loads(row["since"])
        if since["begins"]:
            views, leases = {}, set()
        views |= {view["id"]: view_of(view) for view in since["jobs"]}
        leases = (leases - set(_grants(since["lost"]))) | set(_grants(since["granted"]))
        if "tenants" in since:
            tenants = tuple(TenantRecord.of_json(one).tenant for one in since["tenants"])
        views = {name: view for name, view in views.items() if name not in since["gone"]}
        jobs = tuple(views.values())
        held = tuple(sorted((one for one in leases if one.job in views), key=_by_worker))
        table = nodes[row["nodes"]]
        yield row, ClusterSnapshot(row["version"], row["at_s"], row["seed"], table, jobs, held, tenants=tenants)
        leases = (leases - set(_grants(json.loads(row["revokes"])))) | set(_grants(json.loads(row["grants"])))


def _grants(found: Sequence[Sequence[Any]]) -> list[Grant]:
    return [Grant(job, worker, node, tuple(devices)) for job, worker, node, devices in found]


def _by_worker(grant: Grant) -> tuple[str, int, str]:
    return grant.job, grant.worker, grant.node


def view_json(view: JobView) -> dict[str, Any]:
    """Return a job as plain data; what is not known, or endless, is left out."""
    found = {one.name: getattr(view, one.name) for one in fields(view)}
    found["bundle"] = [view.bundle.cpu, view.bundle.gpu, view.bundle.memory]
    found["rates"] = {kind: np.asarray(rates).tolist() for kind, rates in view.rates.items()}
    found["selector"] = {label: list(values) for label, values in view.selector.items()}
    found["resident"] = dict(view.resident)
    return {name: one for name, one in found.items() if not (isinstance(one, float) and not math.isfinite(one))}


def view_of(found: Mapping[str, Any]) -> JobView:
    """Return what ``view_json`` was made from."""
    made = dict(found)
    made["bundle"] = Resources(*made["bundle"])
    made["rates"] = {kind: frozen(rates) for kind, rates in made["rates"].items()}
    made["selector"] = {label: tuple(values) for label, values in made["selector"].items()}
    return JobView(**made)


def nodes_json(nodes: NodeTable) -> tuple[str, dict[str, Any]]:
    """Return nodes as plain data, and its digest."""
    found = {
        "ids": list(nodes.ids),
        "capacity": nodes.capacity.tolist(),
        "free": nodes.free.tolist(),
        "device_free": nodes.device_free.tolist(),
        "gpu_leases": nodes.gpu_leases.tolist(),
        "numeric_class": list(nodes.numeric_class),
        "kinds": list(nodes.kinds),
        "s_per_byte": nodes.s_per_byte.tolist(),
        "price_per_hour": nodes.price_per_hour.tolist(),
        "labels": {label: list(values) for label, values in nodes.labels.items()},
    }
    return hashlib.sha256(json.dumps(found).encode()).hexdigest(), found


def nodes_of(found: Mapping[str, Any]) -> NodeTable:
    """Return what ``nodes_json`` was made from."""
    return NodeTable.of(**found)
