"""The first that has room."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from policies.interface import Claim, Floats, NodeTable, PlaceView
from policies.place.greedy import GreedyPlace


class FirstFit(GreedyPlace):
    """Put each worker on the first node with room, in an order of the nodes that the seed fixes once.

    For clusters of equal nodes: it keeps the last nodes of the order empty, so that they can be given back, and never
    looks at how well a bundle fits.

    Cost: O(n) a worker.

    Source: first fit of Johnson, Demers, Ullman, Garey and Graham, "Worst-case performance bounds for simple
    one-dimensional packing algorithms", SIAM Journal on Computing 3(4), 1974.
    """

    name: ClassVar[str] = "first-fit"
    source: ClassVar[str] = "Johnson et al., SIAM J. Computing 1974"

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score all alike, so that the fixed order decides; shape ``(n,)``."""
        return np.zeros(len(nodes))
