"""How fast a machine is over time: steps, and when a piece of work ends on them. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Steps:
    """A quantity that is constant between given moments.

    Attributes
    ----------
    since_s
        When each value begins, ascending; the first is minus infinity.
    values
        More than 0, one for each.
    """

    since_s: tuple[float, ...]
    values: tuple[float, ...]

    @staticmethod
    def of(base: float, factors: Iterable[tuple[float, float]]) -> Steps:
        """Return ``base`` times the last factor; ``factors`` are (second, factor), in any order."""
        ordered = sorted(factors, key=lambda change: change[0])
        return Steps((-inf, *(at_s for at_s, _ in ordered)), (base, *(base * factor for _, factor in ordered)))

    def at(self, now_s: float) -> float:
        """Return the value at a moment."""
        return self.values[bisect_right(self.since_s, now_s) - 1]

    def most(self, until_s: float) -> float:
        """Return the greatest value from 0 until a moment; at one before 0, the value then."""
        first, last = (bisect_right(self.since_s, at_s) for at_s in (min(until_s, 0.0), until_s))
        return max(self.values[first - 1 : last])

    def until_done_s(self, start_s: float, amount: float) -> float:
        """Return when the integral of the value from ``start_s`` on reaches ``amount``."""
        index = bisect_right(self.since_s, start_s) - 1
        now_s, left = start_s, amount
        for value, next_s in zip(self.values[index:], (*self.since_s[index + 1 :], inf), strict=True):
            if value * (next_s - now_s) >= left:
                return now_s + left / value
            left -= value * (next_s - now_s)
            now_s = next_s
        raise AssertionError("the last step has no end")

    def amount(self, start_s: float, end_s: float) -> float:
        """Return the integral of the value between two moments."""
        return sum(
            value * (min(to_s, end_s) - max(from_s, start_s))
            for value, from_s, to_s in zip(self.values, self.since_s, (*self.since_s[1:], inf), strict=True)
            if min(to_s, end_s) > max(from_s, start_s)
        )


def slowest(several: Sequence[Steps]) -> Steps:
    """Return the least of several values at every moment."""
    if len({(steps.since_s, steps.values) for steps in several}) == 1:
        return several[0]
    moments = sorted({at_s for steps in several for at_s in steps.since_s})
    return Steps(tuple(moments), tuple(min(steps.at(at_s) for steps in several) for at_s in moments))
