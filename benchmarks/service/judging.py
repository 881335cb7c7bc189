"""What a journal tells of fairness, and of jobs that waited for no reason."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from benchmarks.service.twenty import GANG, SLOTS, WEIGHTS
from policies.feasibility import Room, slots
from scheduler.service.client import ServiceClient
from scheduler.service.decisions import nodes_of, snapshots


def shares(client: ServiceClient, found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what each tenant had, over what its weight gives it, while all tenants wanted more than that.

    ``found`` has the jobs' states at the end, by id.
    """
    leases = client.ask("rows", "SELECT job, tenant, since_s, until_s FROM leases WHERE until_s IS NOT NULL")
    leases = [row for row in leases if row["job"] in found]
    total, had, lasted_s = sum(WEIGHTS.values()), dict.fromkeys(WEIGHTS, 0.0), 0.0
    edges = sorted({row[edge] for row in leases for edge in ("since_s", "until_s")})
    for since_s, until_s in itertools.pairwise(edges):
        at_s = (since_s + until_s) / 2
        wants = dict.fromkeys(WEIGHTS, 0.0)
        for one in found.values():
            if one["name"] != GANG and one["submitted_s"] <= at_s < one["ended_s"]:
                wants[one["tenant"]] += one["max_workers"]
        held = {t: sum(r["since_s"] <= at_s < r["until_s"] for r in leases if r["tenant"] == t) for t in WEIGHTS}
        full = sum(held.values()) >= SLOTS
        if full and all(wants[tenant] > SLOTS * weight / total for tenant, weight in WEIGHTS.items()):
            lasted_s += until_s - since_s
            for tenant in WEIGHTS:
                had[tenant] += held[tenant] * (until_s - since_s)
    sums = sum(had.values()) or 1.0
    return {
        "contended_s": lasted_s,
        "share_over_weight": {t: had[t] / sums / (weight / total) for t, weight in WEIGHTS.items()},
    }


def waited_though_fitting(client: ServiceClient, since_s: float) -> list[str]:
    """Return the jobs that a decision left waiting although their gangs fitted into what it left free, and why."""
    rows = client.ask("rows", "SELECT * FROM decisions ORDER BY number")
    tables = {r["id"]: nodes_of(json.loads(r["nodes"])) for r in client.ask("rows", "SELECT id, nodes FROM nodes")}
    told = []
    for row, snapshot in snapshots(rows, tables):
        views, room = {view.id: view for view in snapshot.jobs}, Room(snapshot.nodes)
        for sign, grants in ((-1, json.loads(row["revokes"])), (1, json.loads(row["grants"]))):
            for name, _, node, devices in grants:
                move = room.hold if sign > 0 else room.release
                move(views[name].bundle, snapshot.nodes.row_of[node], devices)
        for name, reason in json.loads(row["unplaced"]) if row["at_s"] >= since_s else ():
            fitting = name in views and slots(views[name], room.table()).sum() >= views[name].min_workers
            if fitting and "quota" not in reason and "reserv" not in reason:
                told.append(f"{name}: {reason}")
    return told
