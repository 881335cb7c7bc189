"""What a peer is: it trains the same model on the same rows, and says after how many seconds it was where."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.problems import LearningProblem
from benchmarks.reference import Reference

Settings = Mapping[str, Any]

ESCALATION = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Iterations of solvers that cannot be stopped in between: every entry is a fit of its own, from zero."""


@dataclass(frozen=True)
class Point:
    """Where a peer was after training for ``seconds``.

    Attributes
    ----------
    epochs
        What it counts: passes over the rows, rounds or iterations.
    parameters
        The weights, then the intercept, shape ``(features + 1,)``; None where ``objective`` is given.
    objective
        The training objective as the program itself measured it.
    """

    seconds: float
    epochs: int
    parameters: NDArray[Any] | None = None
    objective: float | None = None


Points = Generator[Point, None, None]


@dataclass(frozen=True)
class Limits:
    """When to give up: whichever comes first."""

    epochs: int
    seconds: float

    def reached(self, point: Point) -> bool:
        """Say whether ``point`` lies at or beyond the limits."""
        return point.epochs >= self.epochs or point.seconds >= self.seconds


@dataclass(frozen=True)
class Goal:
    """The optimum of the training objective, and how close to it is close enough."""

    reference: Reference
    optimum: float
    gap: float

    @property
    def value(self) -> float:
        """The objective at the gap."""
        return self.optimum * (1.0 + self.gap)

    def gap_of(self, point: Point) -> float:
        """Return the relative gap of ``point``; infinity where the numbers are none."""
        value = point.objective
        if value is None:
            if point.parameters is None or not np.isfinite(point.parameters).all():
                return float("inf")
            value = self.reference.value(point.parameters.astype(np.float64))
        gap = (value - self.optimum) / abs(self.optimum)
        return gap if np.isfinite(gap) else float("inf")


class Peer(ABC):
    """One way of training.

    Attributes
    ----------
    name, epoch
        How it is called, and what it calls an epoch.
    timed
        What its seconds cover.
    library
        A module that it needs beyond the project's own dependencies; in the extra ``bench``.
    needs_ray
        Whether Ray must be running; the harness starts it once, untimed.
    """

    name: str
    epoch: ClassVar[str] = "pass"
    timed: ClassVar[str]
    library: ClassVar[str | None] = None
    needs_ray: ClassVar[bool] = False

    def unavailable(self, problem: LearningProblem) -> str | None:
        """Say why this peer cannot take part, or None."""
        del problem
        if self.library is not None and importlib.util.find_spec(self.library) is None:
            return f"{self.library} is not installed: pip install 'apportion[bench]'"
        return None

    def tuner(self) -> Peer:
        """Return the peer whose settings this one takes: itself, or one that takes the same steps faster."""
        return self

    def tune(self, problem: LearningProblem, goal: Goal, limits: Limits) -> Settings:
        """Choose settings; never timed."""
        del problem, goal, limits
        return {}

    @abstractmethod
    def points(self, problem: LearningProblem, settings: Settings, goal: Goal, limits: Limits) -> Points:
        """Train from zero with the rows in memory already, and yield where it is after every epoch, in order.

        Whoever takes the points stops at the goal or at the limits; ``goal`` is for those who must stop themselves.
        """


def follow(
    peer: Peer, problem: LearningProblem, settings: Settings, goal: Goal, limits: Limits
) -> list[tuple[Point, float]]:
    """Return points and their gaps, to the first that is close enough or at the limits."""
    followed = []
    with closing(peer.points(problem, settings, goal, limits)) as points:
        for point in points:
            gap = goal.gap_of(point)
            followed.append((point, gap))
            if gap <= goal.gap or limits.reached(point) or not np.isfinite(gap):
                break
    return followed


def fastest(
    peer: Peer, problem: LearningProblem, candidates: Iterable[Settings], goal: Goal, limits: Limits
) -> Settings:
    """Return the candidate that needs the fewest epochs to the goal; of those that need as many, the closest."""
    best: tuple[int, float] = (limits.epochs + 1, float("inf"))
    choice: Settings | None = None
    for candidate in candidates:
        least = Limits(min(best[0], limits.epochs), limits.seconds)
        point, gap = follow(peer, problem, candidate, goal, least)[-1]
        rank = (point.epochs if gap <= goal.gap else limits.epochs + 1, gap)
        if choice is None or rank < best:
            best, choice = rank, candidate
    if choice is None:
        raise ValueError("no candidates")
    return choice
