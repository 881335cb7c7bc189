"""What a trace may hold. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.simulation.faults import Fault
from scheduler.simulation.fleet import Fleet
from scheduler.simulation.workload import Workload


@dataclass(frozen=True)
class Trace:
    """Jobs and, where the trace tells it, the machines that they ran on (else None) and what happened to those."""

    workload: Workload
    fleet: Fleet | None = None
    faults: tuple[Fault, ...] = ()
