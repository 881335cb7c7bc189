"""When the solver's updates are applied: all of a round together, or each as it comes.

A synchronous job has the same bits however it is allocated. The other modes give that up for speed, each says what it
gives up and what it guarantees, and the record of a run (``workers.record``) replays to its bits.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Mode(ABC):
    """Who may go on when, and how far an update steps.

    Attributes
    ----------
    name
        What a job file calls it.
    source
        Where it comes from.
    is_synchronous
        Whether rounds are exact sums over all shards.
    commits_rounds
        Whether a round is one update, of which the calls of all but a few workers are a part.
    takes_server
        Whether server optimisers make sense: they step once a round, and not once a call.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    is_synchronous: ClassVar[bool] = False
    commits_rounds: ClassVar[bool] = False
    takes_server: ClassVar[bool] = False

    @property
    def bound(self) -> int | None:
        """By how many clocks the worker of an update may be behind another; None where there is no bound."""
        return None

    def may_go_on(self, ahead: int) -> bool:
        """Say whether a worker may begin a call that is ``ahead`` clocks ahead of the slowest worker."""
        del ahead
        return True

    def num_awaited(self, num_workers: int) -> int:
        """Return how many calls make an update, where so many workers have shards."""
        del num_workers
        return 1

    def pace(self, part: float, staleness: int) -> float:
        """Return how long a step is, where a round's is 1.

        Parameters
        ----------
        part
            The share of the job's weight that the update covers.
        staleness
            Updates that were applied since its parameters were read.
        """
        del staleness
        return part


@dataclass(frozen=True)
class Synchronous(Mode):
    """Commits a round once the calls over all shards are in (BSP): nothing is given up."""

    name = "synchronous"
    source = "Valiant, A bridging model for parallel computation (CACM 1990)"
    is_synchronous = True
    commits_rounds = True
    takes_server = True

    @property
    def bound(self) -> int | None:
        """Nobody is behind."""
        return 0


@dataclass(frozen=True)
class Asp(Mode):
    """Applies every update when it comes, and nobody waits (asynchronous parallel).

    Gives up any bound of the staleness: what a slow worker computed may be of parameters that are long gone. An update
    that is ``staleness`` versions late steps ``1 / (1 + damping * staleness)`` times as far. Zhang et al. divide the
    whole step of a batch by its staleness (``damping`` 1). Here a call steps its share of a round already, so among
    equal workers that would divide twice; by default all step alike, as in Hogwild.
    """

    damping: float = 0.0

    name = "asp"
    source = (
        "Recht, Re, Wright, Niu, Hogwild (NIPS 2011); Zhang, Gupta, Lian, Liu, Staleness-Aware Async-SGD (IJCAI 2016)"
    )

    def __post_init__(self) -> None:
        if not self.damping >= 0.0:
            raise ValueError(f"damping must be at least 0, got {self.damping}")

    def pace(self, part: float, staleness: int) -> float:
        """Return the part, damped by the staleness."""
        return part / (1.0 + self.damping * staleness)


@dataclass(frozen=True)
class Ssp(Asp):
    """Applies every update when it comes, and lets no worker run far ahead of another (stale synchronous parallel).

    A worker counts its calls: that is its clock. It waits while its clock is more than ``staleness`` ahead of the
    slowest worker's, so no update is ever computed by a worker that is more than ``staleness`` clocks behind another.
    Among w workers at most ``(2 * staleness + 1) * (w - 1)`` updates are applied between reading and applying.
    """

    staleness: int = 3

    name = "ssp"
    source = "Ho et al., More Effective Distributed ML via a Stale Synchronous Parallel Parameter Server (NIPS 2013)"

    def __post_init__(self) -> None:
        super().__post_init__()
        _whole("staleness", self.staleness)

    @property
    def bound(self) -> int | None:
        """The staleness."""
        return self.staleness

    def may_go_on(self, ahead: int) -> bool:
        """Let nobody begin further ahead."""
        return ahead <= self.staleness


@dataclass(frozen=True)
class Backup(Mode):
    """Commits a round once all but ``drop`` workers are in, and drops what comes late (backup workers).

    Every update is of the newest parameters. Given up are the rows of those who were late: slow nodes have less say in
    the model, those that are always late none.
    """

    drop: int = 1

    name = "backup"
    source = "Chen, Pan, Monga, Bengio, Jozefowicz, Revisiting Distributed Synchronous SGD (ICLR workshop 2016)"
    commits_rounds = True
    takes_server = True

    def __post_init__(self) -> None:
        _whole("drop", self.drop)

    @property
    def bound(self) -> int | None:
        """Nobody is behind."""
        return 0

    def num_awaited(self, num_workers: int) -> int:
        """All but ``drop``, and at least one."""
        return max(1, num_workers - self.drop)

    def pace(self, part: float, staleness: int) -> float:
        """Return 1: a whole step along the mean over those who are in."""
        del part, staleness
        return 1.0


SYNCHRONOUS = Synchronous()

MODES: dict[str, type[Mode]] = {kind.name: kind for kind in (Synchronous, Asp, Ssp, Backup)}
"""Every mode by the name that a job file gives it."""


def mode_named(name: str, options: Mapping[str, Any]) -> Mode:
    """Return the mode called ``name``; raises ``TypeError`` or ``ValueError`` for options that it has not."""
    return MODES[name](**options)


def _whole(name: str, value: float) -> None:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} must be a whole number of at least 0, got {value}")
