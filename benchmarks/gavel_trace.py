"""The jobs of Gavel's evaluation (``scheduler.simulation.traces.gavel``), and their replay in rounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf

from benchmarks import public_data
from policies.feasibility import Room
from policies.interface import ClusterSnapshot, Grant, JobView, NodeTable, Policy
from policies.referee import violations
from scheduler.simulation.traces import gavel
from scheduler.simulation.traces.gavel import BUNDLE

ROUND_S = 360.0


def nodes() -> NodeTable:
    """Return the cluster: one GPU a node."""
    return gavel.fleet().table()


def read_rates() -> dict[tuple[str, int], gavel.Rates]:
    """Return the steps per second of each model with so many GPUs, by kind; as ``JobView.rates`` has them."""
    return gavel.read_rates(public_data.path("gavel", "simulation_throughputs.json"))


def jobs(seed: int, per_hour: float = inf, several_gpus: bool = True) -> Iterator[JobView]:
    """Make jobs without end, in the order of their arrival; all at once without a rate."""
    return gavel.jobs(read_rates(), seed, per_hour, several_gpus)


@dataclass(frozen=True)
class Outcome:
    """What a replay came to.

    Attributes
    ----------
    ended_s
        Job -> when it ended.
    rounds
        How many rounds it took.
    started
        How many workers were started, those included that had run before on another node.
    """

    ended_s: dict[str, float]
    rounds: int
    started: int


class Replay:
    """A cluster where jobs run for a round on what the policy grants, and then the policy is asked again.

    A job that ends within a round leaves its GPUs idle until the next one, and one that arrives waits for it.
    """

    def __init__(self, policy: Policy, check: bool = False) -> None:
        self._policy, self._check = policy, check
        self._nodes = nodes()
        self._row_of = self._nodes.row_of
        self._room = Room(self._nodes)
        self._jobs: dict[str, JobView] = {}
        self._leases: dict[str, list[Grant]] = {}
        self._ended_s: dict[str, float] = {}
        self._state: Mapping[str, object] = {}
        self._rounds = self._started = 0

    def run(self, arriving: Iterable[JobView], until: frozenset[str] = frozenset()) -> Outcome:
        """Replay jobs in the order of their arrival until all of them have ended, or all of ``until``.

        Raises
        ------
        ValueError
            If the replay checks plans, and the referee finds one that breaks a rule.
        """
        coming, now_s = iter(arriving), 0.0
        upcoming = next(coming, None)
        while (upcoming or self._jobs) and not (until and until <= self._ended_s.keys()):
            if upcoming and not self._jobs:
                now_s = max(now_s, upcoming.submitted_s)
            while upcoming and upcoming.submitted_s <= now_s:
                self._jobs[upcoming.id] = upcoming
                upcoming = next(coming, None)
            self._grant(now_s)
            self._work(now_s)
            now_s += ROUND_S
        return Outcome(self._ended_s, self._rounds, self._started)

    def _grant(self, now_s: float) -> None:
        leases = tuple(lease for held in self._leases.values() for lease in held)
        jobs = tuple(self._jobs.values())
        snapshot = ClusterSnapshot(self._rounds, now_s, 0, self._room.table(), jobs, leases, self._state)
        plan = self._policy.plan(snapshot)
        if self._check and (found := violations(plan, snapshot)):
            raise ValueError(f"{self._policy.name}: {found[0]}")
        for lease in plan.revokes:
            self._room.release(BUNDLE, self._row(lease), lease.devices)
            self._leases.pop(lease.job, None)
        for grant in plan.grants:
            self._room.hold(BUNDLE, self._row(grant), grant.devices)
            self._leases.setdefault(grant.job, []).append(grant)
        self._state = plan.state
        self._started += len(plan.grants)
        self._rounds += 1

    def _work(self, now_s: float) -> None:
        """Let a round pass."""
        for name, held in list(self._leases.items()):
            job = self._jobs[name]
            rate = job.rate(len(held), self._nodes.kinds[self._row(held[0])])
            left_s = (job.work - job.done) / rate if rate > 0 else inf
            if left_s > ROUND_S:
                self._jobs[name] = replace(job, done=job.done + rate * ROUND_S)
                continue
            self._ended_s[name] = now_s + left_s
            del self._jobs[name], self._leases[name]
            for lease in held:
                self._room.release(BUNDLE, self._row(lease), lease.devices)

    def _row(self, lease: Grant) -> int:
        return self._row_of[lease.node]
