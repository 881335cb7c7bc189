"""Chunks: some shards for one worker, as few as have an amount of work; what policies that give on demand share."""

from __future__ import annotations

import numpy as np

from policies.balance.moving import ROUNDING, holders, keep
from policies.interface import MEMORY, Floats, Ints, RoundView


def first_chunks(view: RoundView, amounts: Floats, worker_of: Ints | None = None) -> Ints:
    """Return hand-outs of some of each worker's shards, up to an amount; -1 keeps a shard back. Shape ``(s,)``.

    Parameters
    ----------
    amounts
        Work, shape ``(w,)``, ``w >= 1``.
    worker_of
        Whose the shards are, shape ``(s,)``; without it who holds them, or runs of them where nobody holds any.
    """
    whose = holders(view) if worker_of is None else worker_of
    if (whose < 0).all():
        whose = np.searchsorted(np.cumsum(amounts), np.cumsum(view.shards.work) - view.shards.work / 2, side="right")
        whose = np.where(whose < len(amounts), whose, -1)
        amounts = np.full(len(amounts), np.inf)
    return keep(view, amounts, whose)


def chunk(view: RoundView, worker: int, pending: Ints, amount: float, least: int = 1) -> Ints:
    """Return some of ``pending`` for ``worker``, as few as have ``amount`` of work, but at least ``least``.

    They are within its memory. Those that it holds come first, then those that nobody holds, then the others.
    """
    limit, holder = view.workers.bundle[worker, MEMORY], holders(view)[pending]
    queue = pending[np.argsort(np.where(holder == worker, 0, np.where(holder < 0, 1, 2)), kind="stable")]
    queue = queue[view.shards.bytes[queue] <= limit]
    enough = int(np.searchsorted(np.cumsum(view.shards.work[queue]), amount * (1 - ROUNDING))) + 1
    room = int(np.searchsorted(np.cumsum(view.shards.bytes[queue]), limit, side="right"))
    return np.sort(queue[: min(max(enough, least), room)])
