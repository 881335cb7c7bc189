"""Who belongs to whom: the tree of tenants."""

from __future__ import annotations

from collections.abc import Mapping

from policies.interface import ClusterSnapshot, PolicyError, Tenant


def tenants_of(snapshot: ClusterSnapshot) -> Mapping[str, Tenant]:
    """Return every tenant that is listed, owns a job or is a parent, by name; who is not listed weighs 1.

    Raises
    ------
    PolicyError
        If a tenant is a part of itself, or its weight is not greater than 0.
    """
    found = {tenant.name: tenant for tenant in snapshot.tenants}
    for name in sorted({job.tenant for job in snapshot.jobs} | {tenant.parent for tenant in snapshot.tenants} - {""}):
        found.setdefault(name, Tenant(name))
    for tenant in found.values():
        if not tenant.weight > 0:
            raise PolicyError(f"tenant {tenant.name}: weight must be greater than 0, but got weight={tenant.weight!r}")
        lineage(tenant.name, found)
    return found


def lineage(name: str, tenants: Mapping[str, Tenant]) -> tuple[str, ...]:
    """Return a tenant and all that it is a part of, from itself up."""
    found = [name]
    while parent := tenants[found[-1]].parent:
        if parent in found:
            raise PolicyError(f"tenant {name} is a part of itself: {' -> '.join([*found, parent])}")
        found.append(parent)
    return tuple(found)
