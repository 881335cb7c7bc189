"""Dividing shards by weight, within each worker's memory: what balance policies share.

Apportionment is Hamilton's method of largest remainders (Balinski and Young, "Fair Representation", 1982);
when memory binds, what is left over is packed by best fit decreasing (Johnson et al., SIAM J. Computing
1974).
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort

import numpy as np

from policies.interface import MEMORY, Assignment, Floats, Ints, RoundView, Shortfall, Unplaced, frozen

EVEN_ROWS = 1.0
"""Shards whose work differs by no more than this (rows) are an even cut, and are divided by count."""


def largest_remainder(weights: Floats, total: int) -> Ints:
    """Split ``total`` into whole parts in proportion to ``weights``, by Hamilton's method.

    Every part is its exact quota rounded down or up, and their sum is ``total``. Equal remainders go to the
    larger weight, then to the lower row. If all weights are zero they count as equal.

    Parameters
    ----------
    weights
        Shape ``(w,)``, ``w >= 1``, finite and at least 0, in any unit.
    total
        What is split, at least 0.

    Returns
    -------
    Ints
        Shape ``(w,)``.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, ``total`` is negative, or there is nobody to give it to.
    """
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError(f"weights must be finite and at least 0, but got {weights}")
    if total < 0 or (total and not len(weights)):
        raise ValueError(f"total must be at least 0, and 0 for no weights, but got total={total}")
    if not weights.any():
        weights = np.ones_like(weights)
    if not len(weights):
        return np.zeros(0, dtype=np.int64)
    weights = np.ldexp(weights, -math.frexp(weights.max())[1])  # exact, and sums cannot overflow
    quotas = total * weights / math.fsum(weights)  # fsum: the order of the rows does not matter
    counts: Ints = np.floor(quotas).astype(np.int64)
    by_remainder = np.lexsort((-weights, counts - quotas))
    counts[by_remainder[: total - int(counts.sum())]] += 1
    return counts


def even(work: Floats) -> bool:
    """Say whether shards are divided by count: their work (shape ``(s,)``) differs by no more than ``EVEN_ROWS``."""
    return not len(work) or bool(np.ptp(work) <= EVEN_ROWS)


def totals(worker_of: Ints, amounts: Floats, num_workers: int) -> Floats:
    """Add up the amounts (shape ``(s,)``) of each worker's shards; -1 is nobody. Shape ``(num_workers,)``."""
    if worker_of.min(initial=0) < 0:
        mine = worker_of >= 0
        worker_of, amounts = worker_of[mine], amounts[mine]
    return np.bincount(worker_of, amounts, num_workers).astype(np.float64, copy=False)


def contiguous(counts: Ints) -> Ints:
    """Give the first ``counts[0]`` shards to worker 0, the next to worker 1, and so on; shape ``(s,)``."""
    return np.repeat(np.arange(len(counts), dtype=np.int64), counts)


def contiguous_work(work: Floats, weights: Floats) -> Ints:
    """Cut the shards into runs whose work is in proportion to ``weights``, to the nearest shard boundary.

    Parameters
    ----------
    work
        Rows of each shard, shape ``(s,)``, at least one positive.
    weights
        Shape ``(w,)``, ``w >= 1``, finite and at least 0; all zero counts as equal.

    Returns
    -------
    Ints
        The worker of each shard, ascending; shape ``(s,)``. A weight of 0 gets nothing.
    """
    weights = weights / weights.max() if weights.any() else np.ones_like(weights)
    edges = np.cumsum(weights)
    middles = (np.cumsum(work) - work / 2) * (edges[-1] / work.sum())
    last = int(np.flatnonzero(weights)[-1])
    worker_of: Ints = np.searchsorted(edges, middles, side="right").astype(np.int64)
    return np.minimum(worker_of, last)


def by_weight(view: RoundView, weights: Floats) -> Assignment | Unplaced:
    """Divide the shards in contiguous runs in proportion to ``weights`` (shape ``(w,)``), within memory.

    The quota is one of shards when they are even (to ``EVEN_ROWS``), otherwise one of work.
    """
    work = view.shards.work
    if not len(view.workers):
        return _no_workers(view)
    runs = contiguous(largest_remainder(weights, len(work))) if even(work) else contiguous_work(work, weights)
    return within_memory(view, runs, weights)


