"""What large weights cost: elastic net, the sum of a ridge (L2) and a lasso (L1) penalty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.data.rows import Floats
from workers.kernels import FAST, Kernels


@dataclass(frozen=True)
class Penalty:
    """``l2 / 2 * |w|**2 + l1 * sum |w|`` on the weights of standardised columns; intercepts cost nothing.

    Source: Zou, Hastie, Regularization and variable selection via the elastic net (2005).
    """

    l2: float = 0.0
    l1: float = 0.0

    def value(self, parameters: Floats, mask: Floats) -> float:
        """Return the cost; ``mask`` is 1 where a parameter is a weight, 0 where it is an intercept."""
        ridge = 0.5 * self.l2 * float((mask * parameters * parameters).sum())
        return ridge + (self.l1 * float((mask * np.abs(parameters)).sum()) if self.l1 else 0.0)

    def steepest(self, parameters: Floats, gradient: Floats, mask: Floats) -> Floats:
        """Return the shortest subgradient of a smooth loss with this ``gradient`` (ridge included) and the lasso part.

        It is 0 at the optimum and nowhere else.
        """
        return steepest(parameters, gradient, self.l1 * mask) if self.l1 else gradient

    def shrunk(self, parameters: Floats, step: Floats | float) -> Floats:
        """Return the proximal step of the lasso part: ``parameters`` moved towards 0 by ``step * l1``.

        ``step`` is a number, or one for each parameter (0 where nothing is to be shrunk).
        """
        if not self.l1:
            return parameters
        shrunk: Floats = np.sign(parameters) * np.maximum(np.abs(parameters) - self.l1 * step, 0.0)
        return shrunk


def steepest(x: Floats, gradient: Floats, thresholds: Floats) -> Floats:
    """Return the shortest subgradient of a smooth function with this ``gradient`` plus ``thresholds' |x|``."""
    at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - thresholds, 0.0)
    shortest: Floats = np.where(x == 0, at_zero, gradient + thresholds * np.sign(x))
    return shortest


ATTEMPTS = 100
SWEEPS = 10
"""So many sweeps of coordinate descent, and then as many steps of the active set, in an attempt."""

TOLERANCE = 1e-14


def quadratic_minimum(
    hessian: Floats, gradient: Floats, start: Floats, thresholds: Floats, kernels: Kernels = FAST
) -> Floats:
    """Return where ``gradient' d + d' H d / 2 + thresholds' |x|`` has its minimum, for ``d = x - start``.

    Cyclic coordinate descent comes near in few sweeps, but creeps where columns are nearly collinear; then an active
    set takes over. Ends at the latest when no coordinate moves by more than rounding, or after 1000 sweeps.

    Source: Friedman, Hastie, Tibshirani, Regularization paths for generalized linear models via coordinate
    descent (2010), section 2; Lee, Battle, Raina, Ng, Efficient sparse coding algorithms (NIPS 2006), algorithm 1.
    """
    x, slope = start.copy(), gradient.copy()
    rounding = 1e-13 * max(float(np.abs(gradient).max()), float(thresholds.max()))
    for _ in range(ATTEMPTS):
        for _ in range(SWEEPS):
            if _swept(hessian, x, slope, thresholds) <= TOLERANCE * float(np.abs(x).max()):
                return x
        for _ in range(len(x) + SWEEPS):
            if _stepped(hessian, x, slope, thresholds, rounding, kernels):
                break
        if (np.abs(steepest(x, slope, thresholds)) <= rounding).all():
            return x
    return x


def _swept(hessian: Floats, x: Floats, slope: Floats, thresholds: Floats) -> float:
    """Move every coordinate of ``x`` in turn to its minimum, and ``slope`` with it; return the longest move."""
    diagonal, longest = np.diagonal(hessian), 0.0
    for place in np.flatnonzero(diagonal > 0):
        curvature = diagonal[place]
        free = x[place] - slope[place] / curvature
        new = np.sign(free) * max(abs(free) - thresholds[place] / curvature, 0.0)
        change = new - x[place]
        if change:
            slope += change * hessian[:, place]
            x[place] = new
            longest = max(longest, abs(change))
    return longest


def _stepped(hessian: Floats, x: Floats, slope: Floats, thresholds: Floats, rounding: float, kernels: Kernels) -> bool:
    """Move ``x`` to the minimum for its signs, or to the first change of a sign on the way there.

    Where no sign is in the way, the coordinate at 0 that has the largest subgradient left gets the sign in which it
    falls. Returns whether there is nothing to be done.
    """
    signs, left = np.sign(x), steepest(x, slope, thresholds)
    at_zero = (x == 0) & (thresholds > 0)
    if (np.abs(left[~at_zero]) <= rounding).all():
        worst = int(np.where(at_zero, np.abs(left), 0.0).argmax())
        if not at_zero[worst] or abs(left[worst]) <= rounding:
            return True
        at_zero[worst], signs[worst] = False, -np.sign(left[worst])
    active = np.flatnonzero(~at_zero)
    move = np.zeros_like(x)
    move[active] = -kernels.solve(hessian[np.ix_(active, active)], (slope + thresholds * signs)[active])
    crossing = (thresholds > 0) & (x != 0) & ((x + move) * signs < 0)
    part = float((x[crossing] / -move[crossing]).min(initial=1.0))
    before = x.copy()
    x += part * move
    x[crossing & (x * signs <= 1e-15 * np.abs(before))] = 0.0
    slope += (hessian * (x - before)).sum(axis=1)
    return not (x != before).any()
