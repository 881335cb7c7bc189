"""Whether a job can ever have its workers, and what is in the way. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from policies.feasibility import TOLERANCE, shortfalls, slots
from policies.interface import RESOURCES, JobView, NodeTable, Shortfall, Tenant, Unplaced
from policies.order.tenancy import lineage
from scheduler.errors import UserError
from scheduler.service.growth import Growth, num_fitting, with_each_type


def refuse_beyond_quotas(view: JobView, tenants: Mapping[str, Tenant]) -> None:
    """Refuse a job that the quota of its tenant, or of one above that, never allows; raises ``UserError``."""
    wants = view.bundle.vector() * view.min_workers
    for name in lineage(view.tenant, tenants):
        quota = tenants[name].quota
        if quota is None or tenants[name].borrows or not (wants > quota.vector() + TOLERANCE).any():
            continue
        lacks = [
            str(Shortfall(resource, wanted, most, f"the quota of tenant {name}"))
            for resource, wanted, most in zip(RESOURCES, wants, quota.vector(), strict=True)
            if wanted > most + TOLERANCE
        ]
        raise UserError(
            f"job {view.id} can never have its {view.min_workers} workers, since tenant {name} does not borrow: "
            f"{'; '.join(lacks)}"
        )


def refuse_too_large(view: JobView, empty: NodeTable, growth: Growth | None) -> None:
    """Refuse a job whose least workers would not fit if it were alone; raises ``UserError``.

    Parameters
    ----------
    growth
        What may be added to the ``empty`` nodes; None if that is not known, and nothing is too large.
    """
    if growth is None or (fitting := num_fitting(view, empty, growth)) == view.min_workers:
        return
    reasons = Unplaced(view.id, fitting, view.min_workers, _closest(view, with_each_type(empty, growth)))
    added = f", and whatever its autoscaler may add (nodes at most: {growth})" if growth.types else ""
    more = "let it add more or larger nodes" if growth.types else "add nodes first"
    raise UserError(
        f"job {reasons}\nit can never have its workers on this cluster, whoever ends{added}: ask for fewer "
        f"(--min-workers) or smaller ones (workers.bundle), or {more}"
    )


def _closest(view: JobView, nodes: NodeTable) -> tuple[Shortfall, ...]:
    """Return what the node lacks that comes closest to having room for a bundle; nothing where one has."""
    if slots(view, nodes).any():
        return ()
    lacks: dict[str, list[Shortfall]] = {}
    for one in shortfalls(view, nodes):
        lacks.setdefault(one.where, []).append(one)
    parts = {where: sum(1 - one.free / one.requested for one in found) for where, found in lacks.items()}
    return tuple(lacks[min(parts, key=lambda where: parts[where])]) if parts else ()
