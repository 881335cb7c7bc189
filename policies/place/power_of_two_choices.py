"""On the emptier of a few nodes drawn at random."""

from __future__ import annotations

from hashlib import blake2b
from typing import ClassVar

import numpy as np

from policies.interface import Claim, Memo, PlaceView, PolicyError, Slot, Unplaced
from policies.place.narrowed import id_rank, narrowed
from policies.place.spread import Spread


class PowerOfTwoChoices(Spread):
    """Draw a few nodes for each worker at random, and put the workers on the emptiest of them.

    Two choices level the load almost as well as looking at every node, and several schedulers that look at the same
    stale snapshot do not all run to the same emptiest node. A gang draws all its candidates together, as Sparrow's
    batch sampling does; where it does not fit on them the sample is doubled, until it is the whole cluster. The draw
    is keyed by the snapshot's seed and the job's name. Sparrow's late binding, for which nodes keep queues, is not
    here.

    Parameters
    ----------
    choices
        Nodes that are drawn for each worker, at least 1.

    Raises
    ------
    PolicyError
        If ``choices`` is no whole number of at least 1.

    Cost: O(n) for the draw, with a small constant; then as ``spread``, on the drawn nodes.

    Source: Mitzenmacher, "The power of two choices in randomized load balancing", IEEE Transactions on Parallel and
    Distributed Systems 12(10), 2001; Ousterhout, Wendell, Zaharia and Stoica, "Sparrow: distributed, low latency
    scheduling", SOSP 2013.
    """

    name: ClassVar[str] = "power-of-two-choices"
    source: ClassVar[str] = "Mitzenmacher, IEEE TPDS 2001; Sparrow, SOSP 2013"

    def __init__(self, choices: int = 2) -> None:
        if not isinstance(choices, int) or isinstance(choices, bool) or choices < 1:
            raise PolicyError(f"choices must be a whole number of at least 1, but got choices={choices!r}")
        self.choices = choices

    def place(self, claim: Claim, view: PlaceView, memo: Memo | None = None) -> tuple[Slot, ...] | Unplaced:
        """Return the slot of each worker, up to ``max_workers``; under ``min_workers``, why not."""
        size, num = self.choices * claim.max_workers, len(view.nodes)
        draw = _draw(claim.job.id, view) if 0 < size < num else np.zeros(0, dtype=np.uint64)
        while 0 < size < num:
            answer = narrowed(super().place, claim, view, np.argpartition(draw, size)[:size])
            if not isinstance(answer, Unplaced) and len(answer) == claim.max_workers:
                return answer
            size *= 2
        return super().place(claim, view, memo)


def _draw(job: str, view: PlaceView) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Return a random number for every node, shape ``(n,)``; it goes with the node's id, not with its row."""
    key = int.from_bytes(blake2b(f"{view.seed}/{job}".encode(), digest_size=16).digest(), "little")
    numbers = np.random.Philox(key=key).random_raw(len(view.nodes))
    drawn: np.ndarray[tuple[int], np.dtype[np.uint64]] = numbers[id_rank(view.nodes.ids)]
    return drawn
