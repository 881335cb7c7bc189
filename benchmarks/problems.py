"""What the learning benchmarks train on: made from a seed, or public data that is skipped where it is absent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_svmlight_file

from benchmarks.public_data import DATA

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

NOISE_SHARE = 0.1
"""Part of the target's variance that is noise: R2 of the true weights is 0.9."""

L2 = 1e-4
"""The penalty of the logistic problems."""


@dataclass(frozen=True, eq=False)
class LearningProblem:
    """Minimise the mean loss of ``X w + b`` against ``y``, plus ``l2 / 2 * |w|**2``.

    Attributes
    ----------
    objective
        ``squared`` (half the squared error) or ``logistic`` (``y`` is 0 or 1).
    X, y
        Shapes ``(rows, features)`` and ``(rows,)``, float32.
    batch_size
        Rows of a mini-batch for all who take some.
    files
        A folder that holds ``X.npy``, ``y.npy`` and ``data.npz`` for the processes of others; set by ``saved``.
    """

    name: str
    objective: str
    X: Singles
    y: Singles
    l2: float
    batch_size: int = 4096
    files: Path = Path()

    def saved(self, folder: Path) -> LearningProblem:
        """Write the arrays into ``folder``, and return the problem that knows them there."""
        folder.mkdir(parents=True)
        np.save(folder / "X.npy", self.X)
        np.save(folder / "y.npy", self.y)
        labels = self.y if self.objective == "squared" else self.y.astype(np.int64)
        np.savez(folder / "data.npz", X=self.X, y=labels)
        return LearningProblem(self.name, self.objective, self.X, self.y, self.l2, self.batch_size, folder)

    def part(self, number: int, parts: int) -> slice:
        """Return the rows of one of ``parts`` equal parts."""
        return slice(len(self.y) * number // parts, len(self.y) * (number + 1) // parts)


def least_squares(rows: int, features: int = 50, seed: int = 0) -> LearningProblem:
    """Return standard normal columns, a target of random weights, and noise that leaves an R2 of 0.9."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((rows, features), dtype=np.float32)
    weights = random.standard_normal(features, dtype=np.float32)
    noise = np.sqrt(float(weights @ weights) * NOISE_SHARE / (1.0 - NOISE_SHARE))
    y = X @ weights + np.float32(noise) * random.standard_normal(rows, dtype=np.float32)
    return LearningProblem(f"least squares {rows:,} x {features}", "squared", X, y, 0.0)


def logistic(rows: int, features: int = 100, seed: int = 0) -> LearningProblem:
    """Return standard normal columns and classes drawn with margins of standard deviation 2."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((rows, features), dtype=np.float32)
    weights = random.standard_normal(features, dtype=np.float32)
    margins = X @ (2.0 * weights / np.linalg.norm(weights))
    y = (random.random(rows, dtype=np.float32) < 1.0 / (1.0 + np.exp(-margins))).astype(np.float32)
    return LearningProblem(f"logistic {rows:,} x {features}", "logistic", X, y, L2)


def a9a(data: Path = DATA) -> LearningProblem | None:
    """Return the census data of LIBSVM's collection (32,561 x 123), in random order; None where it is absent."""
    path = data / "tabular" / "a9a"
    if not path.is_file():
        return None
    X, y = load_svmlight_file(str(path), n_features=123, dtype=np.float32)
    order = np.random.default_rng(0).permutation(len(y))
    dense, positive = X.toarray()[order], (y[order] > 0).astype(np.float32)
    return LearningProblem("a9a 32,561 x 123", "logistic", np.ascontiguousarray(dense), positive, L2, batch_size=256)


def chosen(names: list[str], rows: int | None = None) -> Iterator[LearningProblem | str]:
    """Yield the problems called ``names``, synthetic ones with ``rows`` rows; a text says why one is skipped."""
    for name in names:
        if name == "a9a":
            yield a9a() or f"a9a: skipped, {DATA / 'tabular' / 'a9a'} is not there (set APPORTION_DATA)"
        else:
            make, usual_rows = SYNTHETIC[name]
            yield make(rows or usual_rows)


SYNTHETIC = {
    "least-squares": (least_squares, 2_000_000),
    "least-squares-10m": (least_squares, 10_000_000),
    "logistic": (logistic, 1_000_000),
}
NAMES = [*SYNTHETIC, "a9a"]
