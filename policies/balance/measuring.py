"""What was measured in the round before, and what is remembered of it from round to round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from policies.balance.division import totals
from policies.balance.moving import holders
from policies.interface import Floats, RoundView, frozen

CHANGED = 2.0
"""A worker whose seconds grow or shrink by more than this factor from one round to the next has changed."""


def measured(view: RoundView) -> Floats:
    """Return the seconds per unit of work that each worker took in the round before; NaN where it had none."""
    num = len(view.workers)
    if len(view.last_s) != num:
        return np.full(num, np.nan)
    had = totals(holders(view), view.shards.work, num)
    known = (had > 0) & (view.last_s > 0) & np.isfinite(view.last_s)
    return np.where(known, view.last_s / np.where(known, had, 1.0), np.nan)


def remembered(view: RoundView, what: str) -> Floats:
    """Return what ``memory`` kept of each worker under this name, shape ``(w,)``; NaN where there is nothing."""
    workers, values = view.state.get("workers", ()), view.state.get(what, ())
    if workers == view.workers.ids:
        return np.array(values, dtype=np.float64)
    known = dict(zip(workers, values, strict=True))
    return np.array([known.get(worker, np.nan) for worker in view.workers.ids], dtype=np.float64)


def memory(view: RoundView, **columns: Floats) -> Mapping[str, Any]:
    """Return a state that keeps columns over the workers, each of shape ``(w,)``, by the workers' names."""
    return {"workers": view.workers.ids, **{name: frozen(column) for name, column in columns.items()}}


def average(view: RoundView, smoothing: float) -> Floats:
    """Return the moving average of each worker's measured seconds per unit of work, NaN where it never had any.

    The average is exponentially weighted; what was averaged so far is in the view's state as ``s_per_work``. A change
    that is too large to be noise counts in full: the worker has become another one. A worker that had no work changes
    as most others do: they may be computing something else.

    Parameters
    ----------
    smoothing
        How much the round before counts, over 0 and up to 1.
    """
    now, before = measured(view), remembered(view, "s_per_work")
    mixed = (1 - smoothing) * before + smoothing * now
    with np.errstate(invalid="ignore"):
        mixed = np.where((now > CHANGED * before) | (before > CHANGED * now), now, mixed)
    both = np.isfinite(now) & np.isfinite(before) & (before > 0)
    ratios = np.sort(now[both] / before[both])
    usual = ratios[(len(ratios) - 1) // 2] if len(ratios) else 1.0
    return np.where(np.isnan(mixed), np.where(np.isnan(now), before * usual, now), mixed)


def estimate(view: RoundView, seconds: Floats | None = None) -> Floats:
    """Return seconds per unit of work for every worker that anything is known of.

    Workers that never had work count as fast as they were probed (``view.workers.s_per_work``), in relation to the
    others: a probe is another computation than a round.

    Parameters
    ----------
    seconds
        What was measured, NaN where nothing was; without it, what was measured in the round before.
    """
    seconds = measured(view) if seconds is None else seconds
    probed = np.where(view.workers.s_per_work > 0, view.workers.s_per_work, np.nan)
    both = np.isfinite(seconds) & np.isfinite(probed)
    with np.errstate(over="ignore"):
        scale = seconds[both].sum() / probed[both].sum() if both.any() else 1.0
        return np.where(np.isnan(seconds), probed * scale, seconds)
