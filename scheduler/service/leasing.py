"""The service's leases on Ray: placement groups that outlive whoever made them, and are found again by their names."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from ray._raylet import PlacementGroupID
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from policies.interface import ClusterPlan, ClusterSnapshot, Grant, Resources
from scheduler.inventory import bad_nodes
from scheduler.ray_cluster import RayCluster
from scheduler.service.records import Lease

OURS = "service-"
"""How the second part of a group's name begins; those of drivers without a service have none."""

WITHIN_S = 5.0
"""How long a plan's groups may take: one on a node that has just died never comes, and others wait meanwhile."""


class ServiceCluster(RayCluster):
    """Grants and drops the leases of all jobs.

    Attributes
    ----------
    snapshot
        On which the last plan was made.
    applied_s
        What it took to carry it out.
    """

    lifetime: ClassVar[str | None] = "detached"

    def __init__(self, rest: Callable[[Sequence[Grant]], None]) -> None:
        super().__init__(rest=rest)
        self._token = f"{OURS}{secrets.token_hex(3)}"
        self.snapshot: ClusterSnapshot | None = None
        self.applied_s = 0.0

    def apply(self, plan: ClusterPlan, snapshot: ClusterSnapshot, within_s: float = WITHIN_S) -> None:
        """Carry out a plan, as ``RayCluster`` does."""
        began_s = time.perf_counter()
        self.snapshot = snapshot
        try:
            super().apply(plan, snapshot, within_s)
        finally:
            self.applied_s = time.perf_counter() - began_s

    def group_of(self, grant: Grant) -> str:
        """Return the id of a lease's placement group."""
        found: str = self.groups[grant].id.hex()
        return found

    def adopt(self, leases: Iterable[tuple[Lease, Resources]]) -> list[Lease]:
        """Hold the leases of the service before this one whose groups are there, and return those whose are not.

        Groups of a service that nobody knows of are removed.
        """
        there = {
            name: group
            for name, group in placement_group_table().items()
            if group["state"] == "CREATED" and group["name"].partition("/")[2].startswith(OURS)
        }
        lost = []
        for lease, bundle in leases:
            if lease.group in there:
                self.groups[lease.grant] = group_with(lease.group)
                self._bundles[lease.grant] = bundle
                del there[lease.group]
            else:
                lost.append(lease)
        for name in there:
            remove_placement_group(group_with(name))
        return lost

    def bad_nodes(self) -> set[str]:
        """Return the nodes on which nobody is to work any more."""
        return bad_nodes()


def group_with(name: str) -> PlacementGroup:
    """Return the handle of a placement group by its id."""
    return PlacementGroup(PlacementGroupID(bytes.fromhex(name)))
