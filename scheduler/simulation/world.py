"""Everything that a simulation depends on, but the policy. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf

from policies.interface import Tenant
from scheduler.simulation.faults import Fault, FaultKind, ForeignLoad
from scheduler.simulation.fleet import Fleet, Machine
from scheduler.simulation.speeds import Steps
from scheduler.simulation.workload import Workload


@dataclass(frozen=True)
class Costs:
    """What everything but the learning itself takes, in seconds and seconds per byte.

    Attributes
    ----------
    start_s, start_work_s
        From a grant until its worker computes, again for a worker that moves: on any machine, and what it computes for
        it, on a machine of speed 1.
    call_s
        Of a call, beside what its shards take: sending it, and taking its answer.
    round_s
        Of the parameter server, once a round.
    server_s_per_byte
        Of the parameter server, for taking in an update; several servers share it.
    end_s
        Of the driver, from a job's last round until its model is there and its workers are let go.
    release_s
        From a job's end until what it held may be granted again.
    num_servers
        How many parameter servers a job has.
    """

    start_s: float = 0.0
    start_work_s: float = 0.0
    call_s: float = 0.0
    round_s: float = 0.0
    server_s_per_byte: float = 0.0
    end_s: float = 0.0
    release_s: float = 0.0
    num_servers: int = 1


@dataclass(frozen=True)
class World:
    """A fleet, the jobs that come, and what goes wrong.

    Attributes
    ----------
    foreign
        What others want of the machines.
    seed
        Breaks the policy's ties.
    every_s
        The policy is asked at multiples of this; 0: after every event that may change its answer.
    patience_s
        How long a job waits for its first workers before it goes away; 0: it goes if it is not placed at once.
    until_s
        When the simulation ends, whatever is left.
    tenants
        Who shares the machines.
    """

    fleet: Fleet
    workload: Workload
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    costs: Costs = field(default_factory=Costs)
    every_s: float = 0.0
    patience_s: float = inf
    until_s: float = inf
    foreign: tuple[ForeignLoad, ...] = ()
    tenants: tuple[Tenant, ...] = ()

    @cached_property
    def machines(self) -> Mapping[str, Machine]:
        """The machines by their ids."""
        return {machine.id: machine for machine in self.fleet.machines}

    def speed(self, machine: Machine) -> Steps:
        """Return how fast a machine is over time."""
        return Steps.of(machine.speed, self._factors.get((machine.id, FaultKind.SPEED), ()))

    def bandwidth(self, machine: Machine) -> Steps:
        """Return which part of its bandwidth a machine has over time."""
        return Steps.of(1.0, self._factors.get((machine.id, FaultKind.BANDWIDTH), ()))

    @cached_property
    def _factors(self) -> Mapping[tuple[str, FaultKind], list[tuple[float, float]]]:
        found: dict[tuple[str, FaultKind], list[tuple[float, float]]] = {}
        for fault in self.faults:
            found.setdefault((fault.machine, fault.kind), []).append((fault.at_s, fault.factor))
        return found
