"""Anywhere."""

from __future__ import annotations

from hashlib import blake2b
from typing import ClassVar

import numpy as np

from policies.feasibility import devices_for, devices_with_room
from policies.interface import Claim, Floats, Ints, NodeTable, PlaceView
from policies.place.greedy import GreedyPlace


class UniformNode(GreedyPlace):
    """Put each worker on a node drawn uniformly from those where its bundle fits: the baseline to beat.

    For comparisons only. A part of a GPU goes to a device of the node drawn in the same way. The draws depend on the
    seed of the view, on the job's id and on the worker's number, and on nothing else.

    Cost: O(n) a worker.

    Source: the baseline Random of Weng et al., "Beware of fragmentation: scheduling GPU-sharing workloads with
    fragmentation gradient descent", USENIX ATC 2023.
    """

    name: ClassVar[str] = "random"
    source: ClassVar[str] = "Weng et al., USENIX ATC 2023 (Random)"

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score all alike; shape ``(n,)``."""
        return np.zeros(len(nodes))

    def choose(self, rows: Ints, rank: Ints, claim: Claim, worker: int, view: PlaceView) -> int:
        """Draw a row."""
        drawn = _draw(view.seed, claim.job.id, f"worker {worker}") % len(rows)
        return int(rows[np.argpartition(rank[rows], drawn)[drawn]])

    def devices(self, claim: Claim, node: NodeTable, view: PlaceView) -> tuple[int, ...]:
        """Draw a GPU for a part of one; whole ones are all alike."""
        if not 0 < claim.job.bundle.gpu < 1:
            return devices_for(claim.job.bundle, node.device_free[0])
        able = np.flatnonzero(devices_with_room(claim.job.bundle, node.device_free[0]))
        return (int(able[_draw(view.seed, claim.job.id, node.ids[0]) % len(able)]),)


def _draw(seed: int, *words: str) -> int:
    """Return a whole number of 64 bits that depends on the arguments only."""
    return int.from_bytes(blake2b("/".join((str(seed), *words)).encode(), digest_size=8).digest(), "little")
