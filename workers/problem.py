"""What is to be learnt: the job's constants, known to every worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from workers.aggregation import EXACT_SUM, Aggregation
from workers.architectures import Architecture
from workers.columns import Columns, blocks
from workers.data.rows import Floats, Matrix, Rows
from workers.exact_sum import Ints
from workers.kernels import FAST, Kernels
from workers.modes import SYNCHRONOUS, Mode
from workers.objectives.base import Objective
from workers.penalty import Penalty
from workers.server_optimisers import AVERAGE, ServerOptimiser

SCHEDULES: dict[str, Callable[[int], float]] = {
    "constant": lambda round_: 1.0,
    "inverse-sqrt": lambda round_: float(1.0 / np.sqrt(1.0 + round_)),
    "inverse": lambda round_: 1.0 / (1.0 + round_),
}
"""How the learning rate falls with the round, counted from 0."""


def batch_edges(num_rows: int, size: int) -> Ints:
    """Return where the mini-batches of a shard begin, and the end: as even as can be, of at most ``size`` rows.

    A last batch of the few rows that are left over would step as far as the others, on a gradient far noisier.
    """
    number = -(-num_rows // size)
    return np.arange(number + 1) * num_rows // max(number, 1)


@dataclass(frozen=True)
class SolverOptions:
    """How the solver is to go about it.

    Attributes
    ----------
    batch_size
        Rows of a mini-batch, at most.
    local_epochs
        Passes over a shard in one round.
    learning_rate
        Step size on standardised columns; None until it is resolved (``auto``).
    rate_divisor
        What the learning rate is divided by: for layers, the square of the target's unit.
    schedule
        How the rate falls with the round: a name in ``SCHEDULES``.
    server
        What the server makes of the averaged change.
    aggregation
        How the shards' updates become one: their exact sum, or a robust mean.
    mode
        When updates are applied.
    local_steps
        Steps on a shard in one round, for solvers that do not count epochs.
    """

    batch_size: int = 32
    local_epochs: int = 1
    learning_rate: float | None = None
    schedule: str = "constant"
    server: ServerOptimiser = AVERAGE
    aggregation: Aggregation = EXACT_SUM
    rate_divisor: float = 1.0
    mode: Mode = SYNCHRONOUS
    local_steps: int = 20

    def rate(self, round_: int) -> float:
        """Return the learning rate of a round, counted from 0."""
        if self.learning_rate is None:
            raise ValueError("the learning rate is not resolved yet")
        return self.learning_rate / self.rate_divisor * SCHEDULES[self.schedule](round_)


@dataclass(frozen=True, eq=False)
class Problem:
    """A regularised model to be fitted: the weighted mean of ``objective`` over the rows, plus ``penalty``.

    The parameters are one flat float64 buffer for *standardised* columns. The penalty is on these, so it does not
    depend on the columns' units.

    Attributes
    ----------
    num_rows, num_shards
        Training rows and shards of the whole job.
    total_weight
        The sum of the training rows' weights: ``num_rows`` where they have none, None until it is known.
    columns
        Zero and unit of every column; as they are until the moments are known.
    monitored
        Whether every round of the solver also measures the validation rows.
    """

    objective: Objective
    architecture: Architecture
    num_rows: int
    num_shards: int
    seed: int
    columns: Columns
    options: SolverOptions = field(default_factory=SolverOptions)
    penalty: Penalty = field(default_factory=Penalty)
    kernels: Kernels = FAST
    total_weight: float | None = None
    monitored: bool = False
    candidates: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def num_features(self) -> int:
        """Columns of a row."""
        return self.architecture.num_features

    @property
    def num_outputs(self) -> int:
        """Margins of a row."""
        return self.architecture.num_outputs

    @property
    def intercept(self) -> bool:
        """Whether there is an intercept, and so columns are centred."""
        return self.architecture.intercept

    @property
    def num_parameters(self) -> int:
        """Length of the flat parameter buffer."""
        return self.architecture.num_parameters

    @property
    def weight(self) -> float:
        """The sum of the training rows' weights."""
        if self.total_weight is None:
            raise ValueError("the total weight is not known yet")
        return self.total_weight

    @property
    def mean_weight(self) -> float:
        """What a row counts on average: sums over a batch are divided by this and by its rows."""
        return self.weight / self.num_rows

    @property
    def smallest_batch(self) -> int:
        """Rows of the smallest mini-batch: shards differ by one row, and are cut into batches of even size."""
        lengths = {max(1, self.num_rows // self.num_shards), -(-self.num_rows // self.num_shards)}
        return min(int(np.diff(batch_edges(rows, self.options.batch_size)).min()) for rows in lengths)

    def start(self) -> Floats:
        """Return the initial parameters."""
        return self.architecture.start(np.random.default_rng((self.seed, 1)))

    def margins(self, parameters: Floats, X: Matrix) -> Floats:
        """Return the margins ``(rows, num_outputs)`` for raw rows ``(rows, num_features)``."""
        return self.architecture.forward(parameters, X, self.columns, self.kernels)[0]

    def loss_sum(self, parameters: Floats, rows: Rows) -> float:
        """Return the sum of the rows' weighted losses, without penalty."""
        total = 0.0
        for block in blocks(rows):
            total += self.objective.measured(self.margins(parameters, block.X), block)[0]
        return total

    def loss_and_gradient(self, parameters: Floats, rows: Rows) -> tuple[float, Floats]:
        """Return the sums of the rows' weighted losses and gradients, without penalty."""
        total, gradient = 0.0, np.zeros(self.num_parameters)
        for block in blocks(rows):
            Z, backward = self.architecture.forward(parameters, block.X, self.columns, self.kernels)
            loss, R = self.objective.measured(Z, block)
            total += loss
            gradient += backward(R)
        return total, gradient

    def gradient(self, parameters: Floats, rows: Rows) -> Floats:
        """Return the sum of the rows' weighted gradients, without penalty."""
        gradient = np.zeros(self.num_parameters)
        for block in blocks(rows):
            Z, backward = self.architecture.forward(parameters, block.X, self.columns, self.kernels)
            gradient += backward(block.weighted(self.objective.residuals(Z, block.y)))
        return gradient

    @property
    def ridge(self) -> Floats:
        """``l2`` where a parameter is a weight, 0 where it is an intercept; shape ``(num_parameters,)``."""
        return self.penalty.l2 * self.architecture.mask

    def slope(self, parameters: Floats, gradient: Floats) -> float:
        """Return the length of the objective's shortest subgradient, given the smooth part's ``gradient``."""
        steepest = self.penalty.steepest(parameters, gradient, self.architecture.mask)
        return float(np.sqrt((steepest * steepest).sum()))

    def cost(self, parameters: Floats) -> float:
        """Return the penalty of the parameters."""
        return self.penalty.value(parameters, self.architecture.mask)

    def cost_change(self, before: Floats, after: Floats) -> float:
        """Return by how much the L1 penalty falls from ``before`` to ``after``: what a gradient does not say."""
        mask = self.architecture.mask
        return self.penalty.l1 * float((mask * (np.abs(before) - np.abs(after))).sum())

    def shrunk(self, parameters: Floats, step: float) -> Floats:
        """Return the proximal step of the lasso part of the penalty."""
        return self.penalty.shrunk(parameters, step * self.architecture.mask) if self.penalty.l1 else parameters

    def mean(self, parameters: Floats, sums: Floats) -> tuple[float, Floats]:
        """Return objective and smooth gradient at ``parameters`` from summed gradients and, last, losses."""
        gradient = sums[:-1] / self.weight + self.ridge * parameters
        return float(sums[-1] / self.weight + self.cost(parameters)), gradient

    def with_rate(self, learning_rate: float) -> Problem:
        """Return this problem with a resolved learning rate."""
        return replace(self, options=replace(self.options, learning_rate=learning_rate))

    def at_pace(self, pace: float) -> Problem:
        """Return this problem with a learning rate that is ``pace`` times as large."""
        if self.options.learning_rate is None:
            raise ValueError("the learning rate is not resolved yet")
        return self.with_rate(pace * self.options.learning_rate)

    def with_rows(self, num_rows: int, weighted: bool = False) -> Problem:
        """Return this problem with the number of training rows, known once the data is split."""
        return replace(self, num_rows=num_rows, total_weight=None if weighted else float(num_rows))
