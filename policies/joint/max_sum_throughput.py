"""The most work altogether, for the least money, within deadlines."""

from __future__ import annotations

import numpy as np

from policies.interface import Balance, Floats, Place, PolicyError
from policies.joint.problem import Problem
from policies.joint.programs import Program
from policies.joint.rounds import TimeShared

FREE_OF_CHARGE = 1e-3
"""What costs nothing counts as this part of the lowest price, so that it is taken first."""


class MaxSumThroughput(TimeShared):
    """Give each kind of node to the jobs that gain most from it, first to those that need it for their deadlines.

    For the most work done in all, or the most for the money, when it does not matter whose it is: a job that gains
    little anywhere may get nothing but what is left. A job's throughput is its speed over that on its fastest kind,
    counted by the part of the cluster that its gang takes; Gavel adds up steps per second, whatever a step is.

    Where a job has a deadline that it can still meet alone, it has at least the speed that it needs for it. If they
    cannot all be met, as little as possible is missing in all; Gavel drops all deadlines then.

    Cost: one linear programme of j * k shares when jobs or nodes change, two with deadlines (1,000 jobs on 3 kinds:
    0.1 s each, 10,000: 1 s), O(j log j) a decision.

    Parameters
    ----------
    cost
        Whether throughput counts per price of the nodes (``NodeTable.price_per_hour``).
    deadlines
        Whether deadlines count.
    place
        Where the workers of a gang go among the nodes of a kind, written beside ``joint``; ``pack`` without one.
    balance
        How the shards of a job are divided, written beside ``joint``; ``equal`` without one.
    round_s
        How long a round is, in seconds, greater than 0.

    Source: policies "maximize total throughput" and "minimize cost (subject to SLOs)" of Gavel: Narayanan, Santhanam,
    Kazhamiaka, Phanishayee and Zaharia, "Heterogeneity-aware cluster scheduling policies for deep learning
    workloads", OSDI 2020, section 4.2.
    """

    name = "max-sum-throughput"
    source = "Narayanan et al., OSDI 2020 (Gavel)"

    def __init__(
        self,
        cost: bool = False,
        deadlines: bool = True,
        place: Place | None = None,
        balance: Balance | None = None,
        round_s: float = 360.0,
    ) -> None:
        super().__init__(place, balance, round_s)
        for name, value in (("cost", cost), ("deadlines", deadlines)):
            if not isinstance(value, bool):
                raise PolicyError(f"{name} must be true or false, but got {name}={value!r}")
        self.cost, self.deadlines = cost, deadlines

    def shares(self, problem: Problem) -> Floats:
        """Return the shares with the most throughput; shape ``(j, k)``."""
        dated = np.isfinite(problem.within_s) if self.deadlines else np.zeros(len(problem), dtype=np.bool_)
        classes, class_of = problem.merged(*(("left_s", "within_s") if dated.any() else ()))
        program, size = Program(classes), 1 / classes.slots.sum(axis=1)
        gain = (classes.count * size)[:, None] * classes.speeds
        if self.cost:
            gain = gain / _price(classes, size)
        floor = np.zeros(len(classes))
        if dated.any():
            floor = np.divide(classes.left_s, classes.within_s, out=floor, where=classes.within_s > 0)
            floor = np.where(floor <= 1, floor, 0.0)
            floor = program.nearest(floor, classes.count * size)
        return program.best(gain, floor)[class_of]


def _price(problem: Problem, size: Floats) -> Floats:
    """Return what the kinds cost for each job, per hour and part of the cluster; shape ``(j, k)``, over 0."""
    price = problem.price / size[:, None]
    paid = price[(problem.speeds > 0) & (price > 0)]
    lowest = paid.min() * FREE_OF_CHARGE if len(paid) else 1.0
    return np.maximum(price, lowest)
