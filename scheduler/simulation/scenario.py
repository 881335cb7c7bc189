"""A scenario: jobs on a fleet, of which every seed makes a world of its own. Pure."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from scheduler.simulation.arrivals import bursts, poisson, repeated
from scheduler.simulation.faults import Fault, drifting, failing, sharing
from scheduler.simulation.fleet import Fleet
from scheduler.simulation.traces.trace_line import line_of
from scheduler.simulation.workload import SimulatedJob, Workload
from scheduler.simulation.world import Costs, World
from scheduler.stored_runs import Fact, digest

ON_RAY = Costs(start_s=0.45, start_work_s=1.1, call_s=0.0009, round_s=0.0006, end_s=0.03, release_s=0.12)
"""What starting an actor, calling it, closing a round and ending a job take on Ray 2.60 (`make bench-fidelity`)."""


@dataclass(frozen=True)
class Scenario:
    """What is the same for all policies.

    Attributes
    ----------
    copies, per_hour
        Every job comes so often, all at once or so many an hour.
    burst, burst_every_s
        Where ``burst`` is not 0: so many come together, again and again.
    patience_s
        How long a job waits for its first workers before it goes away.
    drift, drift_every_s
        Standard deviation of the logarithm of a machine's speed factor, 0 for none, and how often it is drawn anew.
    mtbf_s, mttr_s
        Mean time of a machine until it fails, and until it is back; infinite: none fails.
    foreign, foreign_s
        Which part of every machine others ask for, on average, and how long a load of theirs lasts in the mean.
    horizon_s
        Until when machines drift and fail, and others come.
    told
        Faults that are known, as those of a trace; the same in every world.
    source
        Where the jobs come from.
    """

    fleet: Fleet
    jobs: tuple[SimulatedJob, ...]
    copies: int = 1
    per_hour: float = math.inf
    burst: int = 0
    burst_every_s: float = 60.0
    patience_s: float = math.inf
    drift: float = 0.0
    drift_every_s: float = 10.0
    mtbf_s: float = math.inf
    mttr_s: float = 60.0
    foreign: float = 0.0
    foreign_s: float = 60.0
    every_s: float = 0.0
    costs: Costs = ON_RAY
    horizon_s: float = 3600.0
    told: tuple[Fault, ...] = ()
    source: str = ""

    def world(self, seed: int) -> World:
        """Return the world of a seed: its arrivals, its drift, its faults, and who else uses the machines."""
        jobs = repeated(self.jobs, self.copies)
        if self.per_hour < math.inf:
            jobs = poisson(jobs, self.per_hour, seed)
        elif self.burst:
            jobs = bursts(jobs, self.burst, self.burst_every_s)
        return World(
            self.fleet,
            Workload(jobs),
            self._faults(seed),
            seed=seed,
            costs=self.costs,
            every_s=self.every_s,
            patience_s=self.patience_s,
            foreign=sharing(self.fleet.machines, self.foreign, self.foreign_s, self.horizon_s, seed),
        )

    def _faults(self, seed: int) -> tuple[Fault, ...]:
        names = [machine.id for machine in self.fleet.machines]
        found = self.told
        if self.drift:
            found += drifting(names, self.drift, self.drift_every_s, self.horizon_s, seed)
        if self.mtbf_s < math.inf:
            found += failing(names, self.mtbf_s, self.mttr_s, self.horizon_s, seed)
        return found


def facts(scenario: Scenario) -> dict[str, Fact]:
    """Return all that the runs of a scenario depend on, beside policy and seed; long lists as a digest."""
    machines = [asdict(machine) for machine in scenario.fleet.machines]
    told = [asdict(fault) for fault in scenario.told]
    jobs = [line_of(job).model_dump(exclude_defaults=True) for job in scenario.jobs]
    lists = {"jobs": jobs, "machines": machines, "faults": told}
    numbers = {name: value for name, value in vars(scenario).items() if isinstance(value, int | float)}
    return (
        {name: f"{len(one)}, sha256 {digest(one)}" for name, one in lists.items()}
        | {name: _plain(value) for name, value in numbers.items()}
        | {f"costs.{name}": _plain(value) for name, value in asdict(scenario.costs).items()}
    )


def _plain(value: float) -> Fact:
    """Return a number as JSON has it, which knows no infinity."""
    return value if math.isfinite(value) else str(value)
