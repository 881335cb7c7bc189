"""What is measured of a run: one definition each, the same for live and simulated runs. Pure."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scheduler.results.outcome import JobOutcome, RoundOutcome, RunOutcome, Status

UNFAIR = 1.05
"""From which finish-time fairness on a job is called unfair, as in Zheng et al., NSDI 2023."""

NEAR = 0.05
"""How far above the least loss of a job the target is, as a part of it."""


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


def _finished(run: RunOutcome) -> list[JobOutcome]:
    return [job for job in run.jobs if job.status is Status.FINISHED]


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _makespan_s(run: RunOutcome) -> float:
    ended = [job.ended_s for job in _finished(run)]
    return max(ended) - min(job.submitted_s for job in run.jobs) if ended else math.nan


def _jcts(run: RunOutcome) -> list[float]:
    return [job.jct_s for job in _finished(run)]


def _quantile(values: Sequence[float], part: float) -> float:
    return float(np.quantile(values, part)) if len(values) else math.nan


def _geometric(values: Sequence[float]) -> float:
    return statistics.geometric_mean(values) if values and min(values) > 0 else math.nan


def _unfairness(run: RunOutcome) -> list[float]:
    return [job.jct_s / job.fair_s for job in _finished(run) if job.fair_s > 0]


def _jain(run: RunOutcome) -> float:
    speeds = [job.alone_s / job.jct_s for job in _finished(run) if job.jct_s > 0 and not math.isnan(job.alone_s)]
    squares = math.fsum(speed * speed for speed in speeds)
    return math.fsum(speeds) ** 2 / (len(speeds) * squares) if squares else math.nan


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


def _rounds(run: RunOutcome) -> list[RoundOutcome]:
    return [done for job in run.jobs for done in job.rounds]


def _imbalance(run: RunOutcome) -> float:
    found = [max(done.busy_s) * len(done.busy_s) / sum(done.busy_s) for done in _rounds(run) if sum(done.busy_s) > 0]
    return statistics.median(found) if found else math.nan


def _idle(run: RunOutcome) -> float:
    rounds = _rounds(run)
    there_s = math.fsum(done.seconds * len(done.busy_s) for done in rounds)
    busy_s = math.fsum(math.fsum(done.busy_s) for done in rounds)
    return 100 * (1 - busy_s / there_s) if there_s else math.nan


def _round_s(run: RunOutcome) -> float:
    seconds = [done.seconds for done in _rounds(run)]
    return statistics.median(seconds) if seconds else math.nan


def _gap(run: RunOutcome) -> float:
    """Return NaN also where work was left, since the bound is of all work that fits."""
    if any(job.status in (Status.FAILED, Status.UNFINISHED) for job in run.jobs) or not run.jobs:
        return math.nan
    least_s = run.lower_bound_s - min(job.submitted_s for job in run.jobs)
    return 100 * (_makespan_s(run) / least_s - 1) if least_s > 0 else math.nan


def _to_target_s(job: JobOutcome) -> float:
    losses = [(done.loss, done.ended_s) for done in job.rounds if done.loss is not None and math.isfinite(done.loss)]
    if not losses:
        return math.nan
    least = min(loss for loss, _ in losses)
    return min(at_s for loss, at_s in losses if loss <= least + NEAR * abs(least)) - job.submitted_s


def _goodput(run: RunOutcome) -> float:
    finished = _finished(run)
    held_s = math.fsum(job.worker_s for job in run.jobs)
    return 100 * math.fsum(job.worker_s for job in finished) / held_s if held_s else math.nan


def _late(run: RunOutcome) -> float:
    due = [job for job in run.jobs if job.deadline_s < math.inf]
    late = [job for job in due if not job.ended_s <= job.deadline_s]
    return 100 * len(late) / len(due) if due else math.nan


def _sum(of: Callable[[JobOutcome], float]) -> Callable[[RunOutcome], float]:
    return lambda run: float(math.fsum(of(job) for job in run.jobs))


_ALL = (
    Measure(
        "makespan_s", "s", "lower", "From the first submission to the end of the last job that finished.", _makespan_s
    ),
    Measure(
        "jct_mean_s",
        "s",
        "lower",
        "Mean job completion time, from submission to end, of jobs that finished.",
        lambda run: _mean(_jcts(run)),
    ),
    Measure(
        "jct_geometric_s", "s", "lower", "Geometric mean of job completion times.", lambda run: _geometric(_jcts(run))
    ),
    Measure("jct_p50_s", "s", "lower", "Median job completion time.", lambda run: _quantile(_jcts(run), 0.5)),
    Measure(
        "jct_p99_s", "s", "lower", "99th percentile of job completion times.", lambda run: _quantile(_jcts(run), 0.99)
    ),
    Measure(
        "queueing_s",
        "s",
        "lower",
        "Mean time from submission to the first workers, of jobs that started.",
        lambda run: _mean(job.started_s - job.submitted_s for job in run.jobs),
    ),
    Measure(
        "slowdown",
        "x",
        "lower",
        "Mean of completion time over the time that the job takes alone on the cluster.",
        lambda run: _mean(job.jct_s / job.alone_s for job in _finished(run) if job.alone_s > 0),
    ),
    Measure(
        "unfairness_worst",
        "x",
        "lower",
        "Finish-time fairness, worst job: completion time over the time with a fair share, which is the time alone "
        "times how many times over the scarcest resource was asked for while the job was there.",
        lambda run: max(_unfairness(run), default=math.nan),
    ),
    Measure(
        "unfair_jobs",
        "%",
        "lower",
        f"Jobs whose finish-time fairness is over {UNFAIR}.",
        lambda run: 100 * _mean(float(rho > UNFAIR) for rho in _unfairness(run)),
    ),
    Measure(
        "jain",
        "",
        "higher",
        "Jain's index of the jobs' speeds (time alone over completion time): 1 where all are slowed down alike.",
        _jain,
    ),
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
    Measure(
        "to_target_loss_s",
        "s",
        "lower",
        f"Mean time from submission to the first round with a loss at most {100 * NEAR:g} % above the job's least, "
        "of jobs that finished.",
        lambda run: _mean(_to_target_s(job) for job in _finished(run)),
    ),
    Measure("round_s", "s", "lower", "Median seconds of a round of learning.", _round_s),
    Measure(
        "imbalance",
        "x",
        "lower",
        "Longest busy time of a worker in a round over the mean of all its workers, median over rounds.",
        _imbalance,
    ),
    Measure("barrier_idle", "%", "lower", "Part of the workers' time in rounds in which they did not compute.", _idle),
    Measure(
        "gap_to_bound",
        "%",
        "lower",
        "Makespan over the least that nodes of constant speed allow, less 100 %: the last job to end were it alone, "
        "and all work at its best rate on the whole cluster. Not defined where a job that fits did not finish.",
        _gap,
    ),
    Measure(
        "bytes_moved", "B", "lower", "Shards, messages and updates that travelled.", _sum(lambda job: job.bytes_moved)
    ),
    Measure("shards_moved", "", "lower", "Shards that a worker had to read.", _sum(lambda job: job.shards_moved)),
    Measure("restarts", "", "lower", "How often a job lost workers to a fault.", _sum(lambda job: job.restarts)),
    Measure(
        "preemptions", "", "lower", "How often a job lost all its workers to others.", _sum(lambda job: job.preemptions)
    ),
    Measure("moves", "", "lower", "Workers that were moved to another node.", _sum(lambda job: job.moves)),
    Measure(
        "cost",
        "currency",
        "lower",
        "Prices of nodes for as long as they were held, each by the part that was held.",
        _sum(lambda job: job.cost),
    ),
    Measure("goodput", "%", "higher", "Worker-seconds held by jobs that finished, of all that were held.", _goodput),
    Measure("late_jobs", "%", "lower", "Jobs with a deadline that did not end by it.", _late),
    Measure(
        "unfinished_jobs",
        "",
        "lower",
        "Jobs that failed, never fitted, or did not end.",
        lambda run: float(len(run.jobs) - len(_finished(run))),
    ),
    Measure(
        "failed_placements",
        "",
        "lower",
        "How often a decision left a job without workers.",
        lambda run: float(run.failed_placements),
    ),
    Measure(
        "decision_p50_s",
        "s",
        "lower",
        "Median time of a decision of the policy, the referee's included, on the real clock.",
        lambda run: _quantile(run.decisions_s, 0.5),
    ),
    Measure(
        "decision_p99_s", "s", "lower", "99th percentile of that time.", lambda run: _quantile(run.decisions_s, 0.99)
    ),
)

MEASURES: Mapping[str, Measure] = {measure.name: measure for measure in _ALL}
"""Every measure by its name, in the order of the report."""

ON_THE_REAL_CLOCK = ("decision_p50_s", "decision_p99_s")
"""What differs from run to run, even of a simulation."""
