"""The machines of a simulation: who is there, what others use of them, and where workers sit. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from policies.interface import Grant
from scheduler.results.outcome import Interval
from scheduler.simulation.cluster import SimulatedCluster
from scheduler.simulation.faults import Fault, FaultKind
from scheduler.simulation.recorder import dead
from scheduler.simulation.running import Seat
from scheduler.simulation.speeds import Steps
from scheduler.simulation.world import World


class Visit(NamedTuple):
    """Others come, or go: the number of their load among those of the world, and its machine."""

    number: int
    machine: str


class Machines:
    """Lets machines come and go on the cluster, and others use them, and writes down when.

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
        self._waiting: dict[str, list[int]] = {}  # on each machine, loads by their numbers in the world
        self._visiting: dict[int, tuple[int, ...]] = {}  # which GPUs those have that have what they want
        self.faults: list[tuple[float, str]] = []

    def due(self) -> Iterator[tuple[float, Fault | Visit]]:
        """Return what happens at which moment; changes of speed are in ``Seat.speed`` from the start."""
        for machine in self._world.fleet.machines:
            if machine.joins_s > 0:
                yield machine.joins_s, Fault(machine.joins_s, machine.id, FaultKind.JOIN)
        for fault in self._world.faults:
            if fault.kind in (FaultKind.LEAVE, FaultKind.JOIN):
                yield fault.at_s, fault
        for number, load in enumerate(self._world.foreign):
            yield load.from_s, Visit(number, load.machine)
            yield load.until_s, Visit(number, load.machine)

    def happen(self, what: Fault | Visit, now_s: float) -> bool:
        """Let it happen to its machine; say whether a policy may have more, or other, machines now."""
        return self._visit(what.number, now_s) if isinstance(what, Visit) else self._fail(what, now_s)

    def _fail(self, fault: Fault, now_s: float) -> bool:
        """Let a machine leave or join."""
        name, joins = fault.machine, fault.kind is FaultKind.JOIN
        if self._cluster.is_up(name) is joins:
            return False
        if joins:
            since_s = self._down_since_s.pop(name)
            if since_s < now_s:
                self._dead.append(dead(name, since_s, now_s))
        else:
            self._down_since_s[name] = now_s
            for number in [number for number in self._visiting if self._world.foreign[number].machine == name]:
                self._go(number, "lose", now_s)
        self._cluster.set_up(name, up=joins)
        self.faults.append((now_s, f"{name}: {fault.kind.value}"))
        return True

    def _visit(self, number: int, now_s: float) -> bool:
        """Let others come, or go whether or not they ever had what they wanted."""
        load = self._world.foreign[number]
        waiting = self._waiting.setdefault(load.machine, [])
        if now_s < load.until_s:
            waiting.append(number)
            self._let_in(waiting, now_s)
            return False
        if number in waiting:
            waiting.remove(number)
        return number in self._visiting and self._go(number, "give back", now_s)

    def let_others_in(self, now_s: float) -> None:
        """Give what has come free to the others that wait for it."""
        for machine in sorted(self._cluster.freed):
            self._let_in(self._waiting.get(machine, []), now_s)
        self._cluster.freed.clear()

    def _let_in(self, waiting: list[int], now_s: float) -> None:
        """Let in who fits, first come, first served; a load that does not fit holds up nobody."""
        for number in tuple(waiting):
            load = self._world.foreign[number]
            devices = self._cluster.lend(load.amount, load.machine)
            if devices is not None:
                waiting.remove(number)
                self._visiting[number] = devices
                self.faults.append((now_s, load.words("take")))

    def _go(self, number: int, what: str, now_s: float) -> bool:
        load = self._world.foreign[number]
        self._cluster.take_back(load.amount, load.machine, self._visiting.pop(number))
        self.faults.append((now_s, load.words(what)))
        return True

    def seat(self, lease: Grant, before: Seat | None, now_s: float) -> Seat:
        """Return a worker's seat; who stays where it was need not start again."""
        if before is not None and before.machine.id == lease.node:
            return before
        machine = self._world.machines[lease.node]
        if machine.id not in self._steps:
            self._steps[machine.id] = (self._world.speed(machine), self._world.bandwidth(machine))
        (speed, bandwidth), costs = self._steps[machine.id], self._world.costs
        ready_s = speed.until_done_s(now_s + costs.start_s, costs.start_work_s)
        return Seat(lease.worker, machine, speed, bandwidth, ready_s)

    def dead(self, ended_s: float) -> list[Interval]:
        """Return when which machine was not there, in a run that ended at ``ended_s``."""
        still = [dead(name, from_s, ended_s) for name, from_s in self._down_since_s.items() if from_s < ended_s]
        return self._dead + still
