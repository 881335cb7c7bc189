"""Fragmentation: free GPUs that no bundle can use. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

from policies.feasibility import devices_with_room, has_room, selected
from policies.interface import JobView, NodeTable, Resources

BundleClass = tuple[Resources, tuple[tuple[str, tuple[str, ...]], ...]]
"""``JobView.bundle_class``."""

GROWTH = 20
"""GPUs are counted anew when the number of moments has grown by one of so many."""


class Stranded:
    """The GPUs that are stranded, counted now and then; in between what was counted last holds.

    They are counted at each of the first moments, later ever more rarely, so that a run of ``n`` moments costs
    O(log n) counts, each O(n g) for n nodes with g GPUs.
    """

    def __init__(self) -> None:
        self._asked: Counter[BundleClass] = Counter()
        self._num_moments = self._next = 0
        self._last = math.nan

    def come(self, job: JobView) -> None:
        """Let a job wait or run from now on."""
        if job.bundle.gpu > 0:
            self._asked[job.bundle_class] += 1

    def go(self, job: JobView) -> None:
        """Let a job be gone."""
        if job.bundle.gpu > 0:
            self._asked[job.bundle_class] -= 1
            if not self._asked[job.bundle_class]:
                del self._asked[job.bundle_class]

    def on(self, nodes: NodeTable) -> float:
        """Return the stranded GPUs of a moment; NaN where no job asks for GPUs."""
        if not self._asked:
            self._last, self._next = math.nan, self._num_moments
        elif self._num_moments >= self._next:
            self._last = stranded_gpus(self._asked, nodes)
            self._next = self._num_moments + max(self._num_moments // GROWTH, 1)
        self._num_moments += 1
        return self._last


def stranded_gpus(classes: Iterable[BundleClass], nodes: NodeTable) -> float:
    """Return how many GPUs are free on which none of these bundles fits."""
    usable = np.zeros(nodes.device_free.shape, dtype=np.bool_)
    for bundle, selector in _least(classes):
        able = has_room(bundle, nodes)
        if selector:
            able &= selected(dict(selector), nodes)
        usable |= able[:, None] & devices_with_room(bundle, nodes.device_free)
    return float(nodes.device_free[~usable].sum())


def _least(classes: Iterable[BundleClass]) -> list[BundleClass]:
    """Leave out whoever fits only where another, smaller one does."""
    found: list[BundleClass] = []
    for bundle, selector in sorted(classes, key=lambda one: (one[0].cpu, one[0].gpu, one[0].memory, one[1])):
        if not any(_within(other, bundle) and (not labels or labels == selector) for other, labels in found):
            found.append((bundle, selector))
    return found


def _within(one: Resources, other: Resources) -> bool:
    return one.cpu <= other.cpu and one.gpu <= other.gpu and one.memory <= other.memory
