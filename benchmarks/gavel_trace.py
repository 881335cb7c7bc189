"""The jobs of Gavel's evaluation, made as its generator makes them, and their replay in rounds.

The generator is that of the repository stanford-futuredata/gavel at commit c4fa400, published with Narayanan et al.,
OSDI 2020: the same draws from Python's ``random`` in the same order, so that a seed gives the same jobs. Durations are
those on a V100, 10^1.5 to 10^3 minutes for four jobs in five and 10^3 to 10^4 for the fifth.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf, log

from benchmarks import public_data
from policies.feasibility import Room
from policies.interface import ClusterSnapshot, Floats, Grant, JobView, NodeTable, Policy, Resources, frozen
from policies.referee import violations

KINDS = ("v100", "p100", "k80")
PER_KIND = 36
"""GPUs of each kind; every GPU is a node of its own."""

ROUND_S = 360.0
BUNDLE = Resources(gpu=1.0)

MODELS = (
    *((f"ResNet-18 (batch size {size})", True) for size in (16, 32, 64, 128, 256)),
    *((f"ResNet-50 (batch size {size})", True) for size in (16, 32, 64, 128)),
    *((f"Transformer (batch size {size})", True) for size in (16, 32, 64, 128, 256)),
    *((f"LM (batch size {size})", True) for size in (5, 10, 20, 40, 80)),
    *((f"Recommendation (batch size {size})", False) for size in (512, 1024, 2048, 4096, 8192)),
    ("A3C", False),
    ("CycleGAN", False),
)
"""What is trained, and whether several GPUs may train it."""

Rates = Mapping[str, Floats]


def nodes() -> NodeTable:
    """Return the cluster: one GPU a node."""
    kinds = [kind for kind in KINDS for _ in range(PER_KIND)]
    ids = [f"{kind}-{number:02d}" for kind in KINDS for number in range(PER_KIND)]
    return NodeTable.of(ids, [[0.0, 1.0, 0.0]] * len(kinds), kinds=kinds)


def read_rates() -> dict[tuple[str, int], Rates]:
    """Return the steps per second of each model with so many GPUs, by kind; as ``JobView.rates`` has them."""
    path = public_data.path("gavel", "simulation_throughputs.json")
    measured = json.loads(path.read_text(encoding="utf-8"))
    found: dict[tuple[str, int], dict[str, Floats]] = {}
    for kind in KINDS:
        for name, beside in measured[kind].items():
            match = re.fullmatch(r"\('(.*)', (\d+)\)", name)
            if match:
                gpus = int(match[2])
                found.setdefault((match[1], gpus), {})[kind] = frozen([0.0] * (gpus - 1) + [beside["null"]])
    return dict(found)


def jobs(seed: int, per_hour: float = inf, several_gpus: bool = True) -> Iterator[JobView]:
    """Make jobs without end, in the order of their arrival; all at once without a rate."""
    rates, draw, arrival = read_rates(), random.Random(seed + 2), random.Random(seed + 3)  # noqa: S311
    number, now_s = 0, 0.0
    while True:
        gpus = _gpus(draw.uniform(0, 1))
        long = draw.random() >= 0.8
        duration_s = 60 * 10 ** (draw.uniform(3, 4) if long else draw.uniform(1.5, 3))
        gpus = gpus if several_gpus else 1
        model, scales = draw.choice(MODELS)
        while gpus > 1 and not scales:
            model, scales = draw.choice(MODELS)
        mine = rates[model, gpus]
        work = duration_s * float(mine["v100"][-1])
        yield JobView(f"job-{number:05d}", now_s, BUNDLE, gpus, gpus, work=work, rates=mine)
        number += 1
        now_s += 3600 * -log(1.0 - arrival.random()) / per_hour


def _gpus(drawn: float) -> int:
    """Return how many GPUs a job has: 1, 2, 4 or 8, at 70, 10, 15 and 5 %."""
    return 1 if drawn < 0.7 else 2 if drawn < 0.8 else 4 if drawn < 0.95 else 8


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
        self._row_of = {node: row for row, node in enumerate(self._nodes.ids)}
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
