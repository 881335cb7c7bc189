"""Where what is free is most like what is wanted."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

import numpy as np

from policies.interface import Claim, Floats, Memo, NodeTable, PlaceView, PolicyError, Slot, Unplaced
from policies.place.greedy import GreedyPlace
from policies.place.locality import missing_bytes, part_bytes


class Tetris(GreedyPlace):
    """Put each worker where its demand is best aligned with what is free: the largest dot product of the two.

    For mixed demands on mixed nodes: work that needs memory goes to where memory is left over, and nodes run out of
    all resources at the same time. Both vectors are divided by the node's capacity. A node that lacks the worker's
    part of the data loses a part of its score. Large free nodes score high, so whole ones are broken into soon: for
    jobs that want many GPUs of a node see ``fgd``. Tetris itself also chooses which job goes next, with shorter jobs
    favoured; that is the order's to say here. The OpenB simulator's ``dot-product`` takes the *smallest* product.

    Parameters
    ----------
    remote_penalty
        The part of its score, 0 to 1, that a node loses where data must be brought to it.

    Raises
    ------
    PolicyError
        If the penalty is no number from 0 to 1.

    Cost: O(n) a worker; with a memo only nodes that changed are scored, unless data of the job lie somewhere.

    Source: Grandl, Ananthanarayanan, Kandula, Rao and Akella, "Multi-resource packing for cluster schedulers",
    SIGCOMM 2014.
    """

    name: ClassVar[str] = "tetris"
    source: ClassVar[str] = "Grandl et al., SIGCOMM 2014"

    def __init__(self, remote_penalty: float = 0.1) -> None:
        number = isinstance(remote_penalty, (int, float)) and not isinstance(remote_penalty, bool)
        if not number or not 0 <= remote_penalty <= 1:
            raise PolicyError(f"remote_penalty must be a number from 0 to 1, but got remote_penalty={remote_penalty!r}")
        self.remote_penalty = float(remote_penalty)

    def place(self, claim: Claim, view: PlaceView, memo: Memo | None = None) -> tuple[Slot, ...] | Unplaced:
        """Return the slot of each worker, up to ``max_workers``; under ``min_workers``, why not."""
        return super().place(claim, view, None if claim.job.resident else memo)  # data are one job's only

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score the larger dot product of demand and free parts first; shape ``(n,)``."""
        capacity = np.where(nodes.capacity > 0, nodes.capacity, np.inf)
        aligned = ((claim.job.bundle.vector() / capacity) * (nodes.free / capacity)).sum(axis=1)
        remote = missing_bytes(claim, nodes, view) >= 1.0
        return np.asarray(aligned * (1.0 - self.remote_penalty * remote))

    def key(self, claim: Claim, view: PlaceView) -> Hashable:
        """Return all that ``score`` depends on, but the nodes and what lies there."""
        return (super().key(claim, view), part_bytes(claim) > 0)
