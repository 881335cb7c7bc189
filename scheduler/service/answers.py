"""What clients are told of jobs and tenants: plain data. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from policies.interface import NodeTable
from scheduler.service.journal import Journal
from scheduler.service.orders import Desk
from scheduler.service.records import JobRecord, known
from scheduler.service.registry import Registry
from scheduler.service.turns import Turns
from scheduler.service.waiting import Running, fits_in_s


def summary(record: JobRecord, num_workers: int) -> dict[str, Any]:
    """Return what is told of a job; times are Unix seconds, None before."""
    wishes, (least, most) = record.submission.wishes, record.gang
    return {
        "job": record.id,
        "name": record.submission.name,
        "state": record.state.value,
        "reason": record.reason,
        "tenant": wishes.tenant,
        "user": record.submission.user,
        "priority": wishes.priority,
        "workers": num_workers,
        "min_workers": least,
        "max_workers": most,
        "submitted_s": record.submitted_s,
        "started_s": known(record.started_s),
        "ended_s": known(record.ended_s),
        "deadline_s": known(record.view.deadline_s),
        "rounds": record.heard.rounds,
        "most_rounds": record.heard.most_rounds,
        "loss": record.heard.loss,
        "attempts": record.num_attempts,
        "preemptions": record.preemptions,
        "driver": record.driver if record.num_attempts and not record.submission.is_driven else "",
        "output": record.submission.job.get("output", ""),
        "result": dict(record.result),
    }


def waits(record: JobRecord, turns: Turns, registry: Registry, desk: Desk, now_s: float) -> dict[str, Any]:
    """Return why a job waits, as the last plan has it, and in how many seconds it fits at the earliest."""
    refusal = turns.refusals.get(record.id)
    running = [
        Running(
            turns.watching.left_s(one, now_s), one.view.bundle, [lease.grant for lease in desk.orders(one.id).leases]
        )
        for one in registry.live
        if desk.orders(one.id).leases
    ]
    return {
        "reason": turns.trouble or ("it has just come" if refusal is None else str(refusal)),
        "fits_in_s": known(fits_in_s(record.view, turns.nodes, running)),
    }


def tenants(registry: Registry, journal: Journal, nodes: NodeTable, now_s: float) -> list[dict[str, Any]]:
    """Return every tenant: what it may use, what it uses of the cluster, and what it has used, in resource-hours."""
    used = {row["tenant"]: row for row in journal.rows(USED, (now_s,))}
    capacity = np.maximum(nodes.capacity.sum(axis=0), 1e-12)
    found = []
    for name, record in registry.tenants.items():
        row = used.get(name, dict.fromkeys(("cpu", "gpu", "memory", "cpu_h", "gpu_h", "memory_gib_h"), 0.0))
        mine = [one for one in registry.live if one.tenant == name]
        now = np.array([row["cpu"], row["gpu"], row["memory"]])
        found.append(
            {
                **record.as_json(),
                "jobs": len(mine),
                "running": sum(one.state.value == "running" for one in mine),
                "share": float((now / capacity).max(initial=0.0)),
                **{hours: float(row[hours] or 0.0) for hours in ("cpu_h", "gpu_h", "memory_gib_h")},
            }
        )
    return found


USED = """
SELECT tenant,
    total(CASE WHEN until_s IS NULL THEN cpu END) AS cpu, total(CASE WHEN until_s IS NULL THEN gpu END) AS gpu,
    total(CASE WHEN until_s IS NULL THEN memory END) AS memory,
    total(cpu * (coalesce(until_s, ?1) - since_s)) / 3600 AS cpu_h,
    total(gpu * (coalesce(until_s, ?1) - since_s)) / 3600 AS gpu_h,
    total(memory * (coalesce(until_s, ?1) - since_s)) / 3600 / 1073741824 AS memory_gib_h
FROM leases GROUP BY tenant
"""
