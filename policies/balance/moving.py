"""Changing the last hand-out: what workers hold, and hand-outs that move little of it."""

from __future__ import annotations

import numpy as np

from policies.balance.division import fits, totals, work_limit
from policies.balance.filling import Filling, makespan, water_level
from policies.interface import MEMORY, Floats, Ints, RoundView

LEVELS = (1.0, 0.97, 0.9, 0.7)
"""Up to which part of the target time workers keep what they hold, tried in this order until the target is met."""

ROUNDING = 1e-9
"""What is over a limit by no more than this part of it is not: sums are rounded."""

PASSES = 8
"""How often workers look for smaller shards that they may keep, after one that they may not."""


def holders(view: RoundView) -> Ints:
    """Return the worker that holds each shard from the round before, -1 for none; shape ``(s,)``."""
    if len(view.resident) != len(view.shards):
        return np.full(len(view.shards), -1, dtype=np.int64)
    return np.where(view.resident < len(view.workers), view.resident, -1)


def keep(view: RoundView, most: Floats, worker_of: Ints | None = None) -> Ints:
    """Let every worker keep shards that it holds, those first whose bytes are most for their work.

    Parameters
    ----------
    most
        How much work each may keep, shape ``(w,)``; its memory is a limit too.
    worker_of
        Whose the shards are, -1 for nobody, shape ``(s,)``; without it who holds them from the round before.

    Returns
    -------
    Ints
        The worker that keeps each shard, or -1 for what must move; shape ``(s,)``.
    """
    work, size = view.shards.work, view.shards.bytes
    holder = holders(view) if worker_of is None else worker_of
    owner = np.full(len(work), -1, dtype=np.int64)
    held = np.flatnonzero(holder >= 0)
    held = held[_order(work[held], size[held], holder[held])]
    left_work, left_bytes = most * (1 + ROUNDING), view.workers.bundle[:, MEMORY].copy()
    for _ in range(PASSES):
        if not len(held):
            break
        mine = holder[held]
        first = np.searchsorted(mine, mine)
        stays = (_within(work[held], first) <= left_work[mine]) & (_within(size[held], first) <= left_bytes[mine])
        owner[held[stays]] = mine[stays]
        left_work = left_work - totals(mine[stays], work[held[stays]], len(most))
        left_bytes = left_bytes - totals(mine[stays], size[held[stays]], len(most))
        held = held[~stays]
        mine = holder[held]
        held = held[(work[held] <= left_work[mine]) & (size[held] <= left_bytes[mine])]  # what may still fit
    return owner


def near(view: RoundView, ready: Floats, s_per_work: Floats, slack: float) -> Ints:
    """Return a hand-out that takes at most ``1 + slack`` times the shortest time, and moves few bytes.

    The shortest time is that of shards which can be split. Where the target cannot be met it is that of the best known
    hand-out: largest first by earliest completion, or the last one if that takes less. Workers keep what they are
    done with in time, and the rest goes to whoever is done with it first. Where that takes too long they keep less.

    Parameters
    ----------
    ready, s_per_work
        When a worker can begin, and its seconds per unit of work; shape ``(w,)``, finite, in any unit.
    slack
        At least 0.

    Returns
    -------
    Ints
        The worker of each shard, -1 where memory does not suffice; shape ``(s,)``.
    """
    last = holders(view)
    lasted = completed(view, last, ready, s_per_work)[1] if fits(view, last) else np.inf
    split, _ = water_level(float(view.shards.work.sum()), ready, s_per_work, work_limit(view))

    def kept_up_to(target: float, level: float = 1.0) -> Ints | None:
        """Return a hand-out that is done by ``target``, if everyone keeps what is done at that part of it."""
        if lasted <= target:
            return last
        kept = keep(view, np.maximum(level * target - ready, 0.0) / s_per_work)
        owner, lasts = completed(view, kept, ready, s_per_work)
        return owner if lasts <= target * (1 + ROUNDING) else None

    if (last >= 0).any() and split < np.inf and (owner := kept_up_to((1 + slack) * split)) is not None:
        return owner
    best, shortest = completed(view, np.full(len(last), -1, dtype=np.int64), ready, s_per_work)
    if (best < 0).any() or (last < 0).all():
        return best
    target = (1 + slack) * min(shortest, lasted)
    tries = (kept_up_to(target, level) for level in LEVELS)
    return next((owner for owner in tries if owner is not None), best)


def pays(
    view: RoundView, worker_of: Ints, ready: Floats, s_per_work: Floats, s_per_byte: Floats, num_rounds: int
) -> bool:
    """Say whether a hand-out saves in so many rounds what it takes to bring its shards to where they are not yet.

    True where the last hand-out cannot be had again. All seconds are in one unit, as ``pace`` returns them.
    """
    last = holders(view)
    if (worker_of < 0).any() or not fits(view, last):
        return True
    saved = makespan(last, view.shards.work, ready, s_per_work) - makespan(
        worker_of, view.shards.work, ready, s_per_work
    )
    moved = np.where(worker_of == last, -1, worker_of)
    bringing = totals(moved, view.shards.bytes, len(ready)) * s_per_byte
    return bool(num_rounds * saved > bringing.max(initial=0.0))


def completed(
    view: RoundView, worker_of: Ints, ready: Floats, s_per_work: Floats, s_per_byte: Floats | None = None
) -> tuple[Ints, float]:
    """Give what is nobody's yet (-1) to whoever is done with it first, largest first.

    Parameters
    ----------
    worker_of
        Who keeps each shard, which it need not read, shape ``(s,)``.
    ready, s_per_work, s_per_byte
        As in ``Filling``.

    Returns
    -------
    worker_of, makespan
        A hand-out, -1 where memory does not suffice, and when its last worker is done; infinite if there is a -1.
    """
    work, size, num = view.shards.work, view.shards.bytes, len(ready)
    filling = Filling(ready, s_per_work, view.workers.bundle[:, MEMORY], s_per_byte)
    filling.hold(worker_of, work, size)
    owner, left = worker_of.copy(), np.flatnonzero(worker_of < 0)
    owner[left] = filling.place(work[left], size[left])
    if (owner < 0).any():
        return owner, np.inf
    return owner, float(filling.done[np.bincount(owner, minlength=num) > 0].max(initial=0.0))


def _order(work: Floats, size: Floats, holder: Ints) -> Ints:
    """Sort shards by their holder, then by what should rather stay."""
    narrow = holder.astype(np.uint16 if holder.max(initial=0) < 2**16 else np.int64)  # sorted much faster
    if not len(work) or (np.ptp(work) == 0 and np.ptp(size) == 0):
        return np.argsort(narrow, kind="stable")
    dense = size / np.maximum(work, 1e-12 * work.max() or 1.0)
    like = np.argsort(-work) if np.ptp(dense) <= 1e-9 * dense.max() else np.lexsort((-work, -dense))
    return like[np.argsort(narrow[like], kind="stable")]


def _within(amounts: Floats, first: Ints) -> Floats:
    """Add up amounts from the first of each group to each of its members; ``first`` is where its group begins."""
    sums = np.cumsum(amounts)
    return sums - (sums - amounts)[first]
