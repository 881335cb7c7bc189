"""The cluster on Ray: leases are placement groups of one bundle, pinned to the node that the policy chose."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from policies.interface import ClusterPlan, ClusterSnapshot, Floats, Grant, NodeTable, Resources
from scheduler.inventory import LogicalView, leaving_nodes, logical_views, node_table
from scheduler.loop import StalePlanError

NODE_ID_LABEL = "ray.io/node-id"
LEASE_TIMEOUT_S = 20.0


class RayCluster:
    """Grants and drops leases on the connected Ray cluster.

    Parameters
    ----------
    began_s
        The moment, as ``time.time()`` tells it, from which its clock counts.
    rest
        Called with the leases that a plan takes back, before they are gone: their actors are to leave.

    Attributes
    ----------
    groups
        The placement group of every lease that is held.
    lifetime
        Of the groups: None lets them end with this process.
    """

    lifetime: ClassVar[str | None] = None

    def __init__(self, began_s: float = 0.0, rest: Callable[[Sequence[Grant]], None] = lambda _: None) -> None:
        self._began_s, self._rest = began_s, rest
        self._token = secrets.token_hex(3)  # others may run jobs of the same name
        self.groups: dict[Grant, PlacementGroup] = {}
        self._bundles: dict[Grant, Resources] = {}
        self._num_reserved: Counter[tuple[str, int]] = Counter()

    def observe(self) -> NodeTable:
        """Return every living node with what is free now; what has just been granted here may not show there yet.

        Nothing is free on a node that is to go.
        """
        held: dict[str, Floats] = {}
        for grant, bundle in self._bundles.items():
            held[grant.node] = held.get(grant.node, 0.0) + bundle.vector()
        leaving = leaving_nodes()
        views = [replace(view, free=(0.0, 0.0, 0.0)) if view.id in leaving else view for view in logical_views()]
        return node_table([_without(view, held[view.id]) if view.id in held else view for view in views])

    def now_s(self) -> float:
        """Return the wall clock, in seconds since ``began_s``."""
        return time.time() - self._began_s

    def apply(self, plan: ClusterPlan, snapshot: ClusterSnapshot, within_s: float = LEASE_TIMEOUT_S) -> None:
        """Create the groups of all grants; drop them all and raise ``StalePlanError`` if one cannot be had in time."""
        if plan.revokes:
            self._rest(plan.revokes)
        for lease in plan.revokes:
            self.release(lease)
        bundles = {job.id: job.bundle for job in snapshot.jobs}
        for grant in plan.grants:
            self.groups[grant] = self._reserve(grant, bundles[grant.job])
            self._bundles[grant] = bundles[grant.job]
        deadline = time.monotonic() + within_s
        for grant in plan.grants:
            if not self.groups[grant].wait(max(deadline - time.monotonic(), 0.0)):
                for other in plan.grants:
                    self.release(other)
                missing = f"node {grant.node} did not give worker {grant.worker} of {grant.job} its bundle"
                raise StalePlanError(missing, plan.revokes)

    def release(self, lease: Grant) -> None:
        """Give a lease's resources back; what runs there ends."""
        self._bundles.pop(lease, None)
        group = self.groups.pop(lease, None)
        if group is not None:
            remove_placement_group(group)

    def release_all(self) -> None:
        """Give back everything that is held."""
        for lease in list(self.groups):
            self.release(lease)

    def _reserve(self, grant: Grant, bundle: Resources) -> PlacementGroup:
        self._num_reserved[grant.job, grant.worker] += 1  # a name must not come again while the last is being removed
        again = times(self._num_reserved[grant.job, grant.worker])
        group: PlacementGroup = placement_group(
            [ray_resources(bundle)],
            name=f"apportion:{grant.job}/{self._token}:{grant.worker}{again}",
            lifetime=self.lifetime,
            bundle_label_selector=[{NODE_ID_LABEL: grant.node}],
        )
        return group


def _without(view: LogicalView, held: Floats) -> LogicalView:
    """Return a node of which no more is free than what we leave of it."""
    cpu, gpu, memory = np.minimum(view.free, np.maximum(np.array(view.capacity) - held, 0.0)).tolist()
    return replace(view, free=(cpu, gpu, memory))


def times(number: int) -> str:
    """Return what tells a name from those before it: nothing the first time, then ``.2``, ``.3`` and so on."""
    return f".{number}" if number > 1 else ""


def ray_resources(bundle: Resources) -> dict[str, float]:
    """Return the bundle in Ray's names, without zeros."""
    amounts = {"CPU": bundle.cpu, "GPU": bundle.gpu, "memory": bundle.memory}
    return {name: amount for name, amount in amounts.items() if amount > 0}
