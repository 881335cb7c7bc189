"""When jobs come: copies of them, at random or in bursts. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from scheduler.simulation.workload import SimulatedJob


def repeated(jobs: Sequence[SimulatedJob], copies: int) -> tuple[SimulatedJob, ...]:
    """Return every job ``copies`` times, in turns, each under a name of its own; one copy keeps its name."""
    if copies == 1:
        return tuple(jobs)
    return tuple(named(job, f"{job.view.id}-{number + 1}") for number in range(copies) for job in jobs)


def named(job: SimulatedJob, name: str) -> SimulatedJob:
    """Return the job under another name."""
    return replace(job, view=replace(job.view, id=name))


def at(job: SimulatedJob, submitted_s: float) -> SimulatedJob:
    """Return the job with another time of arrival."""
    return replace(job, view=replace(job.view, submitted_s=submitted_s))


def poisson(jobs: Sequence[SimulatedJob], per_hour: float, seed: int) -> tuple[SimulatedJob, ...]:
    """Let the jobs come in their order, the first at once, with exponential times between them; ``per_hour`` > 0."""
    draw = random.Random(f"{seed}/arrivals")  # noqa: S311
    found, now_s = [], 0.0
    for job in jobs:
        found.append(at(job, now_s))
        now_s += draw.expovariate(per_hour / 3600)
    return tuple(found)


def bursts(jobs: Sequence[SimulatedJob], size: int, every_s: float) -> tuple[SimulatedJob, ...]:
    """Let ``size`` jobs come together, again and again every ``every_s``."""
    return tuple(at(job, number // size * every_s) for number, job in enumerate(jobs))


def listed(jobs: Sequence[SimulatedJob], times_s: Sequence[float]) -> tuple[SimulatedJob, ...]:
    """Let the jobs come at these times, one for each job, and return them in the order of their arrival."""
    coming = [at(job, time_s) for job, time_s in zip(jobs, times_s, strict=True)]
    return tuple(sorted(coming, key=lambda job: job.view.submitted_s))
