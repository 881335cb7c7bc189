"""Faults of a simulated cluster, and what others use of it: what happens to which machine, and when. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from policies.interface import JobView, Resources
from scheduler.simulation.fleet import Machine


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


@dataclass(frozen=True)
class ForeignLoad:
    """What others, whom this scheduler knows nothing of, want of a machine for a while.

    It is had whole or not at all, as Ray grants it: what comes free goes to those who wait for it on the machine before
    the policy is asked, the first come first, where it fits. No worker of ours gives way to it. It ends at ``until_s``
    whenever it began, and one that has not begun by then never does; if its machine leaves, it is gone.

    Attributes
    ----------
    amount
        As a worker's bundle: a part of one GPU, or a whole number of them.

    Raises
    ------
    PolicyError
        If the GPUs are neither.
    ValueError
        If it does not last.
    """

    machine: str
    amount: Resources
    from_s: float
    until_s: float

    def __post_init__(self) -> None:
        JobView(f"others on {self.machine}", self.from_s, self.amount, 1, 1)  # raises where no bundle is like that
        if not self.from_s < self.until_s:
            raise ValueError(
                f"a foreign load ends after it began, got from_s={self.from_s:g}, until_s={self.until_s:g} "
                f"on {self.machine}"
            )

    def words(self, what: str) -> str:
        """Return a line for the list of what happened."""
        amount = self.amount
        return (
            f"{self.machine}: others {what} {amount.cpu:g} CPUs, {amount.gpu:g} GPUs and {amount.memory:g} bytes "
            f"(asked for from {self.from_s:g} to {self.until_s:g} s)"
        )


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


QUARTER = 0.25
"""Which part of a machine a foreign load asks for; above one GPU, of a whole number of them."""


def sharing(
    machines: Sequence[Machine], part: float, lasts_s: float, until_s: float, seed: int
) -> tuple[ForeignLoad, ...]:
    """Let others ask for ``part`` of every machine (at least 0), on average over time, a quarter of it at a time.

    Their loads come at random and last for times that are exponential with mean ``lasts_s``; both go on until
    ``until_s``. A machine's loads depend on the seed and on its name, not on who else is there.
    """
    found = []
    for machine in machines:
        draw, whole = random.Random(f"{seed}/foreign/{machine.id}"), machine.capacity  # noqa: S311
        gpu = whole.gpu * QUARTER
        amount = Resources(
            whole.cpu * QUARTER, gpu if gpu <= 1 else math.floor(gpu), math.floor(whole.memory * QUARTER)
        )
        at_s = draw.expovariate(part / QUARTER / lasts_s) if part else math.inf
        while at_s < until_s:
            found.append(ForeignLoad(machine.id, amount, at_s, at_s + draw.expovariate(1 / lasts_s)))
            at_s += draw.expovariate(part / QUARTER / lasts_s)
    return tuple(found)
