"""A large problem in parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from policies.interface import Balance, Floats, Place, PolicyError
from policies.joint.finish_time_fair_lp import FinishTimeFairLp
from policies.joint.max_min_throughput import MaxMinThroughput
from policies.joint.max_sum_throughput import MaxSumThroughput
from policies.joint.min_makespan import MinMakespan
from policies.joint.problem import Problem
from policies.joint.rounds import TimeShared
from policies.loading import create, unknown

INNER: dict[str, type[TimeShared]] = {
    member.name: member for member in (MinMakespan, MaxMinThroughput, MaxSumThroughput, FinishTimeFairLp)
}
"""What can be solved in parts: name -> class."""


class Pop(TimeShared):
    """Deal the jobs at random to equal parts of the cluster, and let another policy share out each part.

    For thousands of jobs that all differ, where one linear programme takes seconds: k parts take less than 1/k of the
    time, and with many jobs in each, all parts look alike and little is lost. Gangs should be small beside
    a part of a kind: one that is larger can run there part of the time only.

    Cost: the inner policy's, for each part with j / k jobs; O(j log j) a decision.

    Parameters
    ----------
    parts
        How many, at least 1; no more are made than there are jobs.
    inner
        The policy of each part: its name, ``{name: {option: value}}``, or a policy over shares.
    place
        Where the workers of a gang go among the nodes of a kind, written beside ``joint``; ``pack`` without one.
    balance
        How the shards of a job are divided, written beside ``joint``; ``equal`` without one.
    round_s
        How long a round is, in seconds, greater than 0.

    Source: Narayanan, Kazhamiaka, Abuzaid, Kraft, Agrawal, Kandula, Boyd and Zaharia, "Solving large-scale granular
    resource allocation problems efficiently with POP", SOSP 2021.
    """

    name = "pop"
    source = "Narayanan et al., SOSP 2021 (POP)"

    def __init__(
        self,
        parts: int = 4,
        inner: str | Mapping[str, Mapping[str, Any] | None] | TimeShared = MaxMinThroughput.name,
        place: Place | None = None,
        balance: Balance | None = None,
        round_s: float = 360.0,
    ) -> None:
        super().__init__(place, balance, round_s)
        if isinstance(parts, bool) or not isinstance(parts, int) or parts < 1:
            raise PolicyError(f"parts must be a whole number of at least 1, but got parts={parts!r}")
        self.parts = parts
        self.inner = inner if isinstance(inner, TimeShared) else _inner(inner)

    def shares(self, problem: Problem) -> Floats:
        """Return the shares that each job has in its part; shape ``(j, k)``."""
        parts = min(self.parts, len(problem))
        dealt = np.random.default_rng(problem.seed).permutation(len(problem))
        shares = np.zeros(problem.speeds.shape)
        for part in range(parts):
            rows = np.sort(dealt[part::parts])
            shares[rows] = self.inner.shares(problem.take(rows, 1 / parts))
        return shares


def _inner(spec: Any) -> TimeShared:
    name, options = next(iter(spec.items())) if isinstance(spec, Mapping) and len(spec) == 1 else (spec, {})
    options = {} if options is None else options
    if not isinstance(name, str) or not isinstance(options, Mapping):
        raise PolicyError(f"inner must be a name or {{name: {{option: value}}}}, but got inner={spec!r}")
    if name not in INNER:
        raise unknown("inner policy", name, INNER)
    made: TimeShared = create(name, INNER[name], dict(options))
    return made
