"""Order-free sums: floating-point vectors added as integers on a shared power-of-two scale.

Floating-point addition is not associative, so a sum over shards would depend on who added what first. Here
every term is scaled to int64 with one exponent per *block* of the vector, and integers are added: any order,
any grouping, the same bits. The scale is agreed before the terms are computed, from the exact maximum of the
round before; a term that does not fit is seen (never wrapped), and the round is repeated on a larger scale, as it
is on a smaller one where all terms have become so small that they would lose their digits.
Both the scale and the verdict are functions of single terms, never of partial sums, so they do not depend on
who computed what.

Source: the reproducible accumulators of Demmel and Nguyen, "Parallel Reproducible Summation" (2015), reduced
to one bin by knowing the maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Peaks = NDArray[np.int16]

CAPACITY_BITS = 62
"""A sum of all terms stays below 2**62 in size, one bit short of what int64 holds."""

GROWTH_BITS = 4
"""Room for the next round's terms to be 16 times as large before the round must be repeated."""

SHRINK_BITS = 12
"""A block's largest term may lose so many bits since the last round; beyond, the round is repeated on its own scale."""

LEAST_PEAK = -960
"""Peaks below this count as this: smaller values are lost to the scale, as to any float64 sum near 1."""


class NonFiniteError(ArithmeticError):
    """A term holds NaN or infinity."""


def peaks(values: Floats, starts: Ints) -> Peaks:
    """Return for each block the least ``e`` with ``max |value| < 2**e``.

    ``starts`` are the blocks' first positions, ascending from 0; the last block ends with ``values``.

    Raises
    ------
    NonFiniteError
        If a value is NaN or infinite.
    """
    largest = np.maximum.reduceat(np.abs(values), starts)
    if not np.isfinite(largest).all():
        raise NonFiniteError(f"{np.count_nonzero(~np.isfinite(values))} of {values.size} values are not finite")
    exponents = np.frexp(largest)[1]
    return np.where(largest > 0, np.maximum(exponents, LEAST_PEAK), LEAST_PEAK).astype(np.int16)


@dataclass(frozen=True)
class Scale:
    """One power of two per block: a value ``v`` is carried as ``rint(v * 2**exponent)``.

    Attributes
    ----------
    exponents
        Shape ``(blocks,)``.
    starts
        The blocks' first positions, shape ``(blocks,)``.
    size
        Length of the vectors.
    num_terms
        How many terms are added at most; their sum cannot overflow.
    """

    exponents: Peaks
    starts: Ints
    size: int
    num_terms: int

    @staticmethod
    def fitting(largest: Peaks, starts: Ints, size: int, num_terms: int) -> Scale:
        """Return the scale for ``num_terms`` terms with the given peaks, with room to grow."""
        bits = _term_bits(num_terms) - GROWTH_BITS
        return Scale((bits - largest.astype(np.int64)).astype(np.int16), starts, size, num_terms)

    def holds(self, largest: Peaks) -> bool:
        """Say whether a term with these peaks fits."""
        room = largest.astype(np.int64) + self.exponents
        return bool((room <= _term_bits(self.num_terms)).all())

    def resolves(self, largest: Peaks) -> bool:
        """Say whether terms with these peaks keep enough digits: they may be far smaller than those of the last round.

        Blocks of zeros lose nothing, whatever the scale.
        """
        kept = _term_bits(self.num_terms) - GROWTH_BITS - SHRINK_BITS
        room = largest.astype(np.int64) + self.exponents
        return bool(((room >= kept) | (largest <= LEAST_PEAK)).all())

    def quantise(self, values: Floats) -> Ints:
        """Return ``values`` as integers on this scale; only for values whose peaks it ``holds``."""
        scaled: Ints = np.rint(values * self._factors(1)).astype(np.int64)
        return scaled

    def restore(self, total: Ints) -> Floats:
        """Return a sum of integers as floats, rounded once; infinite where it is beyond them."""
        with np.errstate(over="ignore"):
            restored: Floats = total.astype(np.float64) * self._factors(-1)
        return restored

    def _factors(self, sign: int) -> Floats:
        """Return the power of two of every position; multiplying by it is exact."""
        factors = np.ldexp(1.0, sign * self.exponents.astype(np.int32))
        if len(factors) == self.size:
            return factors
        return np.repeat(factors, np.diff(self.starts, append=self.size))


def _term_bits(num_terms: int) -> int:
    return CAPACITY_BITS - max(num_terms - 1, 0).bit_length()
