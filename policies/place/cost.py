"""Where it adds least to the bill."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from policies.interface import Claim, Floats, NodeTable, PlaceView
from policies.place.greedy import GreedyPlace, free_share

SECOND = 1e-6
"""Weight of the second thought, how empty a node is, beside the first."""

LEAST_PRICE = 1e-6
"""What every share costs at least, so that the second thought counts where there are no prices."""


class Cost(GreedyPlace):
    """Put each worker on a node that is paid for already, or else on the one with the cheapest share for it.

    For clusters that grow and shrink: a node that somebody uses is paid for anyway, an idle one could be given back.
    A worker's share of a node's price is its dominant share (the largest part that it takes of a resource) times
    ``price_per_hour``. Within both kinds of nodes the cheapest share goes first, and of equal ones (to a millionth)
    the fullest, so that expensive and half-empty nodes become idle. A node without a price counts as free of charge.
    Stratus also aligns the ends of jobs that share a node; that is not here.

    Cost: O(n) a worker; with a memo only nodes that changed are scored.

    Source: Chung, Park and Ganger, "Stratus: cost-aware container scheduling in the public cloud", SoCC 2018;
    dominant shares are those of Ghodsi et al., "Dominant resource fairness", NSDI 2011.
    """

    name: ClassVar[str] = "cost"
    source: ClassVar[str] = "Stratus, SoCC 2018"

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score nodes in use first, and in them the smaller price of the bundle's share; shape ``(n,)``."""
        price = nodes.price_per_hour * dominant_share(claim, nodes) + LEAST_PRICE
        price *= 1.0 + SECOND * free_share(claim, nodes)
        used = (nodes.free < nodes.capacity).any(axis=1)
        return np.where(used, 1.0 / price, -price)


def dominant_share(claim: Claim, nodes: NodeTable) -> Floats:
    """Return the largest part that the bundle takes of a resource of each node, shape ``(n,)``."""
    capacity = np.where(nodes.capacity > 0, nodes.capacity, np.inf)
    return np.asarray((claim.job.bundle.vector() / capacity).max(axis=1))
