"""What a measure is, and what several of them need. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scheduler.results.outcome import JobOutcome, RunOutcome, Status


@dataclass(frozen=True)
class Measure:
    """A figure of a run.

    Attributes
    ----------
    better
        ``lower``, ``higher``, or empty where neither is.
    what
        The definition, in a sentence.
    of
        Works it out; NaN where it is not defined.
    """

    name: str
    unit: str
    better: str
    what: str
    of: Callable[[RunOutcome], float]


def finished(run: RunOutcome) -> list[JobOutcome]:
    """Return the jobs that finished."""
    return [job for job in run.jobs if job.status is Status.FINISHED]


def mean(values: Iterable[float]) -> float:
    """Return the mean of what is not NaN; NaN of nothing."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def quantile(values: Sequence[float], part: float) -> float:
    """Return a quantile, linear between neighbours; NaN of nothing."""
    return float(np.quantile(values, part)) if len(values) else math.nan


def over_jobs(of: Callable[[JobOutcome], float]) -> Callable[[RunOutcome], float]:
    """Return the sum of something over all jobs of a run."""
    return lambda run: float(math.fsum(of(job) for job in run.jobs))
