"""Nobody ends later than with a part of the cluster alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from policies.joint.problem import Problem
from policies.joint.programs import Program
from policies.joint.rounds import TimeShared
from policies.tables import Floats

NEAR = 1e-6
"""Speeds that miss what is needed by less than this, in relation to it, reach it."""


class FinishTimeFairLp(TimeShared):
    """Minimise the worst rho: the time in which a job ends, over that in which it would end on 1/n of the cluster.

    For teams that would rather have a part of the cluster of their own: with rho at most 1 for all, nobody would end
    sooner there. It needs the work of each job and its rates; a job of which they are not known is taken to be as long
    as the longest.

    rho is (age + work left / speed) / (age + work left / speed alone), where alone is 1/n of every kind among the n
    jobs that there are now (Themis takes into account how n changed while the job ran). A bound on rho is one on the
    speed of each job, so whether it can be kept is one linear programme. If not, its dual prices the speeds, and the
    least bound that could be paid for is tried next.

    Cost: one to five linear programmes of j * k shares when jobs or nodes change (1,000 jobs on 3 kinds: 0.2 s,
    10,000: from 1 s), O(j log j) a decision.

    Parameters
    ----------
    place
        Where the workers of a gang go among the nodes of a kind, written beside ``joint``; ``pack`` without one.
    balance
        How the shards of a job are divided, written beside ``joint``; ``equal`` without one.
    round_s
        How long a round is, in seconds, greater than 0.

    Source: Mahajan et al., "Themis: Fair and efficient GPU cluster scheduling", NSDI 2020; as a policy over shares,
    "finish-time fairness" of Gavel: Narayanan et al., "Heterogeneity-aware cluster scheduling policies for deep
    learning workloads", OSDI 2020, section 4.2.
    """

    name = "finish-time-fair-lp"
    source = "Mahajan et al., NSDI 2020 (Themis); Narayanan et al., OSDI 2020 (Gavel)"

    def shares(self, problem: Problem) -> Floats:
        """Return the shares with the least worst rho; shape ``(j, k)``."""
        classes, class_of = problem.merged("left_s", "age_s")
        program, none = Program(classes), np.zeros(len(classes))
        alone_s = classes.age_s + classes.left_s / classes.alone

        def needed(rho: float) -> Floats:
            return np.asarray(classes.left_s / np.maximum(rho * alone_s - classes.age_s, classes.left_s))

        rho, lower = 0.0, float(((classes.age_s + classes.left_s) / alone_s).max())
        while lower > rho:
            rho = lower
            found = program.most(none, needed(rho))
            if found.value < 1 - NEAR:
                lower = _affordable(found.held_by / needed(rho), needed, found.value, rho)
        return found.shares[class_of]


def _affordable(price: Floats, needed: Callable[[float], Floats], budget: float, rho: float) -> float:
    """Return the least bound from ``rho`` to 1 at which the speeds that are needed cost no more than the budget."""

    def excess(bound: float) -> float:
        return float(price @ needed(bound)) - budget

    return float(brentq(excess, rho, 1.0, xtol=1e-15)) if excess(1.0) < 0 < excess(rho) else 1.0
