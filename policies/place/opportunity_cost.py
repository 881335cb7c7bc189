"""Where what is taken is worth least to the bundles that are to come."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from policies.feasibility import TOLERANCE, devices_for, devices_with_room, fits
from policies.interface import (
    Claim,
    Floats,
    Ints,
    Memo,
    NodeTable,
    Place,
    PlaceView,
    PolicyError,
    Resources,
    Slot,
    Unplaced,
)
from policies.memo import column
from policies.place.filling import UNITS
from policies.place.greedy import GreedyPlace, free_share
from policies.place.worth import Coming, coming

DIGITS = 9
"""To how many decimals of a GPU costs are compared."""


class OpportunityCost(Place):
    """Put each worker on the node and GPU where what it takes is worth least to the bundles that are to come.

    For clusters whose GPUs are nearly all asked for, where the mix of bundles is known (``demand`` of the view; the
    waiting jobs without it). It places whatever fits. Where nothing is to come, it is best fit.

    A node's free resources are worth what bundles of the mix will make of its GPUs: the free part of each by itself,
    half of it as if bundles came at random, half at the prices of the cutting-stock problem; less the GPUs for which
    CPU or memory is expected to run out; plus, for bundles with several GPUs or with labels to insist on, the price of
    each slot that they find there, which rises as slots become rare. The cost of a placement is how much of that worth
    goes. The formula and what it comes to: ``docs/policies/opportunity-cost.md``.

    Cost: O(n (g + d)) a worker for n nodes with g GPUs and d such bundles in the mix; with a memo, O(n d) additions,
    and all else for nodes that changed only. A linear program, some 50 ms, when the mix changes.

    Parameters
    ----------
    offers
        How many bundles come, on average, before it is settled what a free GPU is used for; greater than 0. Between 100
        and 500 it hardly matters on the OpenB trace.

    Raises
    ------
    PolicyError
        If ``offers`` is out of bounds.

    Source: Apportion's own. The prices of parts are those of Gilmore and Gomory, "A linear programming approach to the
    cutting-stock problem", Operations Research 9(6), 1961; those of slots follow Littlewood, "Forecasting and control
    of passenger bookings", AGIFORS 1972; to place by what is displaced is the bid-price control of Talluri and van
    Ryzin, Management Science 44(11), 1998, which unlike this refuses what pays less than its price.
    """

    name: ClassVar[str] = "opportunity-cost"
    source: ClassVar[str] = "Apportion; prices of Gilmore & Gomory 1961 and Littlewood 1972"

    def __init__(self, offers: float = 200.0) -> None:
        if isinstance(offers, bool) or not isinstance(offers, (int, float)) or not 0 < offers < math.inf:
            raise PolicyError(f"offers must be a finite number greater than 0, but got offers={offers!r}")
        self.offers = float(offers)

    def place(self, claim: Claim, view: PlaceView, memo: Memo | None = None) -> tuple[Slot, ...] | Unplaced:
        """Return the slot of each worker, up to ``max_workers``; under ``min_workers``, why not."""
        mix = coming(view.demand, self.offers)
        return AtPrices(mix, slot_prices(mix, view.nodes, memo)).place(claim, view, memo)


def slot_prices(mix: Coming, nodes: NodeTable, memo: Memo | None = None) -> Floats:
    """Return what a slot of each choosy bundle of ``mix`` is worth now, in GPUs; shape ``(d,)``."""

    def count(some: NodeTable, rows: Ints) -> Ints:
        del rows
        slots = mix.on(some).slots(some.free, _idle(some.device_free).sum(axis=1))
        units = np.rint(some.device_free.sum(axis=1) * UNITS)  # whole numbers: their sum does not depend on the order
        return np.concatenate([units[:, None].astype(np.int64), slots], axis=1)

    units, *slots = column(memo, ("slots", mix.key), nodes, count).sum(axis=0).tolist()
    return mix.prices(np.array(slots, dtype=np.int64), units / UNITS)


def _idle(device_free: Floats) -> NDArray[np.bool_]:
    return np.asarray(device_free + TOLERANCE >= 1)


class AtPrices(GreedyPlace):
    """The placement of one claim, at given prices of slots.

    A bundle with a part of a GPU has two choices on a node: a GPU that is in use already, or an idle one, which then
    is no longer one for bundles with several. All others have one.
    """

    name: ClassVar[str] = OpportunityCost.name
    source: ClassVar[str] = OpportunityCost.source

    def __init__(self, mix: Coming, prices: Floats) -> None:
        self._mix, self._prices = mix, prices

    def key(self, claim: Claim, view: PlaceView) -> Hashable:
        """Return all that the costs depend on, but the nodes and the prices of slots."""
        del view
        job = claim.job
        return (type(self).__name__, self._mix.key, job.bundle, tuple(sorted(job.selector.items())))

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score the least cost first, in GPUs; shape ``(n,)``."""
        bundle = claim.job.bundle
        return np.asarray(-self._total(self._own(bundle, nodes), self._lost(bundle, nodes)).min(axis=1))

    def choose(self, rows: Ints, rank: Ints, claim: Claim, worker: int, view: PlaceView) -> int:
        """Choose the fullest of nodes with equal scores, and the one with the lowest seeded rank of those."""
        if len(rows) > 1:
            share = free_share(claim, view.nodes.take(rows))
            rows = rows[share == share.min()]
        return super().choose(rows, rank, claim, worker, view)

    def devices(self, claim: Claim, node: NodeTable, view: PlaceView) -> tuple[int, ...]:
        """Choose the GPU with the least cost for a part of one, of equals the fullest; else the first whole ones."""
        bundle = claim.job.bundle
        if not 0 < bundle.gpu < 1:
            return devices_for(bundle, node.device_free[0])
        in_use, idle = self._total(self._own(bundle, node), self._lost(bundle, node))[0]
        room, choice = node.device_free[0], _idle(node.device_free[0]) == bool(idle < in_use)
        costs = np.where(choice, np.round(self._by_device(bundle, node)[0], DIGITS), np.inf)
        return (int(np.lexsort((room, costs))[0]),)

    def _scores(self, claim: Claim, view: PlaceView, memo: Memo | None) -> Floats:
        job, key = claim.job, self.key(claim, view)

        def own(nodes: NodeTable, rows: Ints) -> Floats:
            del rows
            return np.where(fits(job, nodes)[:, None], self._own(job.bundle, nodes), np.inf)

        def lost(nodes: NodeTable, rows: Ints) -> NDArray[np.int16]:
            del rows
            return self._lost(job.bundle, nodes)

        columns = (column(memo, (key, what), view.nodes, of) for what, of in (("own", own), ("lost", lost)))
        return np.asarray(-self._total(*columns).min(axis=1))

    def _total(self, own: Floats, lost: NDArray[np.int16]) -> Floats:
        return np.asarray(np.round(own + np.einsum("nkd,d->nk", lost, self._prices), DIGITS))

    def _own(self, bundle: Resources, nodes: NodeTable) -> Floats:
        """Return the cost but for slots, of either choice; shape ``(n, 2)``, infinite where there is no such GPU.

        A GPU's own part that goes to a bundle of whole ones is the same everywhere, and left out.
        """
        worth, gpu = self._mix.on(nodes), nodes.device_free.sum(axis=1)
        strands = worth.stranded(nodes.free - bundle.vector(), gpu - bundle.gpu) - worth.stranded(nodes.free, gpu)
        if not 0 < bundle.gpu < 1:
            return np.stack([strands, np.full(len(nodes), np.inf)], axis=1)
        parts, idle = self._by_device(bundle, nodes), _idle(nodes.device_free)
        choices = [np.where(able, parts, np.inf).min(axis=1) for able in (~idle, idle)]
        return np.asarray(strands[:, None] + np.stack(choices, axis=1))

    def _by_device(self, bundle: Resources, nodes: NodeTable) -> Floats:
        """Return how much a part of each GPU is worth to others, infinite where it has no room; shape ``(n, g)``."""
        worth, room = self._mix.on(nodes), nodes.device_free
        cost = worth.of_parts(room) - worth.of_parts(room - bundle.gpu)
        return np.where(devices_with_room(bundle, room), cost, np.inf)

    def _lost(self, bundle: Resources, nodes: NodeTable) -> NDArray[np.int16]:
        """Return how many slots of each choosy bundle go, with either choice; shape ``(n, 2, d)``."""
        worth, left, idle = self._mix.on(nodes), nodes.free - bundle.vector(), _idle(nodes.device_free).sum(axis=1)
        before, whole = worth.slots(nodes.free, idle), int(bundle.gpu)
        kept = before - worth.slots(left, idle - whole)
        broken = before - worth.slots(left, idle - 1) if 0 < bundle.gpu < 1 else kept
        return np.stack([kept, broken], axis=1)
