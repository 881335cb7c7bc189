"""Where the data is, or can be brought fastest."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

import numpy as np

from policies.interface import Claim, Floats, Memo, NodeTable, PlaceView, Slot, Unplaced
from policies.place.greedy import GreedyPlace, free_share

SECOND = 1e-6
"""Weight of the second thought, how full a node is, beside the first."""

LEAST_S = 1e-6
"""What every transfer takes at least, so that the second thought counts where there is nothing to bring."""


class Locality(GreedyPlace):
    """Put each worker where its part of the data arrives first: the bytes that are not there, over the bandwidth.

    For jobs with much data and few passes over it. Of a node's resident bytes each worker there uses up its part, so
    that the next one finds fewer. Of nodes that are equally near (to a millionth) the emptier is taken, so a job of
    which no data is known goes to the emptiest nodes. Delay scheduling, from which the idea comes, lets a job wait
    for a node that has its data; here it is placed at once, on the nearest node with room.

    Cost: O(n) a worker.

    Source: Zaharia et al., "Delay scheduling: a simple technique for achieving locality and fairness in cluster
    scheduling", EuroSys 2010, with seconds of transfer in place of Hadoop's three levels (node, rack, elsewhere).
    """

    name: ClassVar[str] = "locality"
    source: ClassVar[str] = "Zaharia et al., EuroSys 2010"

    def place(self, claim: Claim, view: PlaceView, memo: Memo | None = None) -> tuple[Slot, ...] | Unplaced:
        """Return the slot of each worker, up to ``max_workers``; under ``min_workers``, why not."""
        return super().place(claim, view, None if claim.job.resident else memo)  # data are one job's only

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score the least time to bring the next worker's part first; shape ``(n,)``."""
        seconds = missing_bytes(claim, nodes, view) * nodes.s_per_byte
        return -(seconds + LEAST_S) * (1.0 + SECOND * (1.0 - free_share(claim, nodes)))

    def key(self, claim: Claim, view: PlaceView) -> Hashable:
        """Return all that ``score`` depends on, but the nodes and what lies there."""
        return (super().key(claim, view), part_bytes(claim))


def part_bytes(claim: Claim) -> float:
    """Return the bytes of each worker's part of the job's data."""
    return claim.job.data_bytes / claim.job.max_workers


def missing_bytes(claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
    """Return the bytes of the next worker's part that each node lacks, shape ``(n,)``.

    What lies on a node is used up by the workers that the claim has there already: as many as its leases are ahead
    of those in ``view.nodes``.
    """
    resident, part = claim.job.resident, part_bytes(claim)
    missing = np.full(len(nodes), part)
    for row, node in enumerate(nodes.ids) if resident else ():
        if (there := resident.get(node, 0.0)) > 0:
            before = row if nodes is view.nodes else view.nodes.ids.index(node)
            placed = int(nodes.gpu_leases[row].sum() - view.nodes.gpu_leases[before].sum())
            missing[row] = part - min(max(there - placed * part, 0.0), part)
    return missing
