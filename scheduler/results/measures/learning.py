"""The rounds of jobs that learn: how long, how even, what travels, until when. Pure."""

from __future__ import annotations

import math
import statistics

from scheduler.results.measures.measure import Measure, finished, mean, over_jobs
from scheduler.results.outcome import JobOutcome, RoundOutcome, RunOutcome

NEAR = 0.05
"""How far above the least loss of a job the target is, as a part of it."""


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


def _to_target_s(job: JobOutcome) -> float:
    losses = [(done.loss, done.ended_s) for done in job.rounds if done.loss is not None and math.isfinite(done.loss)]
    if not losses:
        return math.nan
    least = min(loss for loss, _ in losses)
    return min(at_s for loss, at_s in losses if loss <= least + NEAR * abs(least)) - job.submitted_s


LEARNING = (
    Measure(
        "to_target_loss_s",
        "s",
        "lower",
        f"Mean time from submission to the first round with a loss at most {100 * NEAR:g} % above the job's least, "
        "of jobs that finished.",
        lambda run: mean(_to_target_s(job) for job in finished(run)),
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
        "bytes_moved",
        "B",
        "lower",
        "Shards, messages and updates that travelled.",
        over_jobs(lambda job: job.bytes_moved),
    ),
    Measure("shards_moved", "", "lower", "Shards that a worker had to read.", over_jobs(lambda job: job.shards_moved)),
)
