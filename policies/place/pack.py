"""As close together as possible."""

from __future__ import annotations

from typing import ClassVar

from policies.interface import Claim, Floats, Ints, NodeTable, PlaceView
from policies.place.greedy import GreedyPlace, free_share


class Pack(GreedyPlace):
    """Fill a node with the job's workers before the next, beginning with the fullest where one fits.

    For clusters with jobs of many sizes: whole nodes stay free for large ones, and workers of a job talk within a
    machine. Gangs that need several nodes anyway are held together better by ``consolidate``.

    Cost: O(n) a worker; with a memo, only nodes that changed are scored.

    Source: best fit of Johnson, Demers, Ullman, Garey and Graham, "Worst-case performance bounds for simple
    one-dimensional packing algorithms", SIAM Journal on Computing 3(4), 1974; Ray's PACK strategy.
    """

    name: ClassVar[str] = "pack"
    source: ClassVar[str] = "Johnson et al., SIAM J. Computing 1974; Ray's PACK"

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score the smaller free share first; shape ``(n,)``."""
        return -free_share(claim, nodes)

    def adjusted(self, scores: Floats, placed: Ints) -> Floats:
        """Score nodes that the claim uses already first; shape ``(n,)``."""
        return scores + 2.0 * (placed > 0)
