"""Faults of a simulated cluster: what happens to which machine, and when. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
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


def drifting(machines: Sequence[str], sigma: float, every_s: float, until_s: float, seed: int) -> tuple[Fault, ...]:
    """Let the speed of every machine wander: each ``every_s`` it has another factor, log-normal around 1.

    A machine's factors depend on the seed and on its name, not on who else is there.
    """
    found = []
    for name in machines:
        draw = random.Random(f"{seed}/drift/{name}")  # noqa: S311
        moments = range(int(until_s // every_s))
        found += [
            Fault(number * every_s, name, FaultKind.SPEED, math.exp(draw.gauss(0.0, sigma))) for number in moments
        ]
    return tuple(found)


def failing(machines: Sequence[str], mtbf_s: float, mttr_s: float, until_s: float, seed: int) -> tuple[Fault, ...]:
    """Let every machine leave after a time that is exponential with mean ``mtbf_s``, and join again after ``mttr_s``.

    The time until it is back is exponential, too; both go on until ``until_s``.
    """
    found = []
    for name in machines:
        draw = random.Random(f"{seed}/failures/{name}")  # noqa: S311
        at_s = draw.expovariate(1 / mtbf_s)
        while at_s < until_s:
            back_s = at_s + draw.expovariate(1 / mttr_s)
            found += [Fault(at_s, name, FaultKind.LEAVE), Fault(back_s, name, FaultKind.JOIN)]
            at_s = back_s + draw.expovariate(1 / mtbf_s)
    return tuple(found)
