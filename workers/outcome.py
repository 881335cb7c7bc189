"""What training begins from, what its rounds tell, and what it brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workers.architectures.base import Arrays
from workers.data.rows import Floats


@dataclass(frozen=True)
class RoundReport:
    """What a finished round tells: its stage, its number in that stage, and what it measured."""

    stage: str
    round: int
    loss: float | None
    gradient_norm: float | None = None
    validation: tuple[float, float] | None = None


@dataclass(frozen=True)
class Outcome:
    """What was learnt.

    Attributes
    ----------
    arrays
        The parameters by name, for raw columns.
    metric, optimum
        Means over (training rows, test rows); ``optimum`` is that of the exact solution where there is one.
    converged, reason
        Whether training stopped by itself, and why it stopped.
    """

    arrays: Mapping[str, Floats]
    rounds: int
    loss: float | None
    learning_rate: float | None
    metric: tuple[float, float]
    optimum: tuple[float, float] | None
    converged: bool
    reason: str

    @property
    def weights(self) -> Floats:
        """A linear model's weights on raw columns, shape ``(features, outputs)``."""
        return self.arrays["weights"]

    @property
    def intercepts(self) -> Floats:
        """A linear model's intercepts, shape ``(outputs,)``."""
        return self.arrays["intercepts"]


@dataclass(frozen=True)
class WarmStart:
    """Where the solver begins: named arrays for raw columns, and the number of the first round.

    The round is part of the key of the shards' random streams, and of the learning rate's schedule.
    """

    arrays: Arrays
    round: int = 0
