"""Decisions as the journal keeps them: what has changed, what was planned, and why somebody waits. Pure."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from policies.interface import ClusterPlan, ClusterSnapshot, Grant, JobView, NodeTable, Resources, Tenant, frozen
from scheduler.service.records import TenantRecord

MOST_REASONS = 20
"""How many of those that wait have their reasons written down; those behind them wait for them."""


class _Known:
    """Which jobs and leases the rows so far tell of, in the order of the next snapshot as far as it can be foretold."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.leases: list[Grant] = []

    def follow(self, since: Mapping[str, Any]) -> None:
        """Take up what has changed: who is told of comes last, those with leases come first."""
        told = [view["id"] for view in since["jobs"]]
        moved, lost = {*told, *since["gone"]}, set(_grants(since["lost"]))
        self.jobs = [name for name in self.jobs if name not in moved] + told
        self.leases = [one for one in self.leases if one not in lost] + _grants(since["granted"])
        held: dict[str, list[Grant]] = {}
        for lease in self.leases:
            held.setdefault(lease.job, []).append(lease)
        self.jobs = since.get("order") or sorted(self.jobs, key=lambda name: name not in held)
        self.leases = _grants(since["held"]) if "held" in since else [one for mine in held.values() for one in mine]

    def enter(self, revokes: Iterable[Grant], grants: Iterable[Grant]) -> None:
        """Take up what was planned."""
        gone = set(revokes)
        self.leases = [one for one in self.leases if one not in gone] + list(grants)


class DecisionLog:
    """Turns decisions into rows, of which each tells only what the ones before it do not.

    A service that begins anew tells everything once more.
    """

    def __init__(self) -> None:
        self._views: dict[str, JobView] = {}
        self._known = _Known()
        self._tenants: tuple[Tenant, ...] | None = None

    def since(self, snapshot: ClusterSnapshot) -> dict[str, Any]:
        """Return what a snapshot has that the rows so far do not tell; its order where it is another than expected."""
        views = {job.id: job for job in snapshot.jobs}
        before, after = set(self._known.leases), set(snapshot.leases)
        found: dict[str, Any] = {
            "begins": self._tenants is None,
            "jobs": [view_json(job) for name, job in views.items() if self._views.get(name) is not job],
            "gone": [name for name in self._views if name not in views],
            "granted": _lists(one for one in snapshot.leases if one not in before),
            "lost": _lists(one for one in self._known.leases if one not in after),
        }
        if snapshot.tenants != self._tenants:
            found["tenants"] = [TenantRecord(one).as_json() for one in snapshot.tenants]
        self._known.follow(found)
        if self._known.jobs != list(views):
            found["order"] = self._known.jobs = list(views)
        if self._known.leases != list(snapshot.leases):
            self._known.leases = list(snapshot.leases)
            found["held"] = _lists(snapshot.leases)
        self._views, self._tenants = views, snapshot.tenants
        return found

    def enter(self, plan: ClusterPlan) -> dict[str, Any]:
        """Return what was planned."""
        self._known.enter(plan.revokes, plan.grants)
        return {
            "grants": _lists(plan.grants),
            "revokes": _lists(plan.revokes),
            "unplaced": [[one.what, str(one)] for one in plan.unplaced[:MOST_REASONS]],
        }


def snapshots(
    rows: Iterable[Mapping[str, Any]], nodes: Mapping[int, NodeTable]
) -> Iterator[tuple[Mapping[str, Any], ClusterSnapshot]]:
    """Yield each decision's row with the snapshot on which it was made.

    A policy's own memory is not kept: one that has some may answer otherwise.

    Parameters
    ----------
    rows
        Of the journal's ``decisions``, all from the first one on.
    nodes
        The tables by number.
    """
    views: dict[str, JobView] = {}
    known, tenants = _Known(), tuple[Tenant, ...]()
    for row in rows:
        since = json.loads(row["since"])
        if since["begins"]:
            views, known = {}, _Known()
        known.follow(since)
        views |= {view["id"]: view_of(view) for view in since["jobs"]}
        views = {name: views[name] for name in known.jobs}
        if "tenants" in since:
            tenants = tuple(TenantRecord.of_json(one).tenant for one in since["tenants"])
        table, jobs, held = nodes[row["nodes"]], tuple(views.values()), tuple(known.leases)
        yield row, ClusterSnapshot(row["version"], row["at_s"], row["seed"], table, jobs, held, tenants=tenants)
        known.enter(*planned(row))


def planned(row: Mapping[str, Any]) -> tuple[list[Grant], list[Grant]]:
    """Return what a decision took back, and what it granted."""
    return _grants(json.loads(row["revokes"])), _grants(json.loads(row["grants"]))


def _lists(grants: Iterable[Grant]) -> list[list[Any]]:
    return [[one.job, one.worker, one.node, list(one.devices)] for one in grants]


def _grants(found: Sequence[Sequence[Any]]) -> list[Grant]:
    return [Grant(job, worker, node, tuple(devices)) for job, worker, node, devices in found]


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
    return NodeTable.of(**found) if found["ids"] else NodeTable.of([], [])  # lists of no rows have no columns
