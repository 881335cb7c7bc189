"""Small problems and their shards, for the tests of learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import settings
from scipy.sparse import csr_array

from workers.architectures import Linear
from workers.columns import Columns
from workers.data.array_source import Arrays, ArraySource
from workers.data.rows import Rows, dense
from workers.data.shard import DataSet, Shard
from workers.data.source import DataInfo, Task
from workers.exact_sum import Floats, Ints
from workers.objectives import OBJECTIVES
from workers.outcome import Outcome
from workers.penalty import Penalty
from workers.problem import Problem, SolverOptions
from workers.sequential import train
from workers.stopping import Stopping
from workers.training import Training

quick = settings(max_examples=60, deadline=None)


@dataclass(frozen=True, eq=False)
class MemorySource(ArraySource):
    """Arrays that are there already; ``reads`` counts the rows that were read."""

    X: Floats
    y: Floats
    reads: list[int] = field(default_factory=list)

    def open(self) -> Arrays:
        names = tuple(f"x{column}" for column in range(self.X.shape[1]))
        return Arrays("memory", self.X, np.arange(self.X.shape[1]), self.y, names, "y")

    def read_parts(self, parts: Sequence[Ints], info: DataInfo) -> list[Rows]:
        self.reads.append(sum(map(len, parts)))
        return super().read_parts(parts, info)


def data_set(X: Floats, y: Floats, num_shards: int, task: Task = "regression", test: float = 0.2) -> DataSet:
    """Return a data set in memory; its split does not depend on a problem's seed."""
    source = MemorySource(X, y.astype(np.int64) if task == "classification" else y)
    return DataSet(source, source.describe(task), test, 11, num_shards)


def cut(X: Floats, y: Floats, num_shards: int) -> list[Shard]:
    """Return neighbouring rows as shards, without test rows."""
    ends = np.arange(num_shards + 1) * len(y) // num_shards
    none = Rows(X[:0], y[:0].astype(np.float64))
    return [
        Shard(place, Rows(X[a:b].copy(), y[a:b].astype(np.float64)), none, none)
        for place, (a, b) in enumerate(pairwise(ends))
    ]


def cut_rows(rows: Rows, num_shards: int) -> list[Shard]:
    """Return runs of neighbouring rows as shards, without test rows: dense or sparse, weighted or not."""
    ends = np.arange(num_shards + 1) * len(rows) // num_shards
    return [Shard(place, rows[a:b], rows[:0], rows[:0]) for place, (a, b) in enumerate(pairwise(ends.tolist()))]


def rows_for(objective: str, num_rows: int = 120, seed: int = 3) -> Rows:
    """Return rows that suit an objective, of columns of different size and place."""
    if OBJECTIVES[objective].task == "classification":
        return Rows(*classification(3 if objective == "softmax" else 2, num_rows, seed))
    X, y = regression(num_rows, seed)
    y = (y - y.mean()) / 4.0
    return Rows(
        X, np.random.default_rng(seed).poisson(np.exp(0.3 * y)).astype(np.float64) if objective == "poisson" else y
    )


def varied(rows: Rows, sparse: bool = False, dtype: Any = np.float64, weights: Floats | None = None) -> Rows:
    """Return the same rows in another form."""
    X = np.asarray(rows.X, dtype=dtype)
    return Rows(csr_array(X) if sparse else X, rows.y.astype(dtype), weights)


def problem_of(rows: Rows, num_shards: int, objective: str = "squared", **settings: Any) -> Problem:
    """Return the problem of learning the targets of (weighted) rows."""
    problem = problem_for(np.zeros((1, rows.X.shape[1])), rows.y, num_shards, objective, **settings)
    return replace(problem, total_weight=rows.total_weight)


def standardised(problem: Problem, rows: Rows) -> Problem:
    """Return the problem on standardised columns."""
    X, weights = dense(rows.X, np.float64), rows.weights
    center = np.average(X, axis=0, weights=weights) if problem.intercept else np.zeros(X.shape[1])
    scale = np.sqrt(np.average((X - center) ** 2, axis=0, weights=weights))
    return replace(problem, columns=Columns(center, np.where(scale > 0, scale, 1.0)))


def problem_for(
    X: Floats,
    y: Floats,
    num_shards: int,
    objective: str = "squared",
    *,
    intercept: bool = True,
    l2: float = 0.0,
    l1: float = 0.0,
    seed: int = 0,
    **options: Any,
) -> Problem:
    """Return the problem of learning ``y`` from ``X``."""
    chosen = OBJECTIVES[objective]
    num_classes = int(y.max()) + 1 if chosen.task == "classification" else 0
    return Problem(
        objective=chosen,
        architecture=Linear(X.shape[1], chosen.num_outputs(num_classes), intercept),
        penalty=Penalty(l2, l1),
        num_rows=len(y),
        total_weight=float(len(y)),
        num_shards=num_shards,
        seed=seed,
        options=SolverOptions(**options),
        columns=Columns.raw(X.shape[1]),
    )


def learn(
    problem: Problem,
    shards: list[Shard],
    solver: str,
    max_rounds: int = 1,
    tolerance: float = 0.0,
    standardise: bool = True,
) -> tuple[Outcome, Training]:
    """Train in one process, and return the outcome and the training that led to it."""
    training = Training(problem, solver, Stopping(max_rounds, tolerance), standardise)
    return train(training, shards), training


def fused(training: Training) -> Floats:
    """Return the parameters that the solver arrived at, on standardised columns."""
    assert training.fused is not None
    return training.fused.parameters


def objective_at(training: Training, shards: list[Shard]) -> float:
    """Return the training objective, penalty included, of the parameters that the solver arrived at."""
    problem, parameters = training.problem, fused(training)
    total = sum(problem.loss_sum(parameters, shard.train) for shard in shards)
    return total / problem.num_rows + problem.cost(parameters)


def regression(num_rows: int = 240, seed: int = 3) -> tuple[Floats, Floats]:
    """Return rows with columns of very different size and place, and a noisy linear target."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((num_rows, 4)) * [1.0, 300.0, 1e-3, 7.0] + [0.0, 1e3, 5.0, -2.0]
    y = X @ [1.0, -0.01, 400.0, 0.3] + 0.5 * random.standard_normal(num_rows)
    return X, y


def classification(num_classes: int, num_rows: int = 240, seed: int = 5) -> tuple[Floats, Floats]:
    """Return overlapping clusters of classes 0, 1, ..."""
    random = np.random.default_rng(seed)
    y = np.arange(num_rows) % num_classes
    centers = random.standard_normal((num_classes, 3)) * 1.2
    X = (centers[y] + random.standard_normal((num_rows, 3))) * [1.0, 50.0, 0.01] + [0.0, 100.0, 0.0]
    return X, y.astype(np.float64)
