"""Fingerprints of updates that add up as the updates do, so that a duplicate with another content is known. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.exact_sum import Ints, Peaks
from workers.update import CallSums

LANES = 1021
"""Into so many sums a vector is folded before it is multiplied: a prime, so that no shape of parameters is in step."""

_MODULUS = 1 << 64
_SEED = 0x41505054

_COEFFICIENTS: Ints = (np.random.default_rng(_SEED).integers(0, 1 << 63, LANES, dtype=np.uint64) * 2 + 1).view(np.int64)


def fingerprint(values: Ints) -> int:
    """Return the sum of ``values[i] * c[i % LANES]`` modulo 2**64, with fixed pseudo-random odd ``c``.

    It is linear: the fingerprint of a sum is the sum of the fingerprints. Folding takes additions alone, which cost
    less than adding the vector to another. A change of one value is always seen. Others are missed if the differences
    at places that are equal modulo ``LANES`` add up to 0; or else with a probability of at most 2**(k - 63) over the
    coefficients, where 2**k is the largest power of two that divides all of these sums.

    Source: the multilinear hashing of Carter and Wegman, "Universal classes of hash functions", Journal of Computer and
    System Sciences 18(2), 1979, modulo a power of two.
    """
    num_rows = len(values) // LANES
    lanes = np.zeros(LANES, dtype=np.int64)
    if num_rows:
        lanes += values[: num_rows * LANES].reshape(num_rows, LANES).sum(axis=0)
    rest = values[num_rows * LANES :]
    lanes[: len(rest)] += rest
    return int(lanes @ _COEFFICIENTS) % _MODULUS


@dataclass(frozen=True)
class AcceptedCall:
    """What is kept of a call: ``total`` is the fingerprint of its sum, None where a shard did not fit its scale."""

    worker: str
    num_shards: int
    total: int | None
    peaks: Peaks


class AcceptedCalls:
    """The calls of one attempt at a round that were accepted."""

    def __init__(self, num_shards: int) -> None:
        self._calls: list[AcceptedCall] = []
        self._call_of: Ints = np.full(num_shards, -1, dtype=np.int64)

    def add(self, worker: str, shards: Ints, sums: CallSums) -> None:
        """Keep what is needed of a call over ``shards``."""
        self._call_of[shards] = len(self._calls)
        total = None if sums.total is None else fingerprint(sums.total)
        self._calls.append(AcceptedCall(worker, len(shards), total, sums.peaks))

    def workers(self, shards: Ints) -> tuple[str, ...]:
        """Return whose calls these shards were in, in the order of the shards."""
        numbers = self._call_of[shards]
        return tuple(dict.fromkeys(self._calls[number].worker for number in numbers[numbers >= 0].tolist()))

    def differ(self, shards: Ints, sums: CallSums) -> bool:
        """Say whether sums over shards that are all in are not those of before.

        Only where the shards are those of one or several calls: what was added up cannot be taken apart.
        """
        numbers = np.unique(self._call_of[shards]).tolist()
        calls = [self._calls[number] for number in numbers if number >= 0]
        if sum(call.num_shards for call in calls) != len(shards):
            return False
        totals = [call.total for call in calls]
        known = None if None in totals else sum(total for total in totals if total is not None) % _MODULUS
        found = None if sums.total is None else fingerprint(sums.total)
        peaks = np.maximum.reduce([call.peaks for call in calls])
        return known != found or not np.array_equal(peaks, sums.peaks)
