"""The largest smallest share of the cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policies.joint.problem import Problem
from policies.joint.programs import Level, Program
from policies.joint.rounds import TimeShared
from policies.tables import Floats

NEAR = 1e-6
"""Levels that differ by less than this, in relation to themselves, are the same."""

NOTHING = 1e-9
"""A smaller part in holding the level back is none."""


class MaxMinThroughput(TimeShared):
    """Make the slowest job as fast as possible, then the next slowest, each over its speed on 1/n of the cluster.

    Fair sharing between jobs or tenants when nodes differ and jobs know their rates: of n jobs of equal weight nobody
    is slower than with 1/n of every kind of node to itself, and most are faster, since each runs where it gains most.
    Speeds are counted over a job's weight, too: a tenant's weight is divided among its jobs, and each step of priority
    doubles a job's part.

    The water is filled by linear programmes. When the level cannot rise, the jobs with a positive dual hold it, and
    stay there (Gavel finds them by an integer programme); jobs that run all the time on their fastest kind stop on the
    way. Weights are not divided anew among a tenant's other jobs when one stops, as they are in Gavel.

    Cost: one to ten linear programmes of j * k shares when jobs or nodes change (jobs that are alike count once; 1,000
    that all differ, 3 kinds: 0.1 to 0.5 s, 10,000: from 1 s), O(j log j) a decision.

    Parameters
    ----------
    place
        Where the workers of a gang go among the nodes of a kind, written beside ``joint``; ``pack`` without one.
    balance
        How the shards of a job are divided, written beside ``joint``; ``equal`` without one.
    round_s
        How long a round is, in seconds, greater than 0.

    Source: policies "LAS" and "hierarchical", with water filling, of Gavel: Narayanan, Santhanam, Kazhamiaka,
    Phanishayee and Zaharia, "Heterogeneity-aware cluster scheduling policies for deep learning workloads", OSDI 2020,
    sections 4.1 and 4.3.
    """

    name = "max-min-throughput"
    source = "Narayanan et al., OSDI 2020 (Gavel)"

    def shares(self, problem: Problem) -> Floats:
        """Return the shares where no job can be faster without a slower one paying for it; shape ``(j, k)``."""
        classes, class_of = problem.merged("weight")
        return _filled(classes)[class_of]


def _filled(problem: Problem) -> Floats:
    """Raise all jobs together; those that cannot rise stay where they are, the others go on."""
    program = Program(problem)
    rise = problem.weight * problem.alone
    level, rising = np.zeros(len(problem)), np.ones(len(problem), dtype=np.bool_)
    while True:
        water, found = _raised(program, level, rise, rising)
        stays = rising & ((found.held_by > NOTHING) | (rise * water >= 1 - NEAR))
        stays = stays if stays.any() else rising
        level[stays] = np.minimum(rise[stays] * water, 1.0)
        rising &= ~stays
        if not rising.any():
            return found.shares


def _raised(program: Program, level: Floats, rise: Floats, rising: NDArray[np.bool_]) -> tuple[float, Level]:
    """Return the highest water, and shares with which each job that rises has ``rise * water`` or its full speed, 1.

    A level that is too high comes with prices at which the jobs cannot pay for their speeds together; the highest that
    they can pay for is tried next. Such steps never go below the solution, and end there.
    """
    rise = np.where(rising, rise, 0.0)
    found, tops = program.most(level, rise), 1 / rise[rising]
    if found.value < tops.min() * (1 - NEAR):
        return found.value, found
    water, lower = np.inf, tops.max()
    while lower < water:
        water = lower
        target = np.minimum(rise * water, 1.0)
        found = program.most(level, target)
        if found.value < 1 - NEAR:
            lower = _affordable(found.held_by[rising] / target[rising], rise[rising], found.value)
    return float(water), found


def _affordable(price: Floats, rise: Floats, budget: float) -> float:
    """Return the water w where the sum of ``price * min(rise * w, 1)`` is ``budget``, less than all prices together."""
    steep_first = np.argsort(-rise, kind="stable")
    price, rise = price[steep_first], rise[steep_first]
    full = np.cumsum(price) - price  # paid for those that are at full speed before this one
    slope = np.cumsum((price * rise)[::-1])[::-1]
    water = np.divide(budget - full, slope, out=np.full(len(price), np.inf), where=slope > 0)
    return float(water[np.argmax(water * rise <= 1 + NEAR)])
