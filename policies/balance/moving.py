"""Changing the last hand-out: what workers hold, and hand-outs that move little of it."""

from __future__ import annotations

import numpy as np

from policies.balance.division import by_weight, even, largest_remainder, totals, within_memory
from policies.balance.filling import SLOWEST, Filling
from policies.interface import MEMORY, Assignment, Floats, Ints, RoundView, Unplaced

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
    left_work, left_bytes = most * (1 + 1e-9), view.workers.bundle[:, MEMORY].copy()
    for _ in range(PASSES):
        if not len(held):
            break
        mine = holder[held]
        first = np.searchsorted(mine, mine)
        fits = (_within(work[held], first) <= left_work[mine]) & (_within(size[held], first) <= left_bytes[mine])
        owner[held[fits]] = mine[fits]
        left_work = left_work - totals(mine[fits], work[held[fits]], len(most))
        left_bytes = left_bytes - totals(mine[fits], size[held[fits]], len(most))
        held = held[~fits]
        mine = holder[held]
        held = held[(work[held] <= left_work[mine]) & (size[held] <= left_bytes[mine])]  # what may still fit
    return owner


def toward(view: RoundView, weights: Floats) -> Assignment | Unplaced:
    """Change the last hand-out to one in proportion to ``weights`` (shape ``(w,)``) and move little; within memory.

    Even shards are counted, and move only from workers that have more than their quota to those that have less.
    Others go, the one with most work first, to whoever then has least of its share; a worker keeps what it holds up
    to its share and half a shard.
    """
    work, num = view.shards.work, len(view.workers)
    if not num:
        return by_weight(view, weights)
    if even(work):
        counts = largest_remainder(weights, len(work))
        owner = _first(holders(view), counts)
        lacking = counts - totals(owner, np.ones(len(owner)), num).astype(np.int64)
        owner[owner < 0] = np.repeat(np.arange(num), lacking)
        return within_memory(view, owner, weights)
    parts = weights / weights.sum() if weights.any() else np.full(num, 1.0 / num)
    share = np.maximum(parts, SLOWEST) * work.sum()
    owner = keep(view, share + work.mean() / 2)
    left = np.flatnonzero(owner < 0)
    filling = Filling(np.zeros(num), 1.0 / share, view.workers.bundle[:, MEMORY])
    filling.hold(owner, work, view.shards.bytes)
    owner[left] = filling.place(work[left], view.shards.bytes[left])
    return within_memory(view, owner, weights)


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


def _first(holder: Ints, counts: Ints) -> Ints:
    """Let everyone keep the first ``counts`` shards that it holds; -1 for the others."""
    order = np.argsort(holder, kind="stable")
    mine = holder[order]
    nth = np.arange(len(mine)) - np.searchsorted(mine, mine)
    kept = (mine >= 0) & (nth < counts[mine])
    owner = np.full(len(holder), -1, dtype=np.int64)
    owner[order[kept]] = mine[kept]
    return owner
