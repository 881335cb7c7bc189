"""Where what is taken is worth least to the bundles that are to come."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import ClassVar

import numpy as np

from policies.feasibility import TOLERANCE, devices_for, devices_with_room
from policies.interface import Claim, Floats, Ints, NodeTable, PlaceView, PolicyError, Resources
from policies.place.greedy import GreedyPlace, free_share
from policies.place.worth import Coming, coming

DIGITS = 9
"""To how many decimals of a GPU costs are compared."""


class OpportunityCost(GreedyPlace):
    """Put each worker on the node and GPU where what it takes is worth least to the bundles that are to come.

    For clusters whose GPUs are nearly all asked for, where the mix of bundles is known (``demand`` of the view; the
    waiting jobs without it). It places whatever fits. Where nothing is to come, it is best fit.

    A node's free resources are worth what bundles of the mix will make of its GPUs: the free part of each by itself,
    half of it as if bundles came at random, half at the prices of the cutting-stock problem; less the GPUs for which
    CPU or memory is expected to run out; plus the claims of choosy bundles (several GPUs, or certain labels), as often
    as they still fit. The cost of a placement is how much of that worth goes. ``docs/policies/opportunity-cost.md`` has
    the formula and what it comes to.

    Cost: O(n (g + d)) a worker for n nodes with g GPUs and d choosy bundles in the mix; with a memo, only nodes that
    changed are scored. A linear program, some 50 ms, when the mix changes.

    Parameters
    ----------
    offers
        How many bundles come, on average, before it is settled what a free GPU is used for; greater than 0. Between 100
        and 500 it hardly matters on the OpenB trace.

    Raises
    ------
    PolicyError
        If ``offers`` is out of bounds.

    Source: Apportion's own. The prices are those of Gilmore and Gomory, "A linear programming approach to the
    cutting-stock problem", Operations Research 9(6), 1961; to decide by what is displaced is the bid-price control of
    Talluri and van Ryzin, "An analysis of bid-price controls for network revenue management", Management Science
    44(11), 1998.
    """

    name: ClassVar[str] = "opportunity-cost"
    source: ClassVar[str] = "Apportion; prices of Gilmore and Gomory, Operations Research 1961"

    def __init__(self, offers: float = 200.0) -> None:
        if isinstance(offers, bool) or not isinstance(offers, (int, float)) or not 0 < offers < math.inf:
            raise PolicyError(f"offers must be a finite number greater than 0, but got offers={offers!r}")
        self.offers = float(offers)

    def key(self, claim: Claim, view: PlaceView) -> Hashable:
        """Return all that ``score`` depends on, but the nodes."""
        return (super().key(claim, view), self._coming(view).key)

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score the least cost first, in GPUs; shape ``(n,)``."""
        return np.asarray(-self._costs(claim.job.bundle, nodes, view).min(axis=1))

    def choose(self, rows: Ints, rank: Ints, claim: Claim, worker: int, view: PlaceView) -> int:
        """Choose the fullest of nodes with equal scores, and the one with the lowest seeded rank of those."""
        if len(rows) > 1:
            share = free_share(claim, view.nodes.take(rows))
            rows = rows[share == share.min()]
        return super().choose(rows, rank, claim, worker, view)

    def devices(self, claim: Claim, node: NodeTable, view: PlaceView) -> tuple[int, ...]:
        """Choose the GPU with the least cost for a part of one, the first of equals; the first whole ones otherwise."""
        bundle = claim.job.bundle
        if not 0 < bundle.gpu < 1:
            return devices_for(bundle, node.device_free[0])
        return (int(np.argmin(self._costs(bundle, node, view)[0])),)

    def _coming(self, view: PlaceView) -> Coming:
        return coming(view.demand, view.nodes, self.offers)

    def _costs(self, bundle: Resources, nodes: NodeTable, view: PlaceView) -> Floats:
        """Return how much of a node's worth goes: for a part of a GPU by GPU, shape ``(n, g)``, else in one column.

        A GPU's own part that goes to a bundle of whole ones is the same everywhere, and left out.
        """
        worth = self._coming(view).on(nodes)
        room, free, left = nodes.device_free, nodes.free, nodes.free - bundle.vector()
        gpu, whole = room.sum(axis=1), room + TOLERANCE >= 1
        idle = whole.sum(axis=1, dtype=np.float64)[:, None]
        costs = worth.stranded(left, gpu - bundle.gpu) - worth.stranded(free, gpu)
        costs = costs[:, None] + worth.of_choice(free, idle)
        if not 0 < bundle.gpu < 1:
            return np.asarray(np.round(costs - worth.of_choice(left, idle - int(bundle.gpu)), DIGITS))
        kept, broken = worth.of_choice(left, np.hstack([idle, idle - 1])).T[:, :, None]
        costs = costs - np.where(whole, broken, kept) + worth.of_parts(room) - worth.of_parts(room - bundle.gpu)
        return np.where(devices_with_room(bundle, room), np.round(costs, DIGITS), np.inf)
