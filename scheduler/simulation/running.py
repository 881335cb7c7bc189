"""What a job of either model is to the simulator: it has workers for a while, and says when something happens next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from policies.interface import Floats
from scheduler.results.outcome import Interval, RoundOutcome
from scheduler.simulation.fleet import Machine
from scheduler.simulation.speeds import Steps


@dataclass(frozen=True)
class Seat:
    """A worker's place: on which machine, how fast that is over time, and from when on it can compute."""

    worker: int
    machine: Machine
    speed: Steps
    bandwidth: Steps
    ready_s: float


class Running(ABC):
    """A job's progress. It knows no cluster: it is told its seats, and answers with the time of its next event.

    Attributes
    ----------
    intervals, rounds
        What its workers did, and the rounds that were committed, since the simulator last took them.
    """

    def __init__(self) -> None:
        self.intervals: list[Interval] = []
        self.rounds: list[RoundOutcome] = []

    @abstractmethod
    def done_by(self, now_s: float) -> float:
        """Return the work that cannot be lost any more, in the unit of the job; no event lies before ``now_s``."""

    @property
    @abstractmethod
    def is_done(self) -> bool:
        """Whether there is nothing left to do."""

    @property
    def rates(self) -> Mapping[str, Floats] | None:
        """The rates from now on, where they are others than before."""
        return None

    @abstractmethod
    def seat(self, now_s: float, seats: tuple[Seat, ...]) -> None:
        """Go on with just these workers; without any the job rests."""

    @abstractmethod
    def next_s(self) -> float:
        """Return when something happens next; infinite if nothing does."""

    @abstractmethod
    def happen(self, now_s: float) -> None:
        """Let what is due at ``now_s`` happen."""
