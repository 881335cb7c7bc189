"""What orders share: who waits, claims for whole gangs, and how long a job takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from policies.feasibility import slots
from policies.interface import Claim, ClusterSnapshot, JobView, NodeTable, PolicyError


def waiting(snapshot: ClusterSnapshot) -> list[JobView]:
    """Return the jobs that hold no lease."""
    running = {lease.job for lease in snapshot.leases}
    return [job for job in snapshot.jobs if job.id not in running]


def whole(job: JobView) -> Claim:
    """Return the claim of a job for as many workers as it can use."""
    return Claim(job, job.min_workers, job.max_workers)


def by_submission(job: JobView) -> tuple[float, str]:
    """Return the key that sorts jobs first come, first served; equal times by name."""
    return job.submitted_s, job.id


def known_first(value: float) -> tuple[bool, float]:
    """Return the key that sorts ascending, and NaN (not known) after everything."""
    return (True, 0.0) if math.isnan(value) else (False, value)


def kinds_of(snapshot: ClusterSnapshot) -> tuple[str, ...]:
    """Return the kinds of node that there are, sorted."""
    return tuple(sorted(set(snapshot.nodes.kinds)))


def shortest_s(job: JobView, workers: int, kinds: Iterable[str]) -> float:
    """Return the seconds left with ``workers`` workers on the fastest of ``kinds``; NaN where none is known."""
    known = [seconds for kind in kinds if not math.isnan(seconds := job.remaining_s(workers, kind))]
    return min(known, default=math.nan)


def longest_s(job: JobView, workers: int, kinds: Iterable[str]) -> float:
    """Return the seconds left with ``workers`` workers on the slowest of ``kinds``; NaN where one is not known."""
    found = [job.remaining_s(workers, kind) for kind in kinds]
    return math.nan if not found or any(map(math.isnan, found)) else max(found)


def best_rate(job: JobView, workers: int, kinds: Iterable[str]) -> float:
    """Return the work per second with ``workers`` workers on the fastest of ``kinds``; NaN where none is known."""
    known = [rate for kind in kinds if not math.isnan(rate := job.rate(workers, kind))]
    return max(known, default=math.nan)


def gpus(job: JobView) -> float:
    """Return how much a worker counts in GPU-seconds: its GPUs, or 1 where it has none."""
    return job.bundle.gpu or 1.0


def attained_gpu_s(job: JobView) -> float:
    """Return the GPU-seconds (worker-seconds where it has no GPUs) that a job has had."""
    return job.attained_s * gpus(job)


def counter(nodes: NodeTable) -> Callable[[JobView], float]:
    """Return a function that counts how many bundles of a job fit on ``nodes``, each class of bundles once."""
    known: dict[object, float] = {}

    def count(job: JobView) -> float:
        kind = job.bundle_class
        if kind not in known:
            known[kind] = float(slots(job, nodes).sum())
        return known[kind]

    return count


def shared_rate(job: JobView, workers: float, kinds: Iterable[str]) -> float:
    """Return the work per second with a share of ``workers`` workers, a part of one too; NaN where it is not known.

    Less than the job's least number is taken to be had in turns, for a part of the time.
    """
    if workers < job.min_workers:
        return best_rate(job, job.min_workers, kinds) * workers / job.min_workers
    return best_rate(job, int(min(workers, job.max_workers)), kinds)


def positive(name: str, value: Any) -> float:
    """Return an option that must be a finite number greater than 0; PolicyError otherwise."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise PolicyError(f"{name} must be finite and greater than 0, but got {name}={value!r}")
    return float(value)


def all_positive(name: str, values: Any) -> tuple[float, ...]:
    """Return an option that must be a list of finite numbers greater than 0; PolicyError otherwise."""
    if not isinstance(values, (list, tuple)):
        raise PolicyError(f"{name} must be a list of numbers, but got {name}={values!r}")
    return tuple(positive(name, value) for value in values)
