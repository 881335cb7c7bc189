"""The interface of a solver: three pure parts, and a state that holds all it knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from workers.data.rows import Floats
from workers.data.shard import Shard
from workers.exact_sum import Ints
from workers.problem import Problem

Payload = Mapping[str, Floats]


@dataclass(frozen=True)
class State:
    """What a solver knows after ``round`` rounds.

    Attributes
    ----------
    parameters
        The flat buffer, on standardised columns.
    loss
        The training objective that the last round measured (penalty included), None if it measured none.
    gradient_norm
        The Euclidean norm of the objective's gradient that the last round measured, None if it measured none.
    memory
        Further arrays that the solver carries.
    solved
        Why there is nothing left to do; empty while there is.
    """

    parameters: Floats
    round: int = 0
    loss: float | None = None
    gradient_norm: float | None = None
    memory: Mapping[str, Floats] = field(default_factory=dict)
    solved: str = ""


def generator(problem: Problem, round_: int, shard: int) -> np.random.Generator:
    """Return the random stream that belongs to (seed, round, shard), whoever computes it."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((problem.seed, round_, shard))))


class Solver(ABC):
    """``broadcast`` says what workers must know, ``contribute`` is a shard's share, ``combine`` adds up.

    ``contribute`` is a pure function of its arguments, and its results are only ever added (exactly), so a
    round has the same outcome whoever computed which shard.

    Attributes
    ----------
    name
        What a job file calls it.
    source
        The paper or textbook that it comes from.
    stochastic
        Whether the seed changes the path.
    needs_rate
        Whether it needs a learning rate.
    batch_noise
        What batches add to the curvature that a step meets: ``spread`` (on average), ``reach`` (at worst),
        None for full gradients; decides the default learning rate.
    own_batch
        The rows of its batches where these are not the job's ``batch_size``, else None.
    rounds_per_step
        Rounds from one change of the parameters to the next.
    measures_batches
        Whether the loss of a round is that of a few rows, not of all.
    takes_layers, takes_corners, takes_lasso, takes_server, takes_robust, takes_parts
        Whether it goes together with an architecture that is not linear, a loss without second derivative, an L1
        penalty, a server optimiser, a robust aggregation, a mode in which sums over a part of the data are applied.
    own_rate
        The learning rate where the job names none, for steps whose length the curvature does not bound, else None.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    stochastic: ClassVar[bool] = False
    needs_rate: ClassVar[bool] = True
    batch_noise: ClassVar[str | None] = None
    own_batch: ClassVar[int | None] = None
    rounds_per_step: ClassVar[int] = 1
    measures_batches: ClassVar[bool] = False
    takes_layers: ClassVar[bool] = True
    takes_corners: ClassVar[bool] = True
    takes_lasso: ClassVar[bool] = True
    takes_server: ClassVar[bool] = False
    takes_robust: ClassVar[bool] = False
    takes_parts: ClassVar[bool] = False
    own_rate: ClassVar[float | None] = None

    def refuse(self, problem: Problem) -> str | None:
        """Say why this solver does not go together with the problem, or None."""
        options, name = problem.options, f"solver '{self.name}'"
        if not self.takes_layers and not problem.architecture.is_linear:
            return f"{name} is for linear models, not for '{problem.architecture.kind}': use 'sgd' or 'local-sgd'"
        if not self.takes_corners and not problem.objective.is_curved:
            return f"{name} needs a second derivative, which '{problem.objective.name}' has not: use 'sgd'"
        if not self.takes_lasso and problem.penalty.l1:
            return f"{name} cannot minimise an L1 penalty: use 'gradient-descent', 'newton' or 'local-svrg'"
        if not self.takes_server and options.server.name != "average":
            return f"{name} has no use for the server optimiser '{options.server.name}': leave it out, or use 'sgd'"
        if not self.takes_robust and options.aggregation.needs_every_update:
            return f"{name} needs the sum of all updates, not '{options.aggregation.rule}': use 'gradient-descent'"
        return None if options.mode.is_synchronous else self._refuse_parts(problem)

    def _refuse_parts(self, problem: Problem) -> str | None:
        options, name, mode = problem.options, f"solver '{self.name}'", problem.options.mode
        if not self.takes_parts:
            return (
                f"{name} needs the sums over all shards, which mode '{mode.name}' does not wait for: "
                "use 'gradient-descent', 'sgd' or 'local-sgd', or 'training.mode: synchronous'"
            )
        if options.aggregation.needs_every_update:
            return (
                f"{name} cannot take the {options.aggregation.rule} of updates that are not all there in mode "
                f"'{mode.name}': leave it out, or set 'training.mode: synchronous'"
            )
        if not mode.takes_server and options.server.name != "average":
            return (
                f"{name} steps at every call in mode '{mode.name}', and the server optimiser '{options.server.name}' "
                "is for one step a round: leave it out, or use mode 'backup'"
            )
        return None

    def start(self, problem: Problem) -> State:
        """Return the state before the first round."""
        return State(problem.start())

    def broadcast(self, problem: Problem, state: State) -> Payload:
        """Return what every worker needs to know this round."""
        del problem
        return {"parameters": state.parameters}

    @abstractmethod
    def blocks(self, problem: Problem, payload: Payload) -> tuple[Ints, int]:
        """Return where the blocks of the sums start, and the length of the sums."""

    @abstractmethod
    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return one shard's share of the sums."""

    @abstractmethod
    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Return the state after a round."""

    def apply_part(self, problem: Problem, state: State, sums: Floats, part: float, pace: float) -> State:
        """Return the state after a step along sums over a part of the data; over all of it at pace 1 as ``combine``.

        Parameters
        ----------
        part
            The share of the job's weight that the sums cover, over 0.
        pace
            How far to step, where a round steps 1.
        """
        raise NotImplementedError(f"solver '{self.name}' takes no parts")

    def result(self, problem: Problem, state: State) -> Floats:
        """Return the parameters to keep if training ends here."""
        del problem
        return state.parameters


def single_blocks(size: int) -> tuple[Ints, int]:
    """Return blocks of one value each: no two columns share a scale."""
    return np.arange(size), size


def parameter_blocks(problem: Problem, num_more: int) -> tuple[Ints, int]:
    """Return the blocks of the architecture's parameters, and ``num_more`` single values after them."""
    num = problem.num_parameters
    return np.append(problem.architecture.blocks, num + np.arange(num_more)), num + num_more


def norm(vector: Floats) -> float:
    """Return the Euclidean norm."""
    return float(np.sqrt((vector * vector).sum()))
