"""Shards of a call that is too slow, for whoever is idle: the call counts or its copies do, with the same bits.

Source: the backup tasks of Dean and Ghemawat, "MapReduce: simplified data processing on large clusters", OSDI 2004;
that a copy must promise to be done first is from Zaharia, Konwinski, Joseph, Katz and Stoica, "Improving MapReduce
performance in heterogeneous environments" (LATE), OSDI 2008.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policies.balance.chunks import chunk
from policies.balance.moving import holders
from policies.balance.speed_proportional import relative_speeds
from policies.interface import Floats, Ints, RoundView

PATIENCE = 1.5
"""How many times as long as expected a call may take, for policies that do not say otherwise."""

BITE = 0.25
"""A copy takes no longer than this part of the time that the call is likely to last: if it was in vain, little is lost.
"""


def is_overdue(expected_s: Floats, running_s: Floats, patience: float) -> NDArray[np.bool_]:
    """Return which calls have taken too long, shape ``(w,)``; none of which nothing is known."""
    return (running_s >= patience * expected_s) & (running_s > 0)


def remaining(expected_s: Floats, running_s: Floats, patience: float) -> Floats:
    """Return how long calls are likely to last yet, shape ``(w,)``, NaN where nothing is known.

    Nothing is known of how far a call is: one that is overdue is taken to last as long again.
    """
    return np.where(is_overdue(expected_s, running_s, patience), running_s, expected_s - running_s)


def hopeless(view: RoundView, slow: int, remaining_s: float, patience: float) -> bool:
    """Say whether the others together would be done with a call by far earlier than the worker that is at it.

    Parameters
    ----------
    view
        The round; ``pending`` are the call's shards that have no copy yet, ``workers.s_per_work`` what was measured.
    """
    with np.errstate(divide="ignore"):
        speeds = 1.0 / view.workers.s_per_work
    speeds[slow] = 0.0
    together = float(np.nansum(speeds[np.isfinite(speeds)]))
    work = float(view.shards.work[view.pending].sum())
    return together > 0 and patience * work / together <= remaining_s


def portion(view: RoundView, worker: int, idle: Ints, remaining_s: float) -> Ints:
    """Return which shards of another worker's call an idle worker is to compute too; none where that would not help.

    Idle workers share what nobody has copied yet by their speeds, and come back for more.

    Parameters
    ----------
    view
        As for ``hopeless``.
    worker, idle
        Its row, and the rows of all that have nothing to do.
    remaining_s
        For how long the call is likely to last yet, seconds.
    """
    pending, workers = view.pending, view.workers
    pending = pending[_seconds(view, worker) <= remaining_s]
    if not len(pending):
        return pending
    speeds = relative_speeds(workers.s_per_work)
    whole = float(view.shards.work[view.pending].sum())
    share = whole * speeds[worker] / max(speeds[idle].sum(), speeds[worker])
    s_per_work = workers.s_per_work[worker]
    bite = BITE * remaining_s / s_per_work if s_per_work > 0 else share
    return chunk(view, worker, pending, min(share, bite))


def _seconds(view: RoundView, worker: int) -> Floats:
    """Return how long each pending shard would take on a worker that brings in what it does not hold."""
    workers, shards = view.workers, view.shards
    missing = np.where(holders(view)[view.pending] == worker, 0.0, shards.bytes[view.pending])
    bringing = missing * workers.s_per_byte[worker] + workers.s_fixed[worker]
    computing = shards.work[view.pending] * workers.s_per_work[worker]
    found: Floats = bringing + np.nan_to_num(computing)
    return found
