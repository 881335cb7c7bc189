"""What the free part of a GPU is worth to the bundles that are to come: filled at random, and filled as well as can be.

A GPU is cut into ``UNITS``. Sizes are whole numbers of units, ascending, each once; shares are how often each is asked
for, in any unit. Results have one entry for each free part, 0 to ``UNITS``, and are in GPUs.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from policies.tables import Floats, Ints

UNITS = 1000
"""Into how many units a GPU is cut."""

PRECISION = 1e-3
"""How far, as a part of it, the price of a GPU may be from that of the linear program's optimum."""


def random_use(sizes: Ints, shares: Floats, offers: float) -> Floats:
    """Return how much of a free part is used in the end if bundles come at random and each is taken that fits.

    Parameters
    ----------
    offers
        How many bundles come on average; their number is geometrically distributed. Greater than 0.

    Returns
    -------
    Floats
        Shape ``(UNITS + 1,)``.
    """
    more = offers / (1.0 + offers)
    chances = shares / max(shares.sum(), np.finfo(float).tiny)
    num_fit, fit = np.searchsorted(sizes, np.arange(UNITS + 1), side="right"), np.concatenate([[0.0], chances.cumsum()])
    use = np.zeros(UNITS + 1)
    for room in range(1, UNITS + 1):
        num = num_fit[room]
        if num:
            then = sizes[:num] + use[room - sizes[:num]]
            use[room] = more * (chances[:num] * then).sum() / (1.0 - more * (1.0 - fit[num]))
    return use / UNITS


def best_use(sizes: Ints, shares: Floats) -> Floats:
    """Return what a free part is worth at the prices of bundles that fill as few GPUs as can be.

    The prices are those of Gilmore and Gomory's cutting-stock problem, "which fillings, and how many of each, give all
    bundles room on the fewest GPUs?": what one more bundle of a size adds to that number. No filling of a whole GPU is
    worth more than 1, the fillings of the optimum are worth 1, and a free part is worth its best filling.

    Returns
    -------
    Floats
        Shape ``(UNITS + 1,)``.
    """
    asked = shares > 0
    sizes, shares = sizes[asked], shares[asked]
    if not len(sizes):
        return np.zeros(UNITS + 1)
    fillings = list(np.diag(UNITS // sizes))
    while True:
        found = linprog(
            np.ones(len(fillings)), A_ub=-np.stack(fillings, axis=1), b_ub=-shares / shares.max(), method="highs"
        )
        prices = np.maximum(-found.ineqlin.marginals, 0.0)
        worth = _fill(sizes, prices)
        if worth[UNITS] <= 1.0 + PRECISION:
            return np.asarray(worth / worth[UNITS])
        fillings.append(_filling(sizes, prices, worth))


def _fill(sizes: Ints, prices: Floats) -> Floats:
    """Return the worth of the best filling of each free part."""
    worth = np.zeros(UNITS + 1)
    for size, price in zip(sizes.tolist(), prices.tolist(), strict=True):
        for start in range(size, UNITS + 1, size):
            part = worth[start : start + size]
            np.maximum(part, worth[start - size : start][: len(part)] + price, out=part)
    return np.maximum.accumulate(worth)


def _filling(sizes: Ints, prices: Floats, worth: Floats) -> Ints:
    """Return how many of each size the best filling of a whole GPU has."""
    counts, room = np.zeros(len(sizes), dtype=np.int64), UNITS
    while room >= sizes[0]:
        fit = sizes[sizes <= room]
        gains = worth[room - fit] + prices[: len(fit)]
        best = int(np.argmax(gains))
        if gains[best] <= worth[room - 1] and worth[room - 1] >= worth[room]:
            room -= 1
            continue
        counts[best] += 1
        room -= int(fit[best])
    return counts
