"""Intervals over seeds, and what they allow to say in words. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from scheduler.results.comparison import Comparison
from scheduler.results.measures import MEASURES

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean, and the half width of its 95 % interval: NaN where one run alone says nothing of the spread."""

    mean: float
    half: float

    @property
    def low(self) -> float:
        """The lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self.half


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of values with Student's interval; NaN values are left out."""
    known = np.array([value for value in values if not math.isnan(value)])
    if not len(known):
        return Estimate(math.nan, math.nan)
    if len(known) == 1:
        return Estimate(float(known[0]), math.nan)
    half = stats.t.ppf(0.5 + LEVEL / 2, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known))
    return Estimate(float(known.mean()), float(half))


@dataclass(frozen=True)
class Ratio:
    """How many times as much one policy takes as another: geometric mean over seeds, and the ends of its interval."""

    mean: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out 1; without an interval, whether the ratio is not 1 to 0.1 %."""
        if math.isnan(self.low):
            return abs(self.mean - 1) > 1e-3
        return self.low > 1 or self.high < 1


def ratio(comparison: Comparison, policy: str, other: str, measure: str) -> Ratio:
    """Return ``other`` over ``policy`` in a measure, over the seeds that both have; NaN where it is not defined."""
    of = MEASURES[measure].of
    pairs = [(of(theirs), of(mine)) for mine, theirs in comparison.paired(policy, other)]
    logs = [math.log(theirs / mine) for theirs, mine in pairs if theirs > 0 and mine > 0]
    if not logs:
        return Ratio(math.nan, math.nan, math.nan)
    found = estimate(logs)
    return Ratio(math.exp(found.mean), math.exp(found.low), math.exp(found.high))


def main_measure(comparison: Comparison) -> str:
    """Return what the policies are ranked by: the mean completion time of several jobs, of one job the makespan."""
    several = any(len(run.jobs) > 1 for run in comparison.runs)
    return "jct_mean_s" if several else "makespan_s"


def ranking(comparison: Comparison, measure: str) -> tuple[str, ...]:
    """Return the policies that have runs, the best first; those of which it is not known last."""
    sign = -1.0 if MEASURES[measure].better == "higher" else 1.0
    means = {
        policy: estimate([MEASURES[measure].of(run) for run in comparison.of(policy)]).mean
        for policy in comparison.policies
        if comparison.of(policy)
    }
    return tuple(sorted(means, key=lambda policy: (math.isnan(means[policy]), sign * means[policy])))


def verdicts(comparison: Comparison, measure: str | None = None) -> tuple[str, ...]:
    """Say in words what the best policy gains over each other, and what lies within noise."""
    chosen = measure or main_measure(comparison)
    best, *others = ranking(comparison, chosen) or ("",)
    return tuple(_verdict(best, other, ratio(comparison, best, other, chosen), chosen) for other in others)


def _verdict(best: str, other: str, found: Ratio, measure: str) -> str:
    lower = MEASURES[measure].better != "higher"
    if math.isnan(found.mean):
        return f"{best} and {other} cannot be compared on {measure}: no seed has a figure for both"
    times, low, high = (found.mean, found.low, found.high) if lower else (1 / found.mean, 1 / found.high, 1 / found.low)
    if not found.differs:
        return f"the difference between {best} and {other} on {measure} is within noise"
    if math.isnan(low):
        return f"{best} beats {other} by {times:.2f}x on {measure} (one run: nothing is known of the spread)"
    return f"{best} beats {other} by {times:.2f}x on {measure} (95 % interval {low:.2f}x to {high:.2f}x)"
