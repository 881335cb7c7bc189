"""What the scheduler did to jobs, and how long it took to decide. Pure."""

from __future__ import annotations

from scheduler.results.measures.measure import Measure, over_jobs, quantile

DECISIONS = (
    Measure("restarts", "", "lower", "How often a job lost workers to a fault.", over_jobs(lambda job: job.restarts)),
    Measure(
        "preemptions",
        "",
        "lower",
        "How often a job lost all its workers to others.",
        over_jobs(lambda job: job.preemptions),
    ),
    Measure("moves", "", "lower", "Workers that were moved to another node.", over_jobs(lambda job: job.moves)),
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
        lambda run: quantile(run.decisions_s, 0.5),
    ),
    Measure(
        "decision_p99_s", "s", "lower", "99th percentile of that time.", lambda run: quantile(run.decisions_s, 0.99)
    ),
)
