"""What the server makes of the workers' averaged change of the parameters.

Source of the scheme: Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, Adaptive Federated
Optimization (ICLR 2021): the averaged change takes the place of a (negative) gradient step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from workers.data.rows import Floats

Memory = Mapping[str, Floats]


@dataclass(frozen=True)
class ServerOptimiser(ABC):
    """Turns the averaged ``change`` into a step; whatever it remembers travels in ``memory``.

    Attributes
    ----------
    name
        What a job file calls it.
    source
        Where it comes from.
    """

    name: ClassVar[str]
    source: ClassVar[str]

    @abstractmethod
    def step(self, memory: Memory, change: Floats) -> tuple[Floats, dict[str, Floats]]:
        """Return the step to add to the parameters, and the new memory (empty at first)."""


@dataclass(frozen=True)
class Average(ServerOptimiser):
    """Adds the averaged change as it is."""

    name = "average"
    source = "McMahan, Moore, Ramage, Hampson, Arcas, Communication-Efficient Learning (AISTATS 2017)"

    def step(self, memory: Memory, change: Floats) -> tuple[Floats, dict[str, Floats]]:
        """Return the change."""
        del memory
        return change, {}


@dataclass(frozen=True)
class Momentum(ServerOptimiser):
    """Adds a velocity that remembers ``momentum`` of itself, times ``rate``: the heavy ball."""

    momentum: float = 0.9
    rate: float = 1.0

    name = "momentum"
    source = "Polyak, Some methods of speeding up the convergence of iteration methods (1964)"

    def __post_init__(self) -> None:
        _within("momentum", self.momentum)
        _positive("rate", self.rate)

    def step(self, memory: Memory, change: Floats) -> tuple[Floats, dict[str, Floats]]:
        """Return the velocity."""
        velocity = self._velocity(memory, change)
        return self.rate * velocity, {"velocity": velocity}

    def _velocity(self, memory: Memory, change: Floats) -> Floats:
        return self.momentum * memory.get("velocity", np.zeros_like(change)) + change


@dataclass(frozen=True)
class Nesterov(Momentum):
    """Adds the velocity that the next step would have: momentum that looks ahead."""

    name = "nesterov"
    source = "Nesterov, A method of solving a convex programming problem with convergence rate O(1/k**2) (1983)"

    def step(self, memory: Memory, change: Floats) -> tuple[Floats, dict[str, Floats]]:
        """Return the change, and ``momentum`` of the new velocity."""
        velocity = self._velocity(memory, change)
        return self.rate * (change + self.momentum * velocity), {"velocity": velocity}


@dataclass(frozen=True)
class Adagrad(ServerOptimiser):
    """Divides the change by the root of the sum of all its squares so far.

    ``rate`` is the size of a first step in a parameter; ``floor`` keeps small changes small.
    """

    rate: float = 0.1
    floor: float = 1e-6

    name = "adagrad"
    source = "Duchi, Hazan, Singer, Adaptive Subgradient Methods for Online Learning (JMLR 2011)"

    def __post_init__(self) -> None:
        _positive("rate", self.rate)
        _positive("floor", self.floor)

    def step(self, memory: Memory, change: Floats) -> tuple[Floats, dict[str, Floats]]:
        """Return the scaled change."""
        squares = memory.get("squares", np.zeros_like(change)) + change * change
        return self.rate * change / (np.sqrt(squares) + self.floor), {"squares": squares}


@dataclass(frozen=True)
class Adam(Adagrad):
    """Divides a running mean of the change by the root of a running mean of its squares, both without bias."""

    first: float = 0.9
    second: float = 0.999

    name = "adam"
    source = "Kingma, Ba, Adam: A Method for Stochastic Optimization (ICLR 2015)"

    def __post_init__(self) -> None:
        super().__post_init__()
        _within("first", self.first)
        _within("second", self.second)

    def step(self, memory: Memory, change: Floats) -> tuple[Floats, dict[str, Floats]]:
        """Return the scaled mean."""
        zero = np.zeros_like(change)
        count = memory.get("count", np.zeros(1)) + 1.0
        mean = self.first * memory.get("mean", zero) + (1.0 - self.first) * change
        squares = self._squares(memory.get("squares", zero), change)
        unbiased = mean / (1.0 - _power(self.first, count))
        root = np.sqrt(squares / (1.0 - _power(self.second, count)))
        return self.rate * unbiased / (root + self.floor), {"mean": mean, "squares": squares, "count": count}

    def _squares(self, squares: Floats, change: Floats) -> Floats:
        return self.second * squares + (1.0 - self.second) * change * change


@dataclass(frozen=True)
class Yogi(Adam):
    """Adam whose mean of squares moves by a bounded amount, so that it cannot forget at once."""

    name = "yogi"
    source = "Zaheer, Reddi, Sachan, Kale, Kumar, Adaptive Methods for Nonconvex Optimization (NeurIPS 2018)"

    def _squares(self, squares: Floats, change: Floats) -> Floats:
        square = change * change
        moved: Floats = squares - (1.0 - self.second) * square * np.sign(squares - square)
        return moved


AVERAGE = Average()

SERVER_OPTIMISERS: dict[str, type[ServerOptimiser]] = {
    optimiser.name: optimiser for optimiser in (Average, Momentum, Nesterov, Adagrad, Adam, Yogi)
}
"""Every server optimiser by the name that a job file gives it."""


def server_optimiser(name: str, options: Mapping[str, Any]) -> ServerOptimiser:
    """Return the optimiser called ``name``; raises ``TypeError`` or ``ValueError`` for options that it has not."""
    return SERVER_OPTIMISERS[name](**options)


def _power(base: float, count: Floats) -> float:
    """Return ``base**count`` by multiplications alone: NumPy's power is not the same on all processors."""
    result = 1.0
    for _ in range(min(int(count[0]), 100_000)):
        result *= base
        if result < 1e-300:
            return 0.0
    return result


def _within(name: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be at least 0 and less than 1, got {value}")


def _positive(name: str, value: float) -> None:
    if not value > 0.0:
        raise ValueError(f"{name} must be greater than 0, got {value}")
