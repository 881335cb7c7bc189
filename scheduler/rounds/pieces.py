"""Calls that fit: shards for a worker with little memory, a few at a time. Pure."""

from __future__ import annotations

import numpy as np

from policies.interface import Call, Floats, Ints


class Pieces:
    """Cuts calls into pieces, each a call of its own, that have no more bytes than their worker is to hold at a time.

    A shard that is larger goes alone. It is for workers whose predecessor was killed for its use of memory.

    Parameters
    ----------
    shard_bytes
        Of each shard of the job, shape ``(s,)``.
    call_bytes
        Of the shards of one call at most, by worker, shape ``(w,)``; without it calls are left whole.
    """

    def __init__(self, shard_bytes: Floats, call_bytes: Floats | None = None) -> None:
        self._shard_bytes = shard_bytes
        self._call_bytes = call_bytes

    def of(self, call: Call) -> tuple[Call, ...]:
        """Return a call's pieces, which have its shards in their order; the call itself where it fits."""
        if self._call_bytes is None:
            return (call,)
        return tuple(Call(call.worker, shards) for shards in self._cut(call))

    def first(self, call: Call) -> Call:
        """Return the first of them."""
        return self.of(call)[0]

    def _cut(self, call: Call) -> list[Ints]:
        limit = np.inf if self._call_bytes is None else float(self._call_bytes[call.worker])
        starts, held = [0], 0.0
        for place, size in enumerate(self._shard_bytes[call.shards].tolist()):
            if held + size > limit and place > starts[-1]:
                starts.append(place)
                held = 0.0
            held += size
        return np.split(call.shards, starts[1:])
