"""Gavel's round-based mechanism: jobs take turns on the kinds of nodes, so that over time each has its share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from math import inf
from typing import Any, ClassVar

import numpy as np

from policies.balance.equal import Equal
from policies.interface import (
    Balance,
    ClusterPlan,
    ClusterSnapshot,
    Floats,
    JobView,
    Memo,
    Place,
    Policy,
    PolicyError,
    frozen,
)
from policies.joint.gangs import Gangs
from policies.joint.pools import Pools
from policies.joint.problem import Problem
from policies.joint.turns import Turns
from policies.place.pack import Pack

EARLY_S = 1e-6
"""A round may end this much early, so that rounding of the clock makes none twice as long."""


class TimeShared(Policy):
    """Solve for the part of its time that each job runs on each kind of node; by turns, let jobs have it.

    Time goes in rounds. At the start of one all leases are up: the turns on a kind go to the jobs that would else be
    furthest behind their share there, and then to all others as long as there is room. A job that keeps its turn on a
    kind keeps its nodes. Between the starts nobody is revoked, and what becomes free is given away at once, in the same
    order. How far a job is behind is the difference of the seconds that it was due and that it received; that keeps
    everybody within about a round, where Gavel goes by their ratio.

    The shares are solved for anew when a job, a node, or what is known of them changes, but for the work done. Who is
    behind then stays so, and what somebody received on top is forgiven: it was nobody else's, or will be made up for.
    In between the shares travel in ``state``, with the seconds due and received; a memo is not used.

    A gang runs on the nodes of one kind, with as many workers as it can use and the nodes hold. A subclass writes
    ``shares``.

    Parameters
    ----------
    place
        Where the workers of a gang go among the nodes of a kind, written beside ``joint``; ``pack`` without one.
    balance
        How the shards of a job are divided, written beside ``joint``; ``equal`` without one.
    round_s
        How long a round is, in seconds, greater than 0.

    Raises
    ------
    PolicyError
        If an option is out of range.

    Source: Narayanan, Santhanam, Kazhamiaka, Phanishayee and Zaharia, "Heterogeneity-aware cluster scheduling
    policies for deep learning workloads", OSDI 2020, section 5.

    Attributes
    ----------
    source
        The paper that it comes from.
    """

    source: ClassVar[str]

    def __init__(self, place: Place | None = None, balance: Balance | None = None, round_s: float = 360.0) -> None:
        if isinstance(round_s, bool) or not isinstance(round_s, (int, float)) or not 0 < round_s < inf:
            raise PolicyError(f"round_s must be a number greater than 0, but got round_s={round_s!r}")
        self.place = Pack() if place is None else place
        self.balance = Equal() if balance is None else balance
        for name, kind in (("place", Place), ("balance", Balance)):
            if not isinstance(getattr(self, name), kind):
                raise PolicyError(f"{name} must be a {kind.__name__}, but got {name}={getattr(self, name)!r}")
        self.round_s = float(round_s)

    @abstractmethod
    def shares(self, problem: Problem) -> Floats:
        """Return the part of its time, 0 to 1, that each job runs on each kind; shape ``(j, k)``.

        Parameters
        ----------
        problem
            At least one job; each can run on some kind.
        """

    def plan(self, snapshot: ClusterSnapshot, memo: Memo | None = None) -> ClusterPlan:
        """Give the turns of this round, or in the midst of one what is free; the others wait, with the reason."""
        del memo
        jobs = sorted(snapshot.jobs, key=lambda job: (job.submitted_s, job.id))
        pools = Pools.of(snapshot)
        gangs = Gangs.of(jobs, pools)
        problem = Problem.of(jobs, gangs, pools, snapshot)
        asked = _digest(self.name, jobs, pools, (gangs.rates, problem.use, problem.weight, problem.price))
        before = snapshot.state if snapshot.state.get("kinds") == pools.kinds else {}
        due, received = _brought_forward(before, snapshot, jobs, pools)
        if before.get("asked") == asked:
            shares = before["shares"]
        else:
            shares, received = self._solved(problem), np.minimum(received, due)
        began_s = before.get("began_s", -inf)
        mid_round = 0 <= snapshot.now_s - began_s < self.round_s - EARLY_S
        urgency = np.where(shares > 0, due + shares * self.round_s - received, -inf)
        turns = Turns(snapshot, jobs, gangs, pools, self.place, mid_round)
        turns.take(urgency, problem.speeds)
        return turns.plan(
            {
                "asked": asked,
                "began_s": began_s if mid_round else snapshot.now_s,
                "seen_s": snapshot.now_s,
                "jobs": tuple(job.id for job in jobs),
                "kinds": pools.kinds,
                "shares": frozen(shares),
                "due": frozen(due),
                "received": frozen(received),
            }
        )

    def _solved(self, problem: Problem) -> Floats:
        shares = np.zeros(problem.speeds.shape)
        able = np.flatnonzero(problem.speeds.any(axis=1))
        if len(able):
            shares[able] = self.shares(problem.take(able))
        return shares


def _digest(policy: str, jobs: Sequence[JobView], pools: Pools, columns: Iterable[Floats]) -> str:
    """Name all that shares depend on, but the passing of time."""
    names = repr((policy, [(job.id, job.deadline_s, job.work) for job in jobs], pools.kinds))
    known = blake2b(names.encode(), digest_size=16)
    for column in columns:
        known.update(np.ascontiguousarray(column).tobytes())
    return known.hexdigest()


def _brought_forward(
    before: Mapping[str, Any], snapshot: ClusterSnapshot, jobs: Sequence[JobView], pools: Pools
) -> tuple[Floats, Floats]:
    """Return the seconds that each job was due and received on each kind until now, each of shape ``(j, k)``.

    Since the last plan a job has received time on the kind of its leases.
    """
    due, received = np.zeros((2, len(jobs), len(pools.kinds)))
    if not before:
        return due, received
    passed_s = max(snapshot.now_s - before["seen_s"], 0.0)
    row_of = {job: row for row, job in enumerate(before["jobs"])}
    known = [j for j, job in enumerate(jobs) if job.id in row_of]
    rows = [row_of[jobs[j].id] for j in known]
    due[known] = before["due"][rows] + passed_s * before["shares"][rows]
    received[known] = before["received"][rows]
    kinds = {
        lease.job: pools.kind_of.get(lease.node)
        for lease in sorted(snapshot.leases, key=lambda lease: (lease.job, -lease.worker))
    }
    for j in known:
        kind = kinds.get(jobs[j].id)
        if kind is not None:
            received[j, kind] += passed_s
    return due, received
