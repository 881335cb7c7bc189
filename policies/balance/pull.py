"""Chunks for whoever is idle, each smaller than the last."""

from __future__ import annotations

from bisect import bisect_left
from typing import ClassVar

import numpy as np

from policies.balance.chunks import chunk, first_chunks
from policies.balance.division import too_large, totals, within_memory
from policies.balance.filling import Filling
from policies.balance.moving import ROUNDING
from policies.balance.speculation import PATIENCE
from policies.balance.speed_proportional import relative_speeds
from policies.interface import Assignment, Balance, Floats, Ints, RoundView, Unplaced
from policies.options import number, whole


class Pull(Balance):
    """Give whoever is idle the next chunk of what is left, large ones first and small ones at the end.

    Use it when speeds are not known or change within a round, and a call costs little beside its chunk. With w
    workers a chunk is ``1 / (divisor * w)`` of the work that is left. A worker is given shards that it holds before
    others. Where idle workers cannot ask (the view does not pull), all chunks are handed out at once, each to whoever
    would be done with it first by the measured speeds.

    Parameters
    ----------
    divisor
        Greater than 0. 1 is guided self-scheduling, whose first chunk is a whole equal share, too much for a slow
        worker; 2, the default, takes half of that, as factoring does.
    min_chunk
        The fewest shards of a chunk, at least 1.
    patience
        As in ``adaptive``.

    Raises
    ------
    PolicyError
        If an option is out of bounds.

    Cost: O(s) a chunk; all at once, as ``lpt`` for the chunks.

    Source: Polychronopoulos and Kuck, "Guided self-scheduling: a practical scheduling scheme for parallel
    supercomputers", IEEE Transactions on Computers C-36(12), 1987; Hummel, Schonberg and Flynn, "Factoring: a method
    for scheduling parallel loops", Communications of the ACM 35(8), 1992.
    """

    name: ClassVar[str] = "pull"
    source: ClassVar[str] = "Polychronopoulos & Kuck, IEEE TC 1987"
    redivides: ClassVar[bool] = True

    def __init__(self, divisor: float = 2.0, min_chunk: int = 1, patience: float = PATIENCE) -> None:
        self.divisor = number("divisor", divisor, over=0.0)
        self.min_chunk = whole("min_chunk", min_chunk, at_least=1)
        self.patience = number("patience", patience, at_least=1.0)

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every worker's first chunk, or where ``view.pulls`` is false every chunk; within memory (bytes)."""
        num, work = len(view.workers), view.shards.work
        if view.pulls and num:
            part = min(1.0 / (self.divisor * num), 1.0)
            least = self.min_chunk * work.sum() / max(len(work), 1)
            amounts = part * (1.0 - part) ** np.arange(num) * work.sum()
            refusal = too_large(view)
            return refusal or Assignment(first_chunks(view, np.maximum(amounts, least)))
        s_per_work = view.workers.s_per_work
        chunk_of = self._chunks(work, num)
        num_chunks = int(chunk_of[-1]) + 1 if len(chunk_of) else 0
        whole_work, whole_bytes = (totals(chunk_of, amount, num_chunks) for amount in (work, view.shards.bytes))
        owner = Filling.of(view, s_per_work).place(whole_work, whole_bytes)[chunk_of]
        return within_memory(view, owner, relative_speeds(s_per_work))

    def next(self, view: RoundView, worker: int) -> Ints:
        """Return the next chunk: shards that ``worker`` holds, then those that nobody holds, then any."""
        left = view.shards.work[view.pending].sum()
        return chunk(view, worker, view.pending, left / (self.divisor * len(view.workers)), self.min_chunk)

    def _chunks(self, work: Floats, num_workers: int) -> Ints:
        """Return which chunk each shard is in, in their order; shape ``(s,)``."""
        sums = [0.0, *np.cumsum(work).tolist()]
        ends = [0]
        while ends[-1] < len(work):
            done = sums[ends[-1]]
            enough = done + (sums[-1] - done) / (self.divisor * max(num_workers, 1)) * (1 - ROUNDING)
            ends.append(min(max(bisect_left(sums, enough, ends[-1] + 1), ends[-1] + self.min_chunk), len(work)))
        return np.repeat(np.arange(len(ends) - 1), np.diff(ends))
