"""When jobs end, and how fairly: makespan, completion times, waiting, fairness. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scheduler.results.measures.measure import Measure, finished, mean, quantile
from scheduler.results.outcome import RunOutcome, Status

UNFAIR = 1.05
"""From which finish-time fairness on a job is called unfair, as in Zheng et al., NSDI 2023."""


def _makespan_s(run: RunOutcome) -> float:
    ended = [job.ended_s for job in finished(run)]
    return max(ended) - min(job.submitted_s for job in run.jobs) if ended else math.nan


def _jcts(run: RunOutcome) -> list[float]:
    return [job.jct_s for job in finished(run)]


def _geometric(values: Sequence[float]) -> float:
    return statistics.geometric_mean(values) if values and min(values) > 0 else math.nan


def _unfairness(run: RunOutcome) -> list[float]:
    return [job.jct_s / job.fair_s for job in finished(run) if job.fair_s > 0]


def _jain(run: RunOutcome) -> float:
    speeds = [job.alone_s / job.jct_s for job in finished(run) if job.jct_s > 0 and not math.isnan(job.alone_s)]
    squares = math.fsum(speed * speed for speed in speeds)
    return math.fsum(speeds) ** 2 / (len(speeds) * squares) if squares else math.nan


def _gap(run: RunOutcome) -> float:
    """Return NaN also where work was left, since the bound is of all work that fits."""
    if any(job.status in (Status.FAILED, Status.UNFINISHED) for job in run.jobs) or not run.jobs:
        return math.nan
    least_s = run.lower_bound_s - min(job.submitted_s for job in run.jobs)
    return 100 * (_makespan_s(run) / least_s - 1) if least_s > 0 else math.nan


def _late(run: RunOutcome) -> float:
    due = [job for job in run.jobs if job.deadline_s < math.inf]
    late = [job for job in due if not job.ended_s <= job.deadline_s]
    return 100 * len(late) / len(due) if due else math.nan


COMPLETION = (
    Measure(
        "makespan_s", "s", "lower", "From the first submission to the end of the last job that finished.", _makespan_s
    ),
    Measure(
        "jct_mean_s",
        "s",
        "lower",
        "Mean job completion time, from submission to end, of jobs that finished.",
        lambda run: mean(_jcts(run)),
    ),
    Measure(
        "jct_geometric_s", "s", "lower", "Geometric mean of job completion times.", lambda run: _geometric(_jcts(run))
    ),
    Measure("jct_p50_s", "s", "lower", "Median job completion time.", lambda run: quantile(_jcts(run), 0.5)),
    Measure(
        "jct_p99_s", "s", "lower", "99th percentile of job completion times.", lambda run: quantile(_jcts(run), 0.99)
    ),
    Measure(
        "queueing_s",
        "s",
        "lower",
        "Mean time from submission to the first workers, of jobs that started.",
        lambda run: mean(job.started_s - job.submitted_s for job in run.jobs),
    ),
    Measure(
        "slowdown",
        "x",
        "lower",
        "Mean of completion time over the time that the job takes alone on the cluster.",
        lambda run: mean(job.jct_s / job.alone_s for job in finished(run) if job.alone_s > 0),
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
        lambda run: 100 * mean(float(rho > UNFAIR) for rho in _unfairness(run)),
    ),
    Measure(
        "jain",
        "",
        "higher",
        "Jain's index of the jobs' speeds (time alone over completion time): 1 where all are slowed down alike.",
        _jain,
    ),
    Measure(
        "gap_to_bound",
        "%",
        "lower",
        "Makespan over the least that the nodes allow, each as fast as it ever was, less 100 %: the last job to end "
        "were it alone, and all work at its best rate on the whole cluster. Not defined where a job that fits did "
        "not finish.",
        _gap,
    ),
    Measure("late_jobs", "%", "lower", "Jobs with a deadline that did not end by it.", _late),
    Measure(
        "unfinished_jobs",
        "",
        "lower",
        "Jobs that failed, never fitted, or did not end.",
        lambda run: float(len(run.jobs) - len(finished(run))),
    ),
)
