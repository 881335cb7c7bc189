"""The soonest end on average."""

from __future__ import annotations

from math import ceil

import numpy as np
from scipy import sparse

from policies.interface import Balance, Floats, Ints, Place, PolicyError
from policies.joint.problem import Problem
from policies.joint.programs import solved
from policies.joint.rounds import TimeShared


class Allox(TimeShared):
    """Match jobs with kinds of node and places in the queues there, so that jobs end as soon as possible on average.

    For many jobs of different length and speed when the mean time to the end counts: short jobs go first, each where it
    gains most, and a job may rather wait for a fast node than run on a slow one. Long jobs wait while shorter ones
    keep coming; ``alpha`` below 1 gives the oldest jobs the say. It needs the work of each job and its rates; a job of
    which they are not known is taken to be as long as the longest.

    A job that is p-th from the end of a node's queue delays p jobs by the time that it takes, itself included, and so
    costs p times that time: the cheapest matching has the least sum of ends. It is solved as a transport problem, with
    as many places at each p as a kind has slots. Unlike in the paper, running jobs take part with what is left of
    them, so one may be interrupted at the start of a round; what nobody was matched with is lent to those that wait;
    and gangs of several workers take as many places.

    Cost: one linear programme of j * k * p variables when jobs or nodes change, p = j over slots of a kind (1,000 jobs,
    3 kinds of 85 slots: 0.4 s), O(j log j) a decision.

    Parameters
    ----------
    alpha
        Which part of the jobs is matched, the oldest, over 0 and up to 1; but no fewer than there are slots.
    place
        Where the workers of a gang go among the nodes of a kind, written beside ``joint``; ``pack`` without one.
    balance
        How the shards of a job are divided, written beside ``joint``; ``equal`` without one.
    round_s
        How long a round is, in seconds, greater than 0.

    Source: Le, Sun, Chowdhury and Liu, "AlloX: Compute allocation in hybrid clusters", EuroSys 2020.
    """

    name = "allox"
    source = "Le et al., EuroSys 2020 (AlloX)"

    def __init__(
        self,
        alpha: float = 1.0,
        place: Place | None = None,
        balance: Balance | None = None,
        round_s: float = 360.0,
    ) -> None:
        super().__init__(place, balance, round_s)
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha <= 1:
            raise PolicyError(f"alpha must be over 0 and up to 1, but got alpha={alpha!r}")
        self.alpha = float(alpha)

    def shares(self, problem: Problem) -> Floats:
        """Return 1 where a job is among the first on its kind as far as there are slots, else 0; shape ``(j, k)``."""
        oldest = np.argsort(-problem.age_s, kind="stable")
        slots = int(problem.slots.max(axis=0).sum())
        some = np.sort(oldest[: max(ceil(self.alpha * len(problem)), slots)])
        shares = np.zeros(problem.speeds.shape)
        part = problem.take(some)
        never = np.full(part.speeds.shape, np.inf)
        takes_s = np.divide(part.left_s[:, None], part.speeds, out=never, where=part.speeds > 0)
        kind = _matched(takes_s, part.use.max(axis=2))
        mine = (np.arange(len(some)), kind)
        order = np.argsort(takes_s[mine], kind="stable")
        left = np.ones(problem.speeds.shape[1])
        for row in order.tolist():
            size = part.use[row, kind[row]].max()
            if size <= left[kind[row]] + 1e-9:
                left[kind[row]] -= size
                shares[some[row], kind[row]] = 1.0
        return shares


def _matched(takes_s: Floats, size: Floats) -> Ints:
    """Return the kind that each job is matched with; length j.

    Parameters
    ----------
    takes_s
        How long a job takes on a kind, infinite where it cannot run; shape ``(j, k)``.
    size
        Which part of the kind it takes, over 0; shape ``(j, k)``.
    """
    able = np.isfinite(takes_s)
    layers = np.maximum(np.ceil((size * able).sum(axis=0)).astype(np.int64), 1)
    rows, kinds = np.nonzero(able)
    repeats = layers[kinds]
    row, kind = np.repeat(rows, repeats), np.repeat(kinds, repeats)
    layer = np.arange(len(row)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    cost = (layer + 1) * takes_s[row, kind] / takes_s[able].max()
    columns = np.arange(len(row))
    once = sparse.csr_matrix((np.ones(len(row)), (row, columns)), (len(takes_s), len(row)))
    place = (np.cumsum(layers) - layers)[kind] + layer
    full = sparse.csr_matrix((size[row, kind], (place, columns)), (layers.sum(), len(row)))
    found = solved(cost, full, np.ones(full.shape[0]), once, np.ones(len(takes_s)))
    matched = np.zeros(takes_s.shape)
    np.add.at(matched, (row, kind), found.x)
    chosen: Ints = np.argmax(np.where(able, matched, -1.0), axis=1).astype(np.int64)
    return chosen
