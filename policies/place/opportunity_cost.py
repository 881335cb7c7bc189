"""Where what is taken is worth least to the bundles that are to come."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import ClassVar

import numpy as np

from policies.feasibility import TOLERANCE, devices_for, devices_with_room
from policies.interface import Claim, Floats, NodeTable, PlaceView, PolicyError, Resources
from policies.place.greedy import GreedyPlace
from policies.place.worth import coming

DIGITS = 9
"""To how many decimals of a GPU costs are compared."""


class OpportunityCost(GreedyPlace):
    """Put each worker on the node and GPU where what it takes is worth least to the bundles that are to come.

    Cost: O(n (g + d)) a worker.

    Source: Apportion's own.
    """

    name: ClassVar[str] = "opportunity-cost"
    source: ClassVar[str] = "own; prices of Gilmore and Gomory, Operations Research 1961"

    def __init__(self, offers: float = 200.0) -> None:
        if isinstance(offers, bool) or not isinstance(offers, (int, float)) or not 0 < offers < math.inf:
            raise PolicyError(f"offers must be a finite number greater than 0, but got offers={offers!r}")
        self.offers = float(offers)

    def key(self, claim: Claim, view: PlaceView) -> Hashable:
        """Return all that ``score`` depends on, but the nodes."""
        return (super().key(claim, view), coming(view.demand, self.offers).key)

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score the least cost first, in GPUs; shape ``(n,)``."""
        return -np.asarray(self._costs(claim.job.bundle, nodes, view).min(axis=1))

    def devices(self, claim: Claim, node: NodeTable, view: PlaceView) -> tuple[int, ...]:
        """Choose the GPU with the least cost for a part of one, the first of equals; the first whole ones otherwise."""
        bundle = claim.job.bundle
        if not 0 < bundle.gpu < 1:
            return devices_for(bundle, node.device_free[0])
        return (int(np.argmin(self._costs(bundle, node, view)[0])),)

    def _costs(self, bundle: Resources, nodes: NodeTable, view: PlaceView) -> Floats:
        """Return by how much less a node is worth with the bundle: on each GPU for a part of one, else one column."""
        worth = coming(view.demand, self.offers).on(nodes)
        room, free = nodes.device_free, nodes.free
        gpu, whole = room.sum(axis=1), room + TOLERANCE >= 1
        left, idle = free - bundle.vector(), whole.sum(axis=1).astype(np.float64)
        costs = (
            worth.stranded(left, gpu - bundle.gpu)
            - worth.stranded(free, gpu)
            + worth.of_choice(free, idle)
            - worth.of_choice(left, idle - int(bundle.gpu))
        )[:, None]
        if not 0 < bundle.gpu < 1:
            return np.round(costs, DIGITS)
        broken = worth.of_choice(left, idle) - worth.of_choice(left, idle - 1)
        costs = costs + whole * broken[:, None] + worth.of_parts(room) - worth.of_parts(room - bundle.gpu)
        return np.where(devices_with_room(bundle, room), np.round(costs, DIGITS), np.inf)
