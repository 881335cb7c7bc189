"""The largest shards first, each to whoever is done with it first."""

from __future__ import annotations

from typing import ClassVar

from policies.balance.division import within_memory
from policies.balance.filling import Filling
from policies.balance.speed_proportional import relative_speeds
from policies.interface import Assignment, Balance, RoundView, Unplaced


class Lpt(Balance):
    """Give the largest shard to whoever would be done with it first, then the next largest, and so on (LPT).

    Use it when shards differ in work: it needs no tuning, and is never far from the best hand-out (on m equal
    workers at most 4/3 - 1/(3m) times its makespan, on workers of different speed less than twice). What a worker
    needs before its first row, ``s_fixed`` and the message, counts.

    Of more than 2,048 shards with more than 64 different amounts of work, only the 2,048 largest are placed one by
    one; the others go in 64 batches of shards of nearly equal work, which changes the makespan by about a thousandth.

    Cost: O(s log s), and O(w log w) for each of at most 64 batches.

    Source: Graham, "Bounds on multiprocessing timing anomalies", SIAM Journal on Applied Mathematics 17(2), 1969;
    workers of different speed: Gonzalez, Ibarra and Sahni, SIAM Journal on Computing 6(1), 1977.
    """

    name: ClassVar[str] = "lpt"
    source: ClassVar[str] = "Graham, SIAM J. Appl. Math. 1969"
    promises: ClassVar[frozenset[str]] = frozenset({"monotone", "no-better-move"})

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard once, by earliest completion; within memory (bytes)."""
        s_per_work = view.workers.s_per_work
        owner = Filling.of(view, s_per_work).place(view.shards.work, view.shards.bytes)
        return within_memory(view, owner, relative_speeds(s_per_work))
