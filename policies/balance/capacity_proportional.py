"""By what each worker's node has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from policies.balance.division import by_weight
from policies.interface import RESOURCES, Assignment, Balance, Floats, PolicyError, RoundView, Unplaced


class CapacityProportional(Balance):
    """Give each worker shards in proportion to the CPU, GPU and memory of its part of its node.

    For mixed machines of one generation, where nothing can be measured beforehand: it is as good as the resources
    are a measure of speed. A worker's share is the mean, over the resources that any node has, of its part of the
    total. Workers on equal nodes get equal parts.

    Parameters
    ----------
    weights
        How much each resource counts in the mean (``cpu``, ``gpu``, ``memory``; at least 0, not all 0); those
        left out count 0. Without it each counts 1.

    Raises
    ------
    PolicyError
        If a weight is out of bounds or names no resource.

    Cost: O(s + w log w).

    Source: the open-loop variable batching of Tyagi and Sharma, "Taming resource heterogeneity in distributed
    ML training with dynamic batching", ACSOS 2020.
    """

    name: ClassVar[str] = "capacity-proportional"
    source: ClassVar[str] = "Tyagi & Sharma, ACSOS 2020 (open loop)"
    wants_speeds: ClassVar[bool] = False

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self.weights = dict.fromkeys(RESOURCES, 1.0) if weights is None else _checked(weights)

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard once, by share; within memory (bytes)."""
        return by_weight(view, self.share(view.workers.capacity))

    def share(self, capacity: Floats) -> Floats:
        """Return each worker's share, shape ``(w,)``, of what all have (``capacity``, shape ``(w, 3)``)."""
        total = capacity.sum(axis=0)
        weights = np.array([self.weights.get(resource, 0.0) for resource in RESOURCES]) * (total > 0)
        if not weights.any():
            return np.ones(len(capacity))
        share: Floats = (capacity / np.where(total > 0, total, 1.0)) @ (weights / weights.max())
        return share


def _checked(weights: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(weights, Mapping):
        raise PolicyError(
            f"weights must be a mapping of {', '.join(RESOURCES)} to numbers, but got weights={weights!r}"
        )
    for resource, weight in weights.items():
        if resource not in RESOURCES:
            raise PolicyError(f"weights must be of {', '.join(RESOURCES)}, but got {resource!r}")
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not math.isfinite(weight) or weight < 0:
            raise PolicyError(
                f"weights.{resource} must be a finite number of at least 0, but got {resource}={weight!r}"
            )
    if not any(weights.values()):
        raise PolicyError(f"one of the weights must be greater than 0, but got weights={dict(weights)}")
    return {resource: float(weight) for resource, weight in weights.items()}
