"""What of the cluster was used, and what that cost. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from scheduler.results.measures.measure import Measure, finished, over_jobs
from scheduler.results.outcome import RunOutcome


def _lasts_s(run: RunOutcome) -> list[float]:
    """Return how long each entry of ``uses`` holds, until the run ended."""
    ends_s = [*(use.at_s for use in run.uses), run.ended_s]
    return [max(min(later_s, run.ended_s) - at_s, 0.0) for at_s, later_s in itertools.pairwise(ends_s)]


def _integrals(run: RunOutcome) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
    """Return what was used, and what there was, in resource-seconds, each of shape ``(3,)``."""
    used, there = np.zeros(3), np.zeros(3)
    for use, lasts_s in zip(run.uses, _lasts_s(run), strict=True):
        used += use.used.vector() * lasts_s
        there += use.capacity.vector() * lasts_s
    return used, there


def _stranded(run: RunOutcome) -> float:
    """Return the mean over the time in which it was counted."""
    stranded = [use.stranded_gpus for use in run.uses]
    counted = [(gpus, lasts_s) for gpus, lasts_s in zip(stranded, _lasts_s(run), strict=True) if not math.isnan(gpus)]
    there_s = math.fsum(lasts_s for _, lasts_s in counted)
    return math.fsum(gpus * lasts_s for gpus, lasts_s in counted) / there_s if there_s else math.nan


def _utilisation(resource: int) -> Callable[[RunOutcome], float]:
    def of(run: RunOutcome) -> float:
        used, there = _integrals(run)
        return 100 * float(used[resource] / there[resource]) if there[resource] > 0 else math.nan

    return of


def _goodput(run: RunOutcome) -> float:
    held_s = math.fsum(job.worker_s for job in run.jobs)
    return 100 * math.fsum(job.worker_s for job in finished(run)) / held_s if held_s else math.nan


USE = (
    Measure(
        "cpu_utilisation", "%", "higher", "CPU granted, of what the living nodes have, mean over time.", _utilisation(0)
    ),
    Measure(
        "gpu_utilisation", "%", "higher", "GPU granted, of what the living nodes have, mean over time.", _utilisation(1)
    ),
    Measure(
        "memory_utilisation",
        "%",
        "higher",
        "Memory granted, of what the living nodes have, mean over time.",
        _utilisation(2),
    ),
    Measure(
        "gpus_allocated",
        "GPUs",
        "higher",
        "Most GPUs granted at a time.",
        lambda run: max((use.used.gpu for use in run.uses), default=math.nan),
    ),
    Measure(
        "stranded_gpus",
        "GPUs",
        "lower",
        "Fragmentation: free GPUs on which no bundle with GPUs fits that waits or runs, mean over the time in which "
        "there are such bundles; simulated runs count them now and then, and the last count holds until the next.",
        _stranded,
    ),
    Measure("goodput", "%", "higher", "Worker-seconds held by jobs that finished, of all that were held.", _goodput),
    Measure(
        "cost",
        "currency",
        "lower",
        "Prices of nodes for as long as they were held, each by the part that was held.",
        over_jobs(lambda job: job.cost),
    ),
)
