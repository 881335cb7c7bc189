"""How much each job weighs: by its tenant's place in the tree of tenants, and by its priority."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from policies.order.tenancy import lineage, tenants_of
from policies.tables import Floats
from policies.views import ClusterSnapshot, JobView

STEEPEST = 50.0
"""Priorities further from 0 than this weigh no more."""


def weights(jobs: Sequence[JobView], snapshot: ClusterSnapshot) -> Floats:
    """Return what each of ``jobs`` weighs, mean 1; length j.

    A tenant has its weight's part of what its parent has, among the siblings that have jobs. A tenant's jobs divide
    what it has, and each step of priority doubles a job's part. Where a tenant has jobs of its own beside those of its
    children, they count as one more child, of weight 1.

    Raises
    ------
    PolicyError
        If a tenant is a part of itself, or its weight is not greater than 0.
    """
    steps = [2.0 ** min(max(job.priority, -STEEPEST), STEEPEST) for job in jobs]
    rows_of: dict[str, list[int]] = {}
    for j, job in enumerate(jobs):
        rows_of.setdefault(job.tenant, []).append(j)
    part, found = _parts(sorted(rows_of), snapshot), np.zeros(len(jobs))
    for name, rows in rows_of.items():
        total = math.fsum(steps[j] for j in rows)
        found[rows] = [part[name] * steps[j] / total for j in rows]
    return found * (len(jobs) / math.fsum(found)) if len(jobs) else found


def _parts(names: Sequence[str], snapshot: ClusterSnapshot) -> dict[str, float]:
    """Return which part of everything the jobs of each of these tenants have."""
    tenants = tenants_of(snapshot)
    paths = {name: lineage(name, tenants)[::-1] for name in names}
    owners = set(paths.values())
    children: dict[tuple[str, ...], set[str]] = {}
    for path in paths.values():
        for depth in range(len(path)):
            children.setdefault(path[:depth], set()).add(path[depth])

    def together(path: tuple[str, ...]) -> float:
        return math.fsum([float(path in owners), *(tenants[child].weight for child in children.get(path, ()))])

    found = {}
    for name, path in paths.items():
        part = 1 / together(path)
        for depth in range(len(path)):
            part *= tenants[path[depth]].weight / together(path[:depth])
        found[name] = part
    return found
