"""By the Gittins index of the service that jobs have had."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from policies.interface import Claim, ClusterSnapshot, JobView, Order, frozen
from policies.order.las import Levels, by_start
from policies.order.turns import all_positive, attained_gpu_s, whole


class Gittins(Order):
    """Run the jobs first that are likeliest to end for the service they still need, by what past jobs took.

    To be picked where no job's length is known, but how long jobs take in general is, and stopping one costs little.
    Levels and promotion are those of ``las``. Within a level the highest index comes first: of the past jobs that took
    more than this one has had, the share that ended within the level's quantum (its threshold; without end in the last
    one), over the service that they took of it on average. Jobs with equal indices, and such as
    have had more than any past job took, are sorted as in ``las``. Without ``service_s`` it is ``las``.

    Cost: O(j (log j + s)) for s past jobs.

    Parameters
    ----------
    service_s
        GPU-seconds (worker-seconds, where workers have no GPUs) that past jobs took in all; each greater than 0.
    thresholds_s, promote
        As for ``las``.

    Raises
    ------
    PolicyError
        If an option is out of bounds.

    Source: Gu, Chowdhury, Shin, Zhu, Jeon, Qian, Liu and Guo, "Tiresias: A GPU cluster manager for distributed deep
    learning", NSDI 2019 (discretised 2D-Gittins); the index is Gittins', "Bandit processes and dynamic allocation
    indices", Journal of the Royal Statistical Society B 41(2), 1979.
    """

    name: ClassVar[str] = "gittins"
    source: ClassVar[str] = "Gu et al., Tiresias, NSDI 2019; Gittins, JRSS B 1979"
    preemptive: ClassVar[bool] = True
    promises: ClassVar[frozenset[str]] = frozenset({"work-conserving"})

    def __init__(
        self,
        service_s: Sequence[float] = (),
        thresholds_s: Sequence[float] = (3250.0, 7200.0),
        promote: float | None = None,
    ) -> None:
        self.service_s = frozen(sorted(all_positive("service_s", service_s)))
        self.levels = Levels(thresholds_s, promote)

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return the claims of all jobs, the highest level first, within it the highest index."""

        def key(job: JobView) -> tuple[int, float, tuple[float, float, str]]:
            level = self.levels.of(job, snapshot.now_s)
            quantum_s = (*self.levels.thresholds_s, math.inf)[level]
            return level, -self.index(attained_gpu_s(job), quantum_s), by_start(job)

        return tuple(whole(job) for job in sorted(snapshot.jobs, key=key))

    def index(self, attained_s: float, quantum_s: float) -> float:
        """Return the chance of ending within ``quantum_s`` more over the service expected of it, per GPU-second."""
        left = self.service_s[np.searchsorted(self.service_s, attained_s, side="right") :] - attained_s
        if not len(left):
            return 0.0
        return float((left <= quantum_s).sum() / np.minimum(left, quantum_s).sum())
