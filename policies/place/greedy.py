"""What greedy placements share: one worker at a time, on the best node where its bundle fits."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from policies.feasibility import Room, devices_for, has_room, selected, shortfalls
from policies.interface import (
    CPU,
    GPU,
    RESOURCES,
    Claim,
    Floats,
    Ints,
    Memo,
    NodeTable,
    Place,
    PlaceView,
    PolicyError,
    Shortfall,
    Slot,
    Unplaced,
)
from policies.memo import column, constant

TINY = 1e-300
"""Keeps the free share of what a node has none of at 0."""


class GreedyPlace(Place):
    """Place one worker at a time on the node with the highest score among those where its bundle fits.

    Equal scores are broken by a seeded rank of the node's *id*, so the order of the rows does not matter.
    A subclass writes ``score``, which looks at a node alone; what it thinks of the job's other workers it says in
    ``adjusted``, which GPUs it takes in ``devices``, and how it breaks ties in ``choose``. Scores of nodes that did not
    change are remembered in the memo.
    """

    @abstractmethod
    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score every node for the claim's next worker, higher is better; shape ``(n,)``.

        Parameters
        ----------
        claim
            Whose worker it is; only its job's bundle, selector and data may matter.
        nodes
            Some rows of ``view.nodes``, with what earlier workers leave, where the bundle fits. The score of a node
            depends on its row alone.
        view
            Seed and expected demand.
        """

    def adjusted(self, scores: Floats, placed: Ints) -> Floats:
        """Return the scores of nodes that have ``placed`` of the claim's workers already; shape ``(n,)``."""
        del placed
        return scores

    def devices(self, claim: Claim, node: NodeTable, view: PlaceView) -> tuple[int, ...]:
        """Choose the GPUs on the chosen ``node`` (a table of one row)."""
        del view
        return devices_for(claim.job.bundle, node.device_free[0])

    def choose(self, rows: Ints, rank: Ints, claim: Claim, worker: int, view: PlaceView) -> int:
        """Choose among nodes with equal scores: the one with the lowest seeded rank.

        Parameters
        ----------
        rows
            The rows of the nodes, ascending; at least one.
        rank
            The seeded rank of every node; shape ``(n,)``.
        claim, worker
            Whose turn it is, and how many workers of it have been placed before.
        view
            What is asked.
        """
        del claim, worker, view
        return int(rows[np.argmin(rank[rows])])

    def key(self, claim: Claim, view: PlaceView) -> Hashable:
        """Return all that ``score`` depends on, but the nodes."""
        job = claim.job
        return (type(self).__name__, repr(vars(self)), job.bundle, tuple(sorted(job.selector.items())), view.seed)

    def place(self, claim: Claim, view: PlaceView, memo: Memo | None = None) -> tuple[Slot, ...] | Unplaced:
        """Return the slot of each worker, up to ``max_workers``; under ``min_workers``, why not."""
        nodes = view.nodes
        if not len(nodes):
            return () if not claim.min_workers else Unplaced(claim.job.id, 0, claim.min_workers, _no_nodes(claim))
        gang = claim.max_workers > 1
        scores = self._scores(claim, view, memo)
        rank = constant(memo, ("rank", view.seed), nodes, lambda nodes: _seeded_rank(nodes.ids, view.seed))
        chosen: list[Slot] = []
        left: dict[int, Room] = {}  # of the nodes that have workers of this claim
        if gang:
            scores, placed = scores.copy(), np.zeros(len(nodes), dtype=np.int64)
        while len(chosen) < claim.max_workers:
            ties = _best(self.adjusted(scores, placed) if gang else scores)
            if not len(ties):
                break
            best = self.choose(ties, rank, claim, len(chosen), view)
            one = left[best].view() if best in left else nodes.take([best])
            chosen.append(Slot(best, self.devices(claim, one, view)))
            if gang:
                room = left.setdefault(best, Room(one))
                room.hold(claim.job.bundle, 0, chosen[-1].devices)
                placed[best] += 1
                one = room.view()
                scores[best] = self._able_scores(claim, one, has_room(claim.job.bundle, one), view)[0]
        if len(chosen) >= claim.min_workers:
            return tuple(chosen)
        return Unplaced(claim.job.id, len(chosen), claim.min_workers, _short_beside(chosen, claim, nodes))

    def _scores(self, claim: Claim, view: PlaceView, memo: Memo | None) -> Floats:
        def compute(nodes: NodeTable, rows: Ints) -> Floats:
            able = has_room(claim.job.bundle, nodes)
            if selector := claim.job.selector:
                key = ("selected", tuple(sorted(selector.items())))
                able &= constant(memo, key, view.nodes, lambda nodes: selected(selector, nodes))[rows]
            return self._able_scores(claim, nodes, able, view)

        return column(memo, None if memo is None else self.key(claim, view), view.nodes, compute)

    def _able_scores(self, claim: Claim, nodes: NodeTable, able: NDArray[np.bool_], view: PlaceView) -> Floats:
        """Score the ``able`` nodes, -infinity elsewhere."""
        (rows,) = able.nonzero()
        scores = np.full(len(nodes), -np.inf)
        if len(rows):
            some = nodes if len(rows) == len(nodes) else nodes.take(rows)
            found = self.score(claim, some, view)
            scores[rows] = found if np.isfinite(found).all() else np.nan_to_num(found)
        return scores


