"""Everyone done at the same time, with what must be sent and read."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from policies.balance.division import fits, totals, within_memory, work_limit
from policies.balance.filling import pace, water_level
from policies.balance.moving import completed, holders, keep
from policies.balance.speed_proportional import relative_speeds
from policies.interface import Assignment, Balance, RoundView, Unplaced


class OptPerf(Balance):
    """Let everyone who is used be done at the same time, with sending, reading and computing together (OptPerf).

    Use it when workers are on networks of different speed, or must read what they do not hold: a worker gets less
    the more it has to wait for, and nothing if the others are done before it could begin. A worker takes ``s_fixed``
    for messages, then ``s_per_work`` for each unit of work, and ``s_per_byte`` more for each byte of a shard that it
    does not hold. The common time is exact for shards that can be split; whole shards are then kept up to a worker's
    part, and the others go to whoever is done with them first. Where that is quicker, all go so, or none.

    Cannikin overlaps sending gradients with computing them, and learns its model as it goes; here nothing overlaps,
    and the model is what the round's view says.

    Cost: that of ``lpt``.

    Source: Nie, Maghakian and Liu, "Cannikin: optimal adaptive distributed DNN training over heterogeneous clusters",
    Middleware 2024.
    """

    name: ClassVar[str] = "opt-perf"
    source: ClassVar[str] = "Nie, Maghakian & Liu (Cannikin), Middleware 2024"
    promises: ClassVar[frozenset[str]] = frozenset({"monotone"})

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard once, all done at the same time; within memory (bytes)."""
        work, size, s_per_work = view.shards.work, view.shards.bytes, view.workers.s_per_work
        ready, step, per_byte = pace(view, s_per_work)
        last = holders(view)
        held = totals(last, work, len(step))
        dense = size.sum() / work.sum() if work.sum() > 0 else 0.0
        reading = step + dense * per_byte  # first what a worker holds, then what it has to read
        limit = work_limit(view)
        _, amounts = water_level(
            float(work.sum()),
            np.concatenate([ready, ready + held * step]),
            np.concatenate([step, reading]),
            np.concatenate([np.minimum(held, limit), np.maximum(limit - held, 0.0)]),
        )
        kept = [keep(view, amounts[: len(step)])]
        if (last >= 0).any():
            kept.append(np.full(len(work), -1, dtype=np.int64))
        if fits(view, last):
            kept.append(last)
        owner, _ = min((completed(view, held, ready, step, per_byte) for held in kept), key=lambda found: found[1])
        return within_memory(view, owner, relative_speeds(s_per_work))
