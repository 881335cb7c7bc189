"""What greedy placements share: one worker at a time, on the best node where its bundle fits."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from policies.feasibility import fits, shortfalls
from policies.interface import RESOURCES, Claim, Floats, Ints, NodeTable, Place, Shortfall, Unplaced

TINY = 1e-300
"""Keeps the free share of what a node has none of at 0."""


class GreedyPlace(Place):
    """Place one worker at a time on the node with the highest score among those where its bundle fits.

    Equal scores are broken by a seeded rank of the node's *id*, so the order of the rows does not matter.
    A subclass writes ``score``.
    """

    @abstractmethod
    def score(self, claim: Claim, nodes: NodeTable, free: Floats, placed: Ints) -> Floats:
        """Score every node for the claim's next worker, higher is better; shape ``(n,)``.

        Parameters
        ----------
        claim
            Whose worker it is.
        nodes
            The n candidates; ``nodes.free`` is what was free before this claim.
        free
            What the claim's workers so far leave, shape ``(n, 3)``, columns as ``RESOURCES``.
        placed
            How many of the claim's workers each node has, shape ``(n,)``.
        """

    def place(self, claim: Claim, nodes: NodeTable, seed: int) -> tuple[int, ...] | Unplaced:
        """Return the node (row) of each worker, up to ``max_workers``; under ``min_workers``, why not."""
        if not len(nodes):
            return Unplaced(claim.job, 0, claim.min_workers, _no_nodes(claim))
        order = _seeded_order(nodes.ids, seed)
        ranked = _rows(nodes, order)
        bundle, free = claim.bundle.vector(), ranked.free.copy()
        placed = np.zeros(len(nodes), dtype=np.int64)
        able = fits(bundle, free)
        chosen: list[int] = []
        while len(chosen) < claim.max_workers and able.any():
            best = int(np.argmax(np.where(able, self.score(claim, ranked, free, placed), -np.inf)))
            if not able[best]:  # every score was minus infinity: any node where it fits
                best = int(np.argmax(able))
            free[best] -= bundle
            placed[best] += 1
            able[best] = fits(bundle, free[best : best + 1])[0]
            chosen.append(int(order[best]))
        if len(chosen) >= claim.min_workers:
            return tuple(chosen)
        left = np.empty_like(free)
        left[order] = free
        return Unplaced(claim.job, len(chosen), claim.min_workers, shortfalls(claim.bundle, nodes, left))


def free_share(claim: Claim, nodes: NodeTable, free: Floats) -> Floats:
    """Return which part of each node is free, 0 to 1, shape ``(n,)``: the mean over what the claim wants.

    Resources that the bundle does not ask for are left out, so a node without GPUs is no emptier or
    fuller for a claim that needs none.
    """
    share = np.zeros(len(nodes))
    wanted = np.flatnonzero(claim.bundle.vector() > 0)
    for r in wanted:
        share += free[:, r] / np.maximum(nodes.capacity[:, r], TINY)
    return share / max(len(wanted), 1)


@lru_cache(maxsize=8)
def _seeded_order(ids: tuple[str, ...], seed: int) -> Ints:
    """Return the rows in an order that depends on the seed and on the set of ids only."""
    key = str(seed).encode()
    rank = [(blake2b(key + b"/" + node.encode(), digest_size=8).digest(), node) for node in ids]
    order = np.array(sorted(range(len(ids)), key=rank.__getitem__), dtype=np.int64)
    order.flags.writeable = False
    return order


def _rows(nodes: NodeTable, order: Ints) -> NodeTable:
    return NodeTable(
        tuple(nodes.ids[n] for n in order),
        nodes.capacity[order],
        nodes.free[order],
        tuple(nodes.numeric_class[n] for n in order),
    )


def _no_nodes(claim: Claim) -> tuple[Shortfall, ...]:
    where = "the cluster (no nodes)"
    wanted = zip(RESOURCES, claim.bundle.vector().tolist(), strict=True)
    found = tuple(Shortfall(resource, amount, 0.0, where) for resource, amount in wanted if amount > 0)
    return found or (Shortfall("nodes", 1.0, 0.0, where),)
