"""Least attained service."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar

from policies.interface import Claim, ClusterSnapshot, JobView, Order, PolicyError
from policies.order.turns import all_positive, attained_gpu_s, by_submission, positive, whole


class Las(Order):
    """Run the jobs that have had the least service so far, time times GPUs, in a few levels.

    To be picked where nobody knows how long jobs take, many are short, and stopping one costs little: a new job starts
    on top and sinks a level at each threshold, so that short ones are through before long ones take the nodes. Within
    a level jobs that have started come first, in the order of their starts; so equals do not stop each other again
    and again.

    Tiresias promotes a job that has waited ``promote`` times as long as it ran since the last promotion. That is not
    known here, so all of its waiting since its first start counts, and it sinks again as soon as it has run
    its share; it takes part at least one second in ``promote + 1``. How many workers an elastic job had is not known
    either: it counts as having had its least number.

    Cost: O(j log j).

    Parameters
    ----------
    thresholds_s
        The GPU-seconds (worker-seconds, where workers have no GPUs) at which a job sinks a level; ascending, greater
        than 0. Those of the authors' simulator, unless given.
    promote
        How many times longer than it ran a job may have waited before it rises to the top; greater than 0. Without
        it, none does.

    Raises
    ------
    PolicyError
        If an option is out of bounds.

    Source: Gu, Chowdhury, Shin, Zhu, Jeon, Qian, Liu and Guo, "Tiresias: A GPU cluster manager for distributed deep
    learning", NSDI 2019 (discretised 2D-LAS).
    """

    name: ClassVar[str] = "las"
    source: ClassVar[str] = "Gu et al., Tiresias, NSDI 2019"
    preemptive: ClassVar[bool] = True
    promises: ClassVar[frozenset[str]] = frozenset({"work-conserving"})

    def __init__(self, thresholds_s: Sequence[float] = (3250.0, 7200.0), promote: float | None = None) -> None:
        self.levels = Levels(thresholds_s, promote)

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return the claims of all jobs, the highest level first."""

        def key(job: JobView) -> tuple[int, tuple[float, float, str]]:
            return self.levels.of(job, snapshot.now_s), by_start(job)

        return tuple(whole(job) for job in sorted(snapshot.jobs, key=key))


class Levels:
    """The levels of a multi-level queue, by attained service.

    Parameters
    ----------
    thresholds_s, promote
        As for ``Las``.
    """

    def __init__(self, thresholds_s: Sequence[float], promote: float | None) -> None:
        self.thresholds_s = all_positive("thresholds_s", thresholds_s)
        if any(later <= sooner for sooner, later in zip(self.thresholds_s, self.thresholds_s[1:], strict=False)):
            raise PolicyError(f"thresholds_s must be ascending, but got thresholds_s={list(thresholds_s)!r}")
        self.promote = math.inf if promote is None else positive("promote", promote)

    def of(self, job: JobView, now_s: float) -> int:
        """Return the level of a job, 0 for the top."""
        level = bisect_right(self.thresholds_s, attained_gpu_s(job))
        return 0 if level and self._starves(job, now_s) else level

    def _starves(self, job: JobView, now_s: float) -> bool:
        ran_s = job.attained_s / job.min_workers
        return (now_s - job.started_s) - ran_s >= self.promote * ran_s


def by_start(job: JobView) -> tuple[float, float, str]:
    """Return the key that sorts jobs by their first start, those that never started last, by submission."""
    return (math.inf if math.isnan(job.started_s) else job.started_s, *by_submission(job))
