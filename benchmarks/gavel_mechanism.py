"""Gavel's rounds as its authors' program has them, as a policy for our simulator.

The program is that of the repository uw-mad-dash/shockwave at commit e07dd20 (``scheduler/scheduler.py``), which has
the rounds of stanford-futuredata/gavel. Our own policies share out time in the same way (``policies.joint.rounds``),
but

- here shares are solved for anew only when jobs have come or gone and the last solution is 1,000 s old, so that a job
  may wait that long until it has a share at all;
- here the turns go by the ratio of a job's share and the time that it ran since then, there by the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, nan
from typing import Any

import numpy as np

from policies.balance.equal import Equal
from policies.interface import ClusterPlan, ClusterSnapshot, Floats, JobView, Memo, Policy
from policies.joint.gangs import Gangs
from policies.joint.pools import Pools
from policies.joint.turns import Turns
from policies.place.pack import Pack

ROUND_S = 120.0
RESTART_S = 20.0
HOLD_S = 1000.0

Memory = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """What shares are asked for: jobs on nodes of one kind, in the order of their arrival; arrays of length j.

    Attributes
    ----------
    size
        GPUs of each job.
    capacity
        GPUs of the cluster.
    left, rate
        Work left and work per second now, in the job's own unit.
    age_s
        Since its arrival.
    steps_per_s
        Of training now, NaN where it is not known.
    memory
        What the shares were solved with before left behind.
    """

    ids: tuple[str, ...]
    size: Floats
    capacity: float
    left: Floats
    rate: Floats
    age_s: Floats
    steps_per_s: Floats
    memory: Memory

    @property
    def left_s(self) -> Floats:
        """Seconds that each job would still take, if its speed stayed as it is."""
        return np.asarray(self.left / self.rate)


Shares = Callable[[Asked], tuple[Floats, Memory]]
"""Answers with the part of its time that each job is to run, 0 to 1, and what to remember."""


class Rounds(Policy):
    """Let jobs take turns of a round by the shares that somebody else works out.

    Parameters
    ----------
    name
        What reports call it.
    steps_per_s
        Job and its work per second -> its steps per second.
    round_s
        How long a round is; the simulator must ask as often.
    restart_s
        What a job loses of its first round after a break.
    hold_s
        How old shares are at least before they are solved for again.
    """

    needs_running = True

    def __init__(
        self,
        name: str,
        shares: Shares,
        steps_per_s: Mapping[tuple[str, float], float],
        round_s: float = ROUND_S,
        restart_s: float = RESTART_S,
        hold_s: float = HOLD_S,
    ) -> None:
        self.name, self.balance = name, Equal()
        self._shares, self._steps_per_s = shares, steps_per_s
        self._round_s, self._restart_s, self._hold_s = round_s, restart_s, hold_s

    def plan(self, snapshot: ClusterSnapshot, memo: Memo | None = None) -> ClusterPlan:
        """Give the turns of a round to those who have had the least of their share."""
        del memo
        jobs = sorted(snapshot.jobs, key=lambda job: (job.submitted_s, job.id))
        pools = Pools.of(snapshot)
        gangs = Gangs.of(jobs, pools)
        state = self._brought_forward(snapshot, jobs)
        if state["stale"] and snapshot.now_s - (state["solved_s"] or -inf) >= self._hold_s:  # at 0 nothing counts yet
            found, memory = self._shares(self._asked(jobs, gangs, pools, snapshot.now_s, state["memory"]))
            state |= {
                "stale": False,
                "solved_s": snapshot.now_s,
                "memory": memory,
                "shares": {job.id: float(share) for job, share in zip(jobs, found, strict=True)},
                "ran_s": {job.id: self._round_s / 2 for job in jobs},
            }
        shares, ran_s = state["shares"], state["ran_s"]
        known = np.array([job.id in shares for job in jobs], dtype=np.bool_)
        urgency = np.array([shares.get(job.id, 0.0) / ran_s[job.id] for job in jobs])
        turns = Turns(snapshot, jobs, replace(gangs, workers=gangs.workers * known[:, None]), pools, Pack(), False)
        turns.take(urgency[:, None], (gangs.rates > 0).astype(np.float64))
        plan = turns.plan(state)
        running = (snapshot.held().keys() - {lease.job for lease in plan.revokes}) | {one.job for one in plan.grants}
        state["fresh"] = frozenset(running - snapshot.held().keys())
        return plan

    def _brought_forward(self, snapshot: ClusterSnapshot, jobs: Sequence[JobView]) -> dict[str, Any]:
        """Return the state with the time that jobs ran since the last round; a first round counts without its start."""
        before = snapshot.state or {
            "stale": True,
            "solved_s": 0.0,
            "seen_s": snapshot.now_s,
            "memory": {},
            "shares": {},
            "ran_s": {},
            "fresh": frozenset(),
        }
        passed_s = snapshot.now_s - before["seen_s"]
        ran_s = {job.id: before["ran_s"].get(job.id, self._round_s / 2) for job in jobs}
        for name in snapshot.held().keys() & ran_s.keys():
            ran_s[name] += max(passed_s - self._restart_s * (name in before["fresh"]), 0.0)
        changed = ran_s.keys() != before["ran_s"].keys()
        return {**before, "ran_s": ran_s, "seen_s": snapshot.now_s, "stale": before["stale"] or changed}

    def _asked(self, jobs: Sequence[JobView], gangs: Gangs, pools: Pools, now_s: float, memory: Memory) -> Asked:
        rates = gangs.rates[:, 0]
        return Asked(
            tuple(job.id for job in jobs),
            gangs.need[:, 0, 1],
            float(pools.cleared[0].free[:, 1].sum()),
            np.array([job.work - job.done for job in jobs]),
            rates,
            np.array([now_s - job.submitted_s for job in jobs]),
            np.array([self._steps_per_s.get((job.id, rate), nan) for job, rate in zip(jobs, rates, strict=True)]),
            memory,
        )
