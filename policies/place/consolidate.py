"""On as few nodes as possible."""

from __future__ import annotations

from typing import ClassVar

from policies.feasibility import slots
from policies.interface import Claim, Floats, Ints, Memo, NodeTable, PlaceView, Slot, Unplaced
from policies.memo import column
from policies.place.greedy import GreedyPlace, free_share
from policies.place.narrowed import fewest, id_rank, narrowed

BEGUN = 1e12
"""Over any number of bundles on a node: a node that is begun is filled."""


class Consolidate(GreedyPlace):
    """Put the whole gang on the fewest nodes: the one that it fits most tightly, or else the largest ones.

    For jobs whose workers talk much: traffic between machines is what slows them. Of nodes with as much room the
    fullest is taken, so that empty ones stay whole. Where one node is not enough the roomiest are filled first, and
    the last one is the tightest that takes the rest; no other choice has fewer nodes. Unlike Tiresias and Philly,
    this never waits for a better place, and it consolidates every job, not only those whose models are skewed.

    Cost: O(n) where one node takes the gang, else O(n log n); then as ``pack``, on the chosen nodes.

    Source: the consolidated placement of Gu et al., "Tiresias: a GPU cluster manager for distributed deep
    learning", NSDI 2019, and of Jeon et al., "Analysis of large-scale multi-tenant GPU clusters for DNN training
    workloads", USENIX ATC 2019; the tightest last node is "BestFit" of Kueue's KEP-2724.
    """

    name: ClassVar[str] = "consolidate"
    source: ClassVar[str] = "Tiresias, NSDI 2019; Philly, USENIX ATC 2019"

    def place(self, claim: Claim, view: PlaceView, memo: Memo | None = None) -> tuple[Slot, ...] | Unplaced:
        """Return the slot of each worker, up to ``max_workers``; under ``min_workers``, why not."""
        nodes = view.nodes
        room = gang_room(claim, nodes, memo)
        wanted = min(claim.max_workers, room.sum())
        if not claim.min_workers <= wanted or not wanted:
            return super().place(claim, view, memo)
        rows = fewest(room, wanted, free_share(claim, nodes), id_rank(nodes.ids))
        return narrowed(super().place, claim, view, rows)

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score the node with room for more of the gang first; shape ``(n,)``."""
        return slots(claim.job, nodes)

    def adjusted(self, scores: Floats, placed: Ints) -> Floats:
        """Score nodes that the claim uses already first; shape ``(n,)``."""
        return scores + BEGUN * (placed > 0)


def gang_room(claim: Claim, nodes: NodeTable, memo: Memo | None) -> Floats:
    """Count the claim's bundles that fit on each node, shape ``(n,)``; infinite for a bundle of nothing."""
    job = claim.job
    key = ("gang_room", job.bundle, tuple(sorted(job.selector.items())))
    return column(memo, key, nodes, lambda some, _: slots(job, some))
