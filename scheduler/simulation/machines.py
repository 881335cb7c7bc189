"""The machines of a simulation: who is there, how fast each is, and where workers sit. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from policies.interface import Grant
from scheduler.results.outcome import Interval
from scheduler.simulation.cluster import SimulatedCluster
from scheduler.simulation.faults import Fault, FaultKind
from scheduler.simulation.recorder import dead
from scheduler.simulation.running import Seat
from scheduler.simulation.speeds import Steps
from scheduler.simulation.world import World


class Machines:
    """Lets machines come and go on the cluster, and writes down when.

    Attributes
    ----------
    faults
        What happened, in words, by time.
    """

    def __init__(self, world: World, cluster: SimulatedCluster) -> None:
        self._world, self._cluster = world, cluster
        self._steps: dict[str, tuple[Steps, Steps]] = {}
        self._down_since_s = {machine.id: 0.0 for machine in world.fleet.machines if machine.joins_s > 0}
        self._dead: list[Interval] = []
        self.faults: list[tuple[float, str]] = []

    def due(self) -> Iterator[Fault]:
        """Return the faults that happen at a moment; changes of speed are in ``Seat.speed`` from the start."""
        for machine in self._world.fleet.machines:
            if machine.joins_s > 0:
                yield Fault(machine.joins_s, machine.id, FaultKind.JOIN)
        for fault in self._world.faults:
            if fault.kind in (FaultKind.LEAVE, FaultKind.JOIN):
                yield fault

    def happen(self, fault: Fault, now_s: float) -> bool:
        """Let a machine leave or join; say whether that changed anything."""
        name, joins = fault.machine, fault.kind is FaultKind.JOIN
        if self._cluster.is_up(name) is joins:
            return False
        self._cluster.set_up(name, up=joins)
        if joins:
            self._dead.append(dead(name, self._down_since_s.pop(name), now_s))
        else:
            self._down_since_s[name] = now_s
        self.faults.append((now_s, f"{name}: {fault.kind.value}"))
        return True

    def seat(self, lease: Grant, before: Seat | None, now_s: float) -> Seat:
        """Return a worker's seat; who stays where it was need not start again."""
        if before is not None and before.machine.id == lease.node:
            return before
        machine = self._world.machines[lease.node]
        if machine.id not in self._steps:
            self._steps[machine.id] = (self._world.speed(machine), self._world.bandwidth(machine))
        return Seat(lease.worker, machine, *self._steps[machine.id], now_s + self._world.costs.start_s)

    def dead(self, ended_s: float) -> list[Interval]:
        """Return when which machine was not there, in a run that ended at ``ended_s``."""
        still = [dead(name, from_s, ended_s) for name, from_s in self._down_since_s.items() if from_s < ended_s]
        return self._dead + still
