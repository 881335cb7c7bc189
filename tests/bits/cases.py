"""Small trainings whose bits are compared, of every solver on data of every kind; as a program, it prints hashes."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from workers.architectures import Linear
from workers.columns import Columns
from workers.data.rows import Rows
from workers.data.shard import Shard
from workers.kernels import FAST, STRICT, Kernels
from workers.objectives import OBJECTIVES
from workers.outcome import Outcome
from workers.problem import Problem, SolverOptions
from workers.sequential import train
from workers.solvers import SOLVERS
from workers.stopping import Stopping
from workers.training import Training

NUM_SHARDS, NUM_ROWS, WIDTH = 7, 1400, 23


def shards_of(objective: str, kind: str = "dense") -> list[Shard]:
    """Return seven shards of random rows: ``dense``, ``float32``, ``sparse`` or ``weighted``."""
    random = np.random.default_rng(5)
    # Nothing here may depend on the processor: plain products and sums only.
    spread = random.random((NUM_ROWS, WIDTH)) - 0.5
    X = spread * np.ldexp(1.0, np.arange(WIDTH) - 11) + np.arange(WIDTH)
    score = (spread * random.random(WIDTH)).sum(axis=1) + random.random(NUM_ROWS)
    classes = 3 if objective == "softmax" else 2
    y = (
        score
        if OBJECTIVES[objective].task == "regression"
        else np.floor(classes * score.argsort().argsort() / NUM_ROWS)
    )
    if objective == "poisson":
        y = np.floor(np.abs(score))
    dtype = np.float32 if kind == "float32" else np.float64
    X, y = X.astype(dtype), y.astype(dtype)
    shards = []
    for number, part in enumerate(np.array_split(random.permutation(NUM_ROWS), NUM_SHARDS)):
        matrix = np.ascontiguousarray(X[part])
        weights = random.integers(0, 4, len(part)).astype(np.float64) if kind == "weighted" else None
        sparse = csr_array(np.where(np.abs(matrix - np.arange(WIDTH)) < 0.5, matrix, dtype(0)))
        rows = Rows(sparse if kind == "sparse" else matrix, y[part], weights)
        shards.append(Shard(number, rows, rows[:9]))
    return shards


def training_of(solver: str, objective: str, kernels: Kernels = FAST, weighted: bool = False) -> Training:
    """Return a short training before its first round."""
    loss = OBJECTIVES[objective].with_kernels(kernels)
    problem = Problem(
        objective=loss,
        architecture=Linear(WIDTH, loss.num_outputs(3)),
        num_rows=NUM_ROWS,
        num_shards=NUM_SHARDS,
        seed=3,
        columns=Columns.raw(WIDTH),
        kernels=kernels,
        total_weight=None if weighted else float(NUM_ROWS),
        options=SolverOptions(batch_size=17),
    )
    problem = replace(problem, penalty=replace(problem.penalty, l2=0.01))
    return Training(problem, solver, Stopping(5), True)


def fitting(objective: str, kernels: Kernels = FAST, kind: str = "dense") -> list[str]:
    """Return the solvers that go together with an objective, an arithmetic and a kind of rows."""
    problem = training_of("sgd", objective, kernels).problem
    cannot = {"sklearn-sgd"} if kind == "sparse" else set()  # it says so when it sees the rows
    return [name for name in SOLVERS if name not in cannot and SOLVERS[name].refuse(problem) is None]


def digest(outcome: Outcome) -> str:
    """Return a hash of the parameters and of all that is said about them."""
    told = repr((outcome.loss, outcome.learning_rate, outcome.metric, outcome.optimum, outcome.reason)).encode()
    return hashlib.sha256(b"".join(array.tobytes() for array in outcome.arrays.values()) + told).hexdigest()[:16]


def hashes(kernels: Kernels) -> dict[str, str]:
    """Train everything in this process, and return the hashes."""
    found = {}
    for objective in OBJECTIVES:
        for kind in ("dense", "float32", "sparse", "weighted") if objective in ("squared", "softmax") else ("dense",):
            shards = shards_of(objective, kind)
            for solver in fitting(objective, kernels, kind):
                training = training_of(solver, objective, kernels, kind == "weighted")
                found[f"{solver} {objective} {kind}"] = digest(train(training, shards))
    return found


if __name__ == "__main__":
    with threadpool_limits(limits=1):  # as workers do
        print(json.dumps(hashes(STRICT if "strict" in sys.argv else FAST)))  # noqa: T201
