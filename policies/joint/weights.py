"""How much each job weighs: by its tenant's place in the tree of tenants, and by its priority."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from policies.tables import Floats
from policies.views import JobView, Tenant

STEEPEST = 50.0
"""Priorities further from 0 than this weigh no more."""


def weights(jobs: Sequence[JobView], tenants: Sequence[Tenant]) -> Floats:
    """Return what each job weighs, mean 1; length j.

    A tenant has its weight's part of what its parent has, among the siblings that have jobs; a tenant's jobs divide
    what it has, and each step of priority doubles a job's part. Where a tenant has jobs of its own beside
    those of its children, they count as one more child, which weighs 1.
    """
    steps = [2.0 ** min(max(job.priority, -STEEPEST), STEEPEST) for job in jobs]
    of_tenant: dict[str, list[int]] = {}
    for j, job in enumerate(jobs):
        of_tenant.setdefault(job.tenant, []).append(j)
    part = _parts(sorted(of_tenant), {tenant.name: tenant for tenant in tenants})
    found = np.zeros(len(jobs))
    for name, rows in of_tenant.items():
        total = math.fsum(steps[j] for j in rows)
        for j in rows:
            found[j] = part[name] * steps[j] / total
    return found * (len(jobs) / math.fsum(found)) if len(jobs) else found


def _parts(names: Sequence[str], tenants: dict[str, Tenant]) -> dict[str, float]:
    """Return the part of the whole that each of these tenants' own jobs have."""
    paths = {name: _path(name, tenants) for name in names}
    children: dict[tuple[str, ...], set[str]] = {}
    for path in paths.values():
        for depth in range(len(path)):
            children.setdefault(path[:depth], set()).add(path[depth])
    found = {}
    for name, path in paths.items():
        part = 1.0
        for depth in range(len(path)):
            among = sorted(children[path[:depth]])
            own = 1.0 if depth and path[:depth] in paths.values() else 0.0
            part *= _weight(path[depth], tenants) / (math.fsum(_weight(other, tenants) for other in among) + own)
        below = math.fsum(_weight(other, tenants) for other in sorted(children.get(path, ())))
        found[name] = part / (1.0 + below)
    return found


def _weight(name: str, tenants: dict[str, Tenant]) -> float:
    return tenants[name].weight if name in tenants else 1.0


def _path(name: str, tenants: dict[str, Tenant]) -> tuple[str, ...]:
    """Return the tenants from the top down to this one; a tenant that is its own ancestor is at the top."""
    path = [name]
    while (above := tenants[path[0]].parent if path[0] in tenants else "") and above not in path:
        path.insert(0, above)
    return tuple(path)
