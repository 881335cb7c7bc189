"""As far apart as possible."""

from __future__ import annotations

from typing import ClassVar

from policies.interface import Claim, Floats, Ints, NodeTable, PlaceView
from policies.place.greedy import GreedyPlace, free_share


class Spread(GreedyPlace):
    """Put each worker on the node with the fewest workers of its job, then on the emptiest.

    For jobs that wait for memory or for the network, and for gangs that should lose few workers with a node: each
    worker has the most of its node's bandwidth. Large free nodes are broken into soon.

    Cost: O(n) a worker; with a memo, only nodes that changed are scored.

    Source: Ray's SPREAD strategy and Kubernetes' NodeResourcesLeastAllocated; list scheduling on the least
    loaded machine is Graham, "Bounds for certain multiprocessing anomalies", Bell System Technical Journal
    45, 1966.
    """

    name: ClassVar[str] = "spread"
    source: ClassVar[str] = "Graham, Bell System Technical Journal 1966; Ray's SPREAD"

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score the larger free share first; shape ``(n,)``."""
        return free_share(claim, nodes)

    def adjusted(self, scores: Floats, placed: Ints) -> Floats:
        """Score fewer of the claim's workers first; shape ``(n,)``."""
        return scores - 2.0 * placed
