"""Where what is taken is worth least to the bundles that are to come."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, ClassVar

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
from policies.place.worth import Coming, Worth, coming

DIGITS = 9
"""To how many decimals of a GPU costs are compared."""

NEGLIGIBLE = 1e-12
"""A price, in GPUs, that need not be counted."""


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
        slots = mix.on(some).slots(some.free, _idle(some.device_free).sum(axis=1, keepdims=True))[:, 0]
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
        return self._best(self._choices(claim.job.bundle, nodes))

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
        in_use, idle = self._costs(self._choices(bundle, node))[0]
        room, choice = node.device_free[0], _idle(node.device_free[0]) == bool(idle < in_use)
        costs = np.where(choice, np.round(_by_device(self._mix.on(node), bundle, node)[0], DIGITS), np.inf)
        return (int(np.lexsort((room, costs))[0]),)

    def _scores(self, claim: Claim, view: PlaceView, memo: Memo | None) -> Floats:
        def compute(nodes: NodeTable, rows: Ints) -> NDArray[Any]:
            del rows
            able = np.flatnonzero(fits(claim.job, nodes))
            found = self._choices(claim.job.bundle, nodes.take(able))
            choices = np.zeros(len(nodes), found.dtype)
            choices["cost"] = np.inf
            choices[able] = found
            return choices

        return self._best(column(memo, None if memo is None else self.key(claim, view), view.nodes, compute))

    def _best(self, choices: NDArray[Any]) -> Floats:
        return np.asarray(-np.minimum(*self._costs(choices).T))

    def _costs(self, choices: NDArray[Any]) -> Floats:
        """Return what each choice costs at the prices of slots; shape ``(n, 2)``."""
        cost, counts = choices["cost"], np.flatnonzero(self._prices > NEGLIGIBLE)
        if len(counts):
            cost = cost + np.einsum("nkd,d->nk", choices["slots"][:, :, counts], self._prices[counts])
        return np.asarray(np.round(cost, DIGITS))

    def _choices(self, bundle: Resources, nodes: NodeTable) -> NDArray[Any]:
        """Return for either choice its cost but for slots, infinite without such a GPU, and which slots go; length n.

        A GPU's own part that goes to a bundle of whole ones is the same everywhere, and left out.
        """
        worth, gpu, idle = self._mix.on(nodes), nodes.device_free.sum(axis=1), _idle(nodes.device_free)
        left, num_idle = nodes.free - bundle.vector(), idle.sum(axis=1, keepdims=True)
        found = np.empty(len(nodes), [("cost", np.float64, 2), ("slots", np.int16, (2, len(self._prices)))])
        found["cost"] = (worth.stranded(left, gpu - bundle.gpu) - worth.stranded(nodes.free, gpu))[:, None]
        if 0 < bundle.gpu < 1:
            costs, then = _by_device(worth, bundle, nodes), np.hstack([num_idle, num_idle - 1])
            found["cost"] += np.stack([np.where(one, costs, np.inf).min(axis=1) for one in (~idle, idle)], axis=1)
        else:
            found["cost"][:, 1], then = np.inf, num_idle - int(bundle.gpu)
        found["slots"] = worth.slots(nodes.free, num_idle) - worth.slots(left, then)
        return found


def _by_device(worth: Worth, bundle: Resources, nodes: NodeTable) -> Floats:
    """Return what a part of each GPU is worth to others, infinite where it has no room; shape ``(n, g)``."""
    room = nodes.device_free
    cost = worth.of_parts(room) - worth.of_parts(room - bundle.gpu)
    return np.where(devices_with_room(bundle, room), cost, np.inf)