def _short_beside(chosen: Sequence[Slot], claim: Claim, nodes: NodeTable) -> Sequence[Shortfall]:
    """Say what a claim's next worker lacks beside those that found a place."""
    if not chosen:
        return shortfalls(claim.job, nodes)
    room = Room(nodes)
    for slot in chosen:
        room.hold(claim.job.bundle, slot.node, slot.devices)
    return shortfalls(claim.job, room.view())


def _best(scores: Floats) -> Ints:
    """Return the rows with the highest score, ascending; none if all are -infinity."""
    best = scores.max()
    return (scores == best).nonzero()[0] if best > -np.inf else np.zeros(0, dtype=np.int64)


def whole(scores: Floats) -> Floats:
    """Cut scores to whole numbers; what differs from one by rounding errors only is one."""
    return np.floor(np.round(scores, 9))


class Largest:
    """What counts as one unit of CPU and GPU in a score.

    Parameters
    ----------
    cpu, gpu
        Greater than 0; without it, the most that a node of the cluster has.

    Raises
    ------
    PolicyError
        If one is out of bounds.
    """

    def __init__(self, cpu: float | None, gpu: float | None) -> None:
        for name, value in (("cpu", cpu), ("gpu", gpu)):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (number and 0 < value < math.inf):
                raise PolicyError(f"{name} must be a finite number greater than 0, but got {name}={value!r}")
        self.cpu, self.gpu = cpu, gpu

    def __repr__(self) -> str:
        return f"Largest({self.cpu}, {self.gpu})"

    def of(self, nodes: NodeTable) -> tuple[float, float]:
        """Return CPU and GPU of the largest node, or what was given; greater than 0."""
        cpu, gpu = _largest(nodes)
        return self.cpu or cpu or 1.0, self.gpu or gpu or 1.0


@lru_cache(maxsize=2)
def _largest(nodes: NodeTable) -> tuple[float, float]:
    return float(nodes.capacity[:, CPU].max(initial=0.0)), float(nodes.capacity[:, GPU].max(initial=0.0))


def free_share(claim: Claim, nodes: NodeTable) -> Floats:
    """Return which part of each node is free, 0 to 1, shape ``(n,)``: the mean over what the claim wants.

    Resources that the bundle does not ask for are left out, so a node without GPUs is no emptier or
    fuller for a claim that needs none.
    """
    share = np.zeros(len(nodes))
    wanted = np.flatnonzero(claim.job.bundle.vector() > 0)
    for r in wanted:
        share += nodes.free[:, r] / np.maximum(nodes.capacity[:, r], TINY)
    return share / max(len(wanted), 1)


@lru_cache(maxsize=8)
def _seeded_rank(ids: tuple[str, ...], seed: int) -> Ints:
    """Return every row's place in an order that depends on the seed and on the set of ids only."""
    key = str(seed).encode()
    digests = [(blake2b(key + b"/" + node.encode(), digest_size=8).digest(), node) for node in ids]
    rank = np.empty(len(ids), dtype=np.int64)
    rank[sorted(range(len(ids)), key=digests.__getitem__)] = np.arange(len(ids))
    rank.flags.writeable = False
    return rank


def _no_nodes(claim: Claim) -> tuple[Shortfall, ...]:
    where = "the cluster (no nodes)"
    wanted = zip(RESOURCES, claim.job.bundle.vector().tolist(), strict=True)
    found = tuple(Shortfall(resource, amount, 0.0, where) for resource, amount in wanted if amount > 0)
    return found or (Shortfall("nodes", 1.0, 0.0, where),)
