"""The jobs that are disturbed: several solvers and balances, with rounds of some tens of milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from threadpoolctl import threadpool_limits

from scheduler.job import Job
from scheduler.preparation import prepare
from workers import sequential
from workers.model import sha256_of

BALANCES = ("equal", "adaptive-pull", "pull", "speed-proportional", "lpt", "adaptive")
"""What a run goes on with after its driver was killed."""


@dataclass(frozen=True)
class Shape:
    """A kind of job: its data, its model, its training and its policy.

    Attributes
    ----------
    rounds
        So many that a run takes some ten seconds on two processors.
    every_s
        Between checkpoints; None lets cost decide.
    """

    name: str
    objective: str
    rows: int
    features: int
    hidden: tuple[int, ...]
    training: tuple[tuple[str, Any], ...]
    rounds: int
    policy: str
    shards: int = 24
    workers: int = 3
    every_s: float | None = None

    def spec(self, folder: Path, output: Path, rounds: int) -> dict[str, Any]:
        """Return the job with its data in ``folder``."""
        return {
            "name": output.name,
            "data": {"npy": str(self.data(folder))},
            "model": {"objective": self.objective, "hidden": list(self.hidden), "l2": 0.001},
            "training": {"rounds": rounds, "tolerance": 0, **dict(self.training)},
            "shards": self.shards,
            "workers": {"count": self.workers, "bundle": {"cpu": 0.5, "memory": "256MiB"}},
            "policy": self.policy,
            "output": str(output),
            "recovery": {"every_s": self.every_s},
        }

    def data(self, folder: Path) -> Path:
        """Return the file of its rows, written when it is first asked for."""
        path = folder / f"{self.objective}-{self.rows}-{self.features}.npy"
        if not path.is_file():
            random = np.random.default_rng(self.features)
            X = random.standard_normal((self.rows, self.features), dtype=np.float32)
            score = X @ random.standard_normal(self.features, dtype=np.float32) + 3 * random.standard_normal(self.rows)
            y = score if self.objective == "squared" else score > 0
            np.save(path, np.column_stack([X, y.astype(np.float32)]))
        return path

    def write(self, folder: Path, output: Path, rounds: int) -> Path:
        """Write the job's file beside its data, and return it."""
        path = folder / f"{output.name}.yaml"
        path.write_text(yaml.safe_dump(self.spec(folder, output, rounds)), encoding="utf-8")
        return path

    def undisturbed(self, folder: Path, rounds: int) -> str:
        """Return the hash of what it learns in this process, shard after shard."""
        prepared = prepare(Job.model_validate(self.spec(folder, folder / "sequential", rounds)))
        with threadpool_limits(limits=1):  # as workers do
            outcome = sequential.train(prepared.training(), prepared.data.load(range(self.shards)))
        return sha256_of(outcome.arrays)


_GD = (("solver", "gradient-descent"),)
_LOCAL = (("solver", "local-sgd"), ("batch_size", 64), ("local_epochs", 1))
_LBFGS = (("solver", "lbfgs"),)
_NEWTON = (("solver", "newton"),)

SHAPES = (
    Shape("layers", "squared", 24_000, 24, (48,), _GD, 200, "adaptive-pull"),
    Shape("local", "logistic", 24_000, 20, (), _LOCAL, 250, "equal", every_s=1.0),
    Shape("lbfgs", "squared", 24_000, 24, (32,), _LBFGS, 300, "pull"),
    Shape("newton", "logistic", 60_000, 120, (), _NEWTON, 100, "speed-proportional", every_s=0.0),
    Shape("large", "squared", 3_000, 200, (512,), _GD, 60, "lpt", shards=12, every_s=0.5),
)
