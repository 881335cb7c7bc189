"""What a policy shares out over time: jobs and kinds of nodes, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from policies.joint.gangs import Gangs
from policies.joint.pools import Pools
from policies.joint.weights import weights
from policies.tables import Floats, Ints
from policies.views import ClusterSnapshot, JobView

DIGITS = 6
"""Decimals of a kind's capacity that count, so that sums in another order are no change."""

COLUMNS = ("speeds", "use", "left_s", "weight", "age_s", "within_s", "count", "price")
"""The fields of a problem that have a row a job."""

SMALLEST = 1e-6
"""A gang counts as taking at least this part of a kind, so that the figures of a programme stay near each other."""

SHORTEST_S = 1.0
"""No job is taken to be shorter than this: one whose work is done may still have to end."""


@dataclass(frozen=True)
class Problem:
    """Jobs that share the kinds of a cluster's nodes over time.

    A row is a job, or a class of jobs that are alike; a column is a kind. Rates are relative to the job's own fastest
    kind, and resources to all that the kind has, so that every figure of a linear programme is near 1.

    Attributes
    ----------
    speeds
        Of the job's gang on nodes of each kind, 1 on its fastest and 0 where it cannot run; shape ``(j, k)``.
    use
        Which part of the kind's resources the gang holds, columns as ``RESOURCES``; shape ``(j, k, 3)``.
    left_s
        Seconds that the job still needs on its fastest kind; length j, at least 1.
    weight
        What the job weighs by its tenant and its priority; length j, mean 1.
    age_s
        Seconds since it was submitted; length j.
    within_s
        Seconds until its deadline, infinite without one; length j.
    count
        How many jobs each row stands for; length j.
    price
        What a job's gang costs per hour on each kind; shape ``(j, k)``.
    seed
        For what is drawn by chance.
    """

    speeds: Floats
    use: Floats
    left_s: Floats
    weight: Floats
    age_s: Floats
    within_s: Floats
    count: Floats
    price: Floats
    seed: int = 0

    @classmethod
    def of(cls, jobs: Sequence[JobView], gangs: Gangs, pools: Pools, snapshot: ClusterSnapshot) -> Problem:
        """Pose the problem of ``jobs``, which run in these gangs; of whose length nothing is known, it is the longest.

        Parameters
        ----------
        jobs
            In the order of the rows.
        """
        best = gangs.rates.max(axis=1, initial=0.0)
        capacity = np.array([table.free.sum(axis=0) for table in pools.cleared]).reshape(-1, 3).round(DIGITS)
        held = gangs.need
        part = np.divide(held, capacity, out=np.zeros_like(held), where=capacity > 0)
        prices = np.array([table.price_per_hour.sum() for table in pools.tables])
        return cls(
            speeds=np.divide(gangs.rates, best[:, None], out=np.zeros_like(gangs.rates), where=gangs.workers > 0),
            use=part,
            left_s=_left_s(jobs, gangs),
            weight=weights(jobs, snapshot),
            age_s=np.array([max(snapshot.now_s - job.submitted_s, 0.0) for job in jobs]),
            within_s=np.array([job.deadline_s - snapshot.now_s for job in jobs]),
            count=np.ones(len(jobs)),
            price=part.max(axis=2, initial=0.0) * prices,
            seed=snapshot.seed,
        )

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.left_s)

    @property
    def slots(self) -> Floats:
        """How many such gangs each kind has room for, fractions allowed; 0 where the gang cannot run; ``(j, k)``."""
        largest = self.use.max(axis=2, initial=0.0)
        room: Floats = np.where(self.speeds > 0, 1 / np.maximum(largest, SMALLEST), 0.0)
        return room

    @property
    def alone(self) -> Floats:
        """Each job's speed with 1/n of every kind to itself, of n jobs; length j.

        Its time is spread over the kinds as its slots are. Where it has more than one, it runs all the time.
        """
        room = self.slots
        total = room.sum(axis=1)
        speed: Floats = np.minimum(total / self.count.sum(), 1.0) * (room * self.speeds).sum(axis=1) / total
        return speed

    def take(self, rows: Ints, part: float = 1.0) -> Problem:
        """Return the problem of these jobs alone, on ``part`` (0 to 1) of every kind."""
        kept = {name: getattr(self, name)[rows] for name in COLUMNS}
        return replace(self, **{**kept, "use": kept["use"] / part})

    def merged(self, *names: str) -> tuple[Problem, Ints]:
        """Return the problem of the classes of jobs that are alike, and the class of each job.

        Alike are jobs with the same row of ``speeds``, ``use`` and of each column that is named. Let X solve a linear
        programme that treats such jobs alike. Exchanging two of them gives another solution, and so does the mean
        of all exchanges, since the feasible set is convex; there they have equal shares. Nothing is lost, therefore,
        by solving for one share a class. The order of the classes depends on their values alone.
        """
        columns = [self.speeds, self.use.reshape(len(self), -1), *(getattr(self, name) for name in names)]
        table = np.column_stack(columns)
        _, first, class_of = np.unique(table, axis=0, return_index=True, return_inverse=True)
        class_of = class_of.reshape(-1)
        count = np.bincount(class_of, weights=self.count, minlength=len(first)).astype(np.float64)
        return replace(self.take(first), count=count), class_of.astype(np.int64)


def _left_s(jobs: Sequence[JobView], gangs: Gangs) -> Floats:
    """Return what each job still needs on its fastest kind; where that is not known, as long as the longest."""
    work = np.array([job.work - job.done for job in jobs], dtype=np.float64)
    known = np.isfinite(work) & gangs.measured
    left = np.divide(work, gangs.rates.max(axis=1, initial=0.0), out=np.zeros(len(jobs)), where=known)
    left = np.where(known, left, left.max(initial=0.0))
    return np.asarray(np.maximum(left, SHORTEST_S), dtype=np.float64)
