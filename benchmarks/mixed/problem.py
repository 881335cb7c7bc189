"""What is trained: least squares on correlated columns, by local SGD, to a gap that some rounds are needed for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reference import Reference
from scheduler.job import Job
from scheduler.preparation import Prepared, prepare
from workers import sequential

FEATURES, BATCH, EPOCHS = 50, 64, 6
CONDITION = 16.0
"""The largest over the smallest standard deviation along the columns' axes."""

L2 = 1e-4
GAP = 0.02
"""How much over the optimum the target is: more than what averaging many short paths leaves."""

RATE = 0.1


@dataclass(frozen=True, eq=False)
class MixedProblem:
    """Rows in a file, and the objective that is to be reached.

    Attributes
    ----------
    file
        A ``.npy`` of shape ``(rows, features + 1)``, float32, the target last.
    """

    file: Path
    reference: Reference
    optimum: float

    @property
    def target(self) -> float:
        """The objective to be reached."""
        return self.optimum * (1.0 + GAP)


def make(folder: Path, rows: int) -> MixedProblem:
    """Draw the rows, write them, and find the optimum."""
    random = np.random.default_rng(0)
    axes, _ = np.linalg.qr(random.standard_normal((FEATURES, FEATURES)))
    spread = np.geomspace(1.0, 1.0 / CONDITION, FEATURES)
    X = (random.standard_normal((rows, FEATURES), dtype=np.float32) * spread.astype(np.float32)) @ axes.T
    X = np.ascontiguousarray(X / X.std(axis=0), dtype=np.float32)
    weights = (axes / spread) @ random.standard_normal(FEATURES) * 0.2
    y = (X @ weights + random.standard_normal(rows)).astype(np.float32)
    file = folder / "rows.npy"
    np.save(file, np.column_stack([X, y]))
    reference = Reference("squared", X, y, L2)
    return MixedProblem(file, reference, reference.minimise()[1])


def job_of(problem: MixedProblem, workers: int, rounds: int, shards: int, **training: Any) -> Prepared:
    """Return the prepared job for as many workers; columns are taken as they are, as the peers do."""
    spec = {
        "name": "mixed",
        "data": {"npy": str(problem.file)},
        "test_fraction": 0,
        "split": "contiguous",
        "model": {"objective": "squared", "l2": L2},
        "training": {
            "solver": "local-sgd", "batch_size": BATCH, "local_epochs": EPOCHS, "rounds": rounds, "tolerance": 0,
            "standardise": False, "learning_rate": RATE, "schedule": "inverse-sqrt", **training,
        },
        "shards": shards,
        "workers": {"count": workers, "bundle": {"cpu": 1, "memory": "480MiB"}},
        "output": str(problem.file.parent / "out"),
    }  # fmt: skip
    return prepare(Job.model_validate(spec))


def objectives(problem: MixedProblem, prepared: Prepared) -> list[float]:
    """Return the objective after each round of the solver, computed in this process: it is the same on any workers."""
    training, found = prepared.training(), []
    for report in sequential.rounds(training, prepared.data.load(range(prepared.problem.num_shards))):
        if report.stage == prepared.solver:
            state = training.state if training.fused is None else training.fused
            found.append(problem.reference.value(state.parameters))
        if training.fused is not None:
            return found
    return found
