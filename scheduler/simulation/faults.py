"""Faults of a simulated cluster: what happens to which machine, and when. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What can happen to a machine."""

    LEAVE = "leave"
    JOIN = "join"
    SPEED = "speed"
    BANDWIDTH = "bandwidth"


@dataclass(frozen=True)
class Fault:
    """An event that the scheduler did not ask for.

    Attributes
    ----------
    factor
        For ``SPEED`` and ``BANDWIDTH``: the machine has this part of its own from now on; more than 0.
    """

    at_s: float
    machine: str
    kind: FaultKind
    factor: float = 1.0
