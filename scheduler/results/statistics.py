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

LEAST = 1e-3
"""A smaller part is no difference, however narrow the interval."""


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
        """Whether the ratio is not 1 to 0.1 %, and its interval, where there is one, leaves out 1."""
        return abs(self.mean - 1) > LEAST and not self.low <= 1 <= self.high

    def inverse(self) -> Ratio:
        """Return the ratio the other way round."""
        return Ratio(1 / self.mean, 1 / self.high, 1 / self.low)


def ratio(comparison: Comparison, policy: str, other: str, measure: str) -> Ratio:
    """Return ``other`` over ``policy`` in a measure, over the shared seeds; NaN where it is not defined."""
    pairs = zip(comparison.figures(other, measure), comparison.figures(policy, measure), strict=True)
    logs = [math.log(theirs / mine) for theirs, mine in pairs if theirs > 0 and mine > 0]
    if not logs:
        return Ratio(math.nan, math.nan, math.nan)
    found = estimate(logs)
    return Ratio(math.exp(found.mean), math.exp(found.low), math.exp(found.high))


def over_seeds(comparison: Comparison, policy: str, measure: str) -> Estimate:
    """Return the mean of a measure over a policy's runs with the shared seeds, with its interval."""
    return estimate(comparison.figures(policy, measure))


def main_measure(comparison: Comparison) -> str:
    """Return what the policies are ranked by: the mean completion time of several jobs, of one job the makespan."""
    several = any(len(run.jobs) > 1 for run in comparison.runs)
    return "jct_mean_s" if several else "makespan_s"


def ranking(comparison: Comparison, measure: str) -> tuple[str, ...]:
    """Return the policies that have runs, the best first; those of which it is not known last."""
    sign = -1.0 if MEASURES[measure].better == "higher" else 1.0
    policies = [policy for policy in comparison.policies if comparison.of(policy)]
    means = {policy: over_seeds(comparison, policy, measure).mean for policy in policies}
    return tuple(sorted(means, key=lambda policy: (math.isnan(means[policy]), sign * means[policy])))


def verdicts(comparison: Comparison, measure: str | None = None) -> tuple[str, ...]:
    """Say in words what the best policy gains over each other, what lies within noise, and who left jobs unfinished."""
    chosen = measure or main_measure(comparison)
    best, *others = ranking(comparison, chosen) or ("",)
    said = [_verdict(best, other, ratio(comparison, best, other, chosen), chosen) for other in others]
    return (*said, *_left(comparison, (best, *others)))


def _verdict(best: str, other: str, found: Ratio, measure: str) -> str:
    if math.isnan(found.mean):
        return f"{best} and {other} cannot be compared on {measure}: no seed has a figure over 0 for both"
    if not found.differs:
        if math.isnan(found.low):
            return f"{best} and {other} are alike on {measure} (one run: nothing is known of the spread)"
        return f"the difference between {best} and {other} on {measure} is within noise"
    times = found.inverse() if MEASURES[measure].better == "higher" else found
    if times.mean < 1:  # the best by its mean over seeds may lose seed by seed
        best, other, times = other, best, times.inverse()
    if math.isnan(times.low):
        return f"{best} beats {other} by {times.mean:.2f}x on {measure} (one run: nothing is known of the spread)"
    interval = f"95 % interval {times.low:.2f}x to {times.high:.2f}x"
    return f"{best} beats {other} by {times.mean:.2f}x on {measure} ({interval})"


def _left(comparison: Comparison, policies: Sequence[str]) -> list[str]:
    """Say who left jobs unfinished, where policies differ in it: their times are of fewer jobs."""
    left = {policy: over_seeds(comparison, policy, "unfinished_jobs").mean for policy in policies}
    if len(set(left.values())) < 2:
        return []
    return [
        f"{policy} leaves jobs unfinished, {num:.3g} a run on average; their times are not counted"
        for policy, num in left.items()
        if num
    ]
