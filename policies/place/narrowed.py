"""Placing on some of the nodes only: what placements share that first choose among nodes, then place on those."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from policies.interface import Claim, Floats, Ints, Memo, PlaceView, Slot, Unplaced

PlaceCall = Callable[[Claim, PlaceView, Memo | None], tuple[Slot, ...] | Unplaced]
"""``Place.place``, bound to its placement."""


def narrowed(place: PlaceCall, claim: Claim, view: PlaceView, rows: Ints) -> tuple[Slot, ...] | Unplaced:
    """Return what ``place`` answers where there are only the nodes ``rows``; its slots name rows of ``view.nodes``."""
    answer = place(claim, replace(view, nodes=view.nodes.take(rows)), None)
    if isinstance(answer, Unplaced):
        return answer
    return tuple(Slot(int(rows[slot.node]), slot.devices) for slot in answer)


def fewest(room: Floats, wanted: float, *ties: Floats | Ints) -> Ints:
    """Choose the fewest containers that hold ``wanted``: the largest, and as the last one the tightest that will do.

    Parameters
    ----------
    room
        How much each holds, shape ``(n,)``, at least 0; infinite where there is no limit.
    wanted
        At most ``room.sum()``.
    ties
        Arrays of shape ``(n,)``: of equal rooms the lowest goes first, the first array before the second.

    Returns
    -------
    Ints
        Rows of ``room``; in the worst case one sort of all.
    """
    chosen = np.zeros(0, dtype=np.int64)
    if not (room >= wanted).any():
        by_size = np.lexsort((*ties[::-1], -room))
        held = np.cumsum(room[by_size])
        num = int(np.searchsorted(held, wanted))
        chosen, wanted, room = by_size[:num], wanted - held[num - 1], room.copy()
        room[chosen] = -1.0
    able = np.flatnonzero(room >= wanted)
    tightest = np.lexsort((*(tie[able] for tie in ties[::-1]), room[able]))[0]
    return np.append(chosen, able[tightest])


@lru_cache(maxsize=8)
def id_rank(ids: tuple[str, ...]) -> Ints:
    """Return every row's place in the order of the ids, shape ``(n,)``."""
    rank = np.empty(len(ids), dtype=np.int64)
    rank[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
    rank.flags.writeable = False
    return rank
