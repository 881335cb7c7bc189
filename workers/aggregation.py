"""How the shards' updates become one: their sum, or a robust mean that a few bad ones cannot move far.

A robust mean needs every shard's update at the server, so a call then sends one row for each of its shards instead
of their sum. It guards against bad *shards* (poisoned, broken, mislabelled); against bad workers, a share is computed
again elsewhere and compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from workers.data.rows import Floats

SUM = "sum"


@dataclass(frozen=True)
class Aggregation:
    """A rule by name; ``fraction`` is the part of the shards that may be bad (``trimmed-mean``, ``krum``)."""

    rule: str = SUM
    fraction: float = 0.1

    def __post_init__(self) -> None:
        if self.rule not in AGGREGATIONS:
            raise ValueError(f"unknown aggregation {self.rule!r}; the choices are {', '.join(AGGREGATIONS)}")
        if not 0.0 <= self.fraction < 0.5:
            raise ValueError(f"the fraction must be at least 0 and less than 0.5, got {self.fraction}")

    @property
    def needs_every_update(self) -> bool:
        """Whether the server must see the update of each shard."""
        return self.rule != SUM

    def total(self, updates: Floats) -> Floats:
        """Return what takes the place of the sum of ``updates`` (shards, size): shards times their robust mean."""
        return len(updates) * AGGREGATIONS[self.rule](updates, self.bad(len(updates)))

    def bad(self, num_shards: int) -> int:
        """Return how many shards may be bad: rounded up, so that of few shards at least one may, but never half."""
        return min(math.ceil(round(self.fraction * num_shards, 9)), max(num_shards - 1, 0) // 2)


def mean(updates: Floats, bad: int) -> Floats:
    """Return the mean."""
    del bad
    result: Floats = updates.mean(axis=0)
    return result


def median(updates: Floats, bad: int) -> Floats:
    """Return the median of each coordinate.

    Source: Yin, Chen, Kannan, Bartlett, Byzantine-Robust Distributed Learning (ICML 2018).
    """
    del bad
    ordered = np.sort(updates, axis=0)
    half = len(updates) // 2
    result: Floats = ordered[half] if len(updates) % 2 else (ordered[half - 1] + ordered[half]) / 2.0
    return result


def trimmed_mean(updates: Floats, bad: int) -> Floats:
    """Return the mean of each coordinate without its ``bad`` smallest and largest values.

    Source: Yin, Chen, Kannan, Bartlett, Byzantine-Robust Distributed Learning (ICML 2018).
    """
    ordered = np.sort(updates, axis=0)
    result: Floats = ordered[bad : len(updates) - bad].mean(axis=0)
    return result


def krum(updates: Floats, bad: int) -> Floats:
    """Return the update that is closest to its ``shards - bad - 2`` nearest others.

    Source: Blanchard, El Mhamdi, Guerraoui, Stainer, Machine Learning with Adversaries (NeurIPS 2017).
    """
    num = len(updates)
    with np.errstate(over="ignore"):  # infinitely far is far enough
        distances = np.array([((updates - update) ** 2).sum(axis=1) for update in updates])
        distances[np.arange(num), np.arange(num)] = np.inf
        scores = np.sort(distances, axis=1)[:, : max(1, num - bad - 2)].sum(axis=1)
    result: Floats = updates[int(scores.argmin())]
    return result


AGGREGATIONS: dict[str, Callable[[Floats, int], Floats]] = {
    SUM: mean,
    "median": median,
    "trimmed-mean": trimmed_mean,
    "krum": krum,
}
"""Every rule by the name that a job file gives it."""


EXACT_SUM = Aggregation()
