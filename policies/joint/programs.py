"""The linear programmes over shares of time; SciPy's HiGHS solves them.

X[j, k] is the part of its time that job j runs on nodes of kind k. It is at least 0, a job's parts are at most 1
together, and the gangs on a kind hold at most its resources, on average (Gavel, Narayanan et al., OSDI 2020, section
3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from policies.joint.problem import Problem
from policies.tables import Floats

METHODS = ("highs-ipm", "highs")
"""The interior-point method is several times as fast with thousands of jobs; the simplex method has the last word."""

SLACK = 1e-7
"""By how much a floor is lowered in relation to itself, so that what one programme reached is feasible in the next."""


@dataclass(frozen=True)
class Level:
    """How far all jobs can be raised together.

    Attributes
    ----------
    value
        The largest t.
    shares
        X, shape ``(j, k)``.
    held_by
        Which part each job has in holding t back: its dual times its rise. These add up to 1; length j.
    """

    value: float
    shares: Floats
    held_by: Floats


def solved(cost: Floats, rows: Any, most: Floats, equal_rows: Any = None, equal: Floats | None = None) -> Any:
    """Minimise ``cost @ x`` over x >= 0 with ``rows @ x <= most`` and ``equal_rows @ x == equal``.

    Raises
    ------
    ArithmeticError
        If HiGHS finds no solution, which its message explains.
    """
    for method in METHODS:
        found = linprog(cost, A_ub=rows, b_ub=most, A_eq=equal_rows, b_eq=equal, method=method)
        if found.status == 0:
            return found
    raise ArithmeticError(f"HiGHS found no solution: {found.message}")


class Program:
    """The shares that are possible in a problem, and the best of them for one objective or another."""

    def __init__(self, problem: Problem) -> None:
        self._shape = problem.speeds.shape
        self._rows, self._kinds = np.nonzero(problem.speeds)
        num_jobs, num = len(problem), len(self._rows)
        pairs = np.arange(num)
        self._speed = sparse.csr_matrix((problem.speeds[self._rows, self._kinds], (self._rows, pairs)), (num_jobs, num))
        once = sparse.csr_matrix((np.ones(num), (self._rows, pairs)), (num_jobs, num))
        held = problem.use[self._rows, self._kinds] * problem.count[self._rows, None]
        cells = self._kinds[:, None] * held.shape[1] + np.arange(held.shape[1])
        where = (cells.ravel(), np.repeat(pairs, held.shape[1]))
        total = sparse.csr_matrix((held.ravel(), where), (self._shape[1] * held.shape[1], num))
        scarce = np.flatnonzero(np.asarray(total.sum(axis=1)).ravel() > 1)
        self._limits = sparse.vstack([once, total[scarce]])

    def most(self, base: Floats, rise: Floats) -> Level:
        """Make t as large as possible, where each job's speed is at least ``base + rise * t``.

        Parameters
        ----------
        base, rise
            In units of the job's speed on its fastest kind; length j, at least 0, and some ``rise`` over 0.
        """
        steepest = rise.max()
        floors = sparse.hstack([-self._speed, sparse.csr_matrix(rise[:, None] / steepest)])
        limits = sparse.hstack([self._limits, sparse.csr_matrix((self._limits.shape[0], 1))])
        cost = np.zeros(floors.shape[1])
        cost[-1] = -1.0
        found = self._solve(cost, floors, -base, limits)
        dual = -found.ineqlin.marginals[: len(base)]
        return Level(float(found.x[-1] / steepest), self._shares(found.x[:-1]), dual * rise / steepest)

    def best(self, gain: Floats, floor: Floats) -> Floats:
        """Return the X with the largest sum of ``gain * X``, where each job's speed is at least ``floor``.

        Parameters
        ----------
        gain
            Shape ``(j, k)``; below 0 for a loss.
        floor
            As in ``most``; length j.
        """
        worth = gain[self._rows, self._kinds]
        cost = -worth / np.abs(worth).max() if worth.any() else worth
        return self._shares(self._solve(cost, -self._speed, -floor, self._limits).x)

    def nearest(self, floor: Floats, cost: Floats) -> Floats:
        """Return the speeds, at most ``floor``, that miss it by the least sum of ``cost`` times what is missing.

        Parameters
        ----------
        floor, cost
            Length j, at least 0.
        """
        num_jobs, num = self._speed.shape
        floors = sparse.hstack([-self._speed, -sparse.eye(num_jobs)])
        limits = sparse.hstack([self._limits, sparse.csr_matrix((self._limits.shape[0], num_jobs))])
        found = self._solve(np.concatenate([np.zeros(num), cost]), floors, -floor, limits)
        reached: Floats = np.minimum(self._speed @ found.x[:num], floor)
        return reached

    def _solve(self, cost: Floats, floors: Any, most: Floats, limits: Any) -> Any:
        """Minimise ``cost``, where ``floors`` stay under ``most`` (but for the slack) and ``limits`` under 1."""
        matrix = sparse.vstack([floors, limits]).tocsr()
        bound = np.concatenate([most * (1 - SLACK), np.ones(limits.shape[0])])
        return solved(cost, matrix, bound)

    def _shares(self, values: Floats) -> Floats:
        shares = np.zeros(self._shape)
        shares[self._rows, self._kinds] = np.clip(values, 0.0, 1.0)
        return shares