def within_memory(view: RoundView, worker_of: Ints, weights: Floats) -> Assignment | Unplaced:
    """Keep ``worker_of`` where memory allows; move what is too much to others, by their weights.

    A worker over its limit keeps the first shards of its queue; the surplus goes, by count, to workers with
    room in proportion to ``weights``, and so does what is nobody's yet. What then still has no place is packed
    largest first into the tightest room; if that fails all shards are packed so, whatever the weights. Only if
    that fails too are they ``Unplaced``.

    Parameters
    ----------
    view
        The round; the limit is column ``MEMORY`` of ``view.workers.bundle``, bytes.
    worker_of
        Who should have each shard, -1 for anyone, shape ``(s,)``; not read when there are no workers.
    weights
        Shape ``(w,)``, finite and at least 0.
    """
    if not len(view.workers):
        return _no_workers(view)
    size, limit = view.shards.bytes, view.workers.bundle[:, MEMORY]
    if fits(view, worker_of):
        return Assignment(frozen(worker_of, np.int64))
    owner = _spill(worker_of, size, limit, weights)
    left = np.flatnonzero(owner < 0)
    owner[left] = best_fit(size[left], limit - totals(owner, size, len(limit)))
    if (owner < 0).any():
        owner = best_fit(size, limit)
    return _unplaced(view, owner) if (owner < 0).any() else Assignment(frozen(owner, np.int64))


def fits(view: RoundView, worker_of: Ints) -> bool:
    """Say whether every shard has a worker, and none more bytes than its memory; ``worker_of`` of shape ``(s,)``."""
    limit = view.workers.bundle[:, MEMORY]
    return bool((worker_of >= 0).all() and (totals(worker_of, view.shards.bytes, len(limit)) <= limit).all())


def work_limit(view: RoundView) -> Floats:
    """Return how much work each worker's memory holds at the mean bytes per unit of work; shape ``(w,)``."""
    limit, work, size = view.workers.bundle[:, MEMORY], view.shards.work.sum(), view.shards.bytes.sum()
    return limit * (work / size) if work > 0 and size > 0 else np.full(len(limit), np.inf)


def best_fit(sizes: Floats, room: Floats) -> Ints:
    """Pack ``sizes`` (bytes, ``(s,)``), largest first, into the tightest of ``room`` (bytes, ``(w,)``).

    Returns
    -------
    Ints
        The row of ``room`` of each, or -1 if none had enough; shape ``(s,)``.
    """
    owner = np.full(len(sizes), -1, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    rooms = sorted((free, w) for w, free in enumerate(room.tolist()))
    values, counts = np.unique(sizes, return_counts=True)
    start = 0
    for size, count in zip(values[::-1].tolist(), counts[::-1].tolist(), strict=True):
        end = start + count
        while start < end and (at := bisect_left(rooms, (size, -1))) < len(rooms):
            free, w = rooms.pop(at)  # equal sizes fill the tightest room before the next: take all at once
            take = min(end - start, int(free // size)) if size > 0 else end - start
            owner[order[start : start + take]] = w
            insort(rooms, (free - take * size, w))
            start += take
        start = end
    return owner


def too_large(view: RoundView) -> Unplaced | None:
    """Refuse shards that no worker's memory holds even alone; None if there are no such shards."""
    size, limit = view.shards.bytes, view.workers.bundle[:, MEMORY]
    large = size > limit.max(initial=-1.0)
    if not large.any():
        return None
    return _refusal(view, int((~large).sum()), float(size[large].min()), limit)


def _spill(worker_of: Ints, size: Floats, limit: Floats, weights: Floats) -> Ints:
    """Cut every queue at its worker's limit, and offer the rest to those still open; -1 if all are full."""
    owner = np.full(len(worker_of), -1, dtype=np.int64)
    room, open_weights = limit.copy(), weights.copy()
    left = np.argsort(worker_of, kind="stable")
    offer = worker_of[left]
    while True:
        before = np.cumsum(size[left]) - size[left]
        queued = before - before[np.searchsorted(offer, offer)]  # bytes ahead in the same worker's queue
        fit = (offer >= 0) & (queued + size[left] <= room[offer])
        owner[left[fit]] = offer[fit]
        room -= totals(offer[fit], size[left[fit]], len(room))
        open_weights[offer[~fit & (offer >= 0)]] = 0.0  # from the second pass on each closes a worker, so this ends
        left = left[~fit]
        if not (len(left) and open_weights.any()):
            return owner
        offer = contiguous(largest_remainder(open_weights, len(left)))


def _unplaced(view: RoundView, owner: Ints) -> Unplaced:
    size, limit = view.shards.bytes, view.workers.bundle[:, MEMORY]
    free = limit - totals(owner, size, len(limit))
    return _refusal(view, int((owner >= 0).sum()), float(size[owner < 0].min()), free)


def _refusal(view: RoundView, placed: int, needed: float, free: Floats) -> Unplaced:
    """Say how many shards fit, and that no worker has the bytes that one more needs."""
    reasons = tuple(
        Shortfall("memory", needed, float(free[w]), f"worker {worker}") for w, worker in enumerate(view.workers.ids)
    )
    return Unplaced(f"shards of job {view.job}", placed, len(view.shards), reasons)


def _no_workers(view: RoundView) -> Assignment | Unplaced:
    if not len(view.shards):
        return Assignment(frozen([], np.int64))
    reason = Shortfall("workers", 1.0, 0.0, f"job {view.job}")
    return Unplaced(f"shards of job {view.job}", 0, len(view.shards), (reason,))
