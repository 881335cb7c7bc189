"""Whether a job can ever have its workers, and what is in the way. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from policies.feasibility import TOLERANCE, shortfalls, slots
from policies.interface import RESOURCES, JobView, NodeTable, Shortfall, Tenant, Unplaced
from policies.order.tenancy import lineage
from scheduler.errors import UserError


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


def num_fitting(view: JobView, empty: NodeTable) -> int:
    """Count how many of a job's least workers fit on nodes that nobody uses."""
    return int(min(slots(view, empty).sum(), view.min_workers))


def too_large(view: JobView, empty: NodeTable) -> str:
    """Return the refusal of a job whose least workers do not fit on nodes that nobody uses."""
    reasons = Unplaced(view.id, num_fitting(view, empty), view.min_workers, _closest(view, empty))
    return (
        f"job {reasons}\nit can never have its workers on this cluster, whoever ends: ask for fewer "
        "(--min-workers) or smaller ones (workers.bundle), or add nodes first"
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
