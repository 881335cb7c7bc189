"""What the free resources of nodes are worth to the bundles that are to come, in GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from policies.feasibility import TOLERANCE
from policies.interface import CPU, GPU, MEMORY, Demand, Floats, Ints, NodeTable
from policies.place.filling import UNITS, best_use, random_use

BESIDES = [CPU, MEMORY]
"""What a bundle needs beside GPUs."""

TINY = 1e-9
"""Keeps divisors from 0: a part of a GPU, a share of the mix, or a deviation, of which nothing depends."""


class Coming:
    """The bundles with GPUs that are to come, as a mix.

    Parameters
    ----------
    demand
        The mix; bundles without GPUs do not count.
    offers
        How many bundles come, on average, before it is settled what a free GPU is used for.

    Attributes
    ----------
    bundles, shares, selectors
        As in ``Demand``; shares add up to 1.
    key
        Equal for equal mixes.
    """

    def __init__(self, demand: Demand, offers: float) -> None:
        rows = np.flatnonzero((demand.bundles[:, GPU] > 0) & (demand.weights > 0)).tolist()
        labels = [tuple(sorted(demand.selectors[row].items())) for row in rows]
        ranked = sorted(zip(demand.bundles[rows].tolist(), labels, demand.weights[rows].tolist(), strict=True))
        self.bundles: Floats = np.array([bundle for bundle, _, _ in ranked]).reshape(-1, 3)
        self.shares: Floats = np.array([weight for _, _, weight in ranked])
        self.shares /= max(self.shares.sum(), np.finfo(float).tiny)
        self.selectors = tuple(dict(selector) for _, selector, _ in ranked)
        self.key = blake2b(repr(ranked).encode(), digest_size=16).digest()
        self._offers = offers
        self._labels = sorted({label for selector in self.selectors for label in selector})
        choosy = [row for row, selector in enumerate(self.selectors) if selector or self.bundles[row, GPU] > 1]
        self.choosy: Ints = np.array(choosy, dtype=np.int64)

    def on(self, nodes: NodeTable) -> Worth:
        """Return what free resources are worth on each of ``nodes``."""
        nothing = ("",) * len(nodes)
        found = list(zip(*(nodes.labels.get(label, nothing) for label in self._labels), strict=True))
        number = {values: kind for kind, values in enumerate(dict.fromkeys(found or [()]))}
        kinds = np.fromiter(map(number.__getitem__, found or [()] * len(nodes)), dtype=np.int64, count=len(nodes))
        return Worth(self, kinds, [_worths(self, self._admitted(values)) for values in number])

    def _admitted(self, values: tuple[str, ...]) -> tuple[bool, ...]:
        """Say of every bundle whether its selector admits a node with these values of the labels in question."""
        have = dict(zip(self._labels, values, strict=True))
        return tuple(all(have[label] in asked for label, asked in one.items()) for one in self.selectors)

    def worths(self, admitted: tuple[bool, ...]) -> _Worths:
        """Summarise the bundles that are admitted."""
        able = np.array(admitted, dtype=bool)
        bundles, shares = self.bundles[able], self.shares[able]
        gpu = bundles[:, GPU]
        size = np.maximum((np.minimum(gpu, 1.0) * UNITS + TOLERANCE).astype(np.int64), 1)
        sizes, which = np.unique(size, return_inverse=True)
        asked = np.bincount(which, weights=shares * np.maximum(gpu, 1.0), minlength=len(sizes))
        total = max((shares * gpu).sum(), TINY)
        needs = (shares[:, None] * bundles[:, BESIDES]).sum(axis=0) / total
        off = bundles[:, BESIDES] - gpu[:, None] * needs
        spread = np.sqrt((shares[:, None] * off**2).sum(axis=0) / total)
        of_part = (random_use(sizes, asked, self._offers) + best_use(sizes, asked)) / 2
        return _Worths(of_part, needs, spread, able[self.choosy])


class _Worths(NamedTuple):
    """Of nodes that admit the same bundles: the worth of a GPU's free part (units + 1), what a GPU's worth of bundles
    needs of CPU and memory, by how much that varies (2), and which choosy bundles are admitted.
    """

    of_part: Floats
    needs: Floats
    spread: Floats
    choosy: NDArray[np.bool_]


class Worth:
    """What free resources of some nodes are worth to the bundles that are to come.

    Parameters
    ----------
    coming
        The mix.
    kinds
        Which of ``worths`` is each node's; length n.
    """

    def __init__(self, coming: Coming, kinds: Ints, worths: Sequence[_Worths]) -> None:
        self._kinds = kinds
        self._of_part = np.stack([one.of_part for one in worths])
        self._needs = np.stack([one.needs for one in worths])[kinds]
        self._spread = np.stack([one.spread for one in worths])[kinds]
        self._bundles = coming.bundles[coming.choosy]
        gpus = coming.shares[coming.choosy] * self._bundles[:, GPU]
        self._gpus = (np.stack([one.choosy for one in worths]) * gpus)[kinds]

    def of_parts(self, room: Floats) -> Floats:
        """Return what free parts of GPUs are worth by themselves; shape ``(n, g)``, as ``room``."""
        units = np.clip((room * UNITS + TOLERANCE * UNITS).astype(np.int64), 0, UNITS)
        return np.asarray(self._of_part.ravel()[self._kinds[:, None] * (UNITS + 1) + units])

    def stranded(self, free: Floats, gpu: Floats) -> Floats:
        """Return how many of ``gpu`` (n,) free GPUs will lack the CPU or the memory that is ``free`` (n, 3).

        What the bundles that fill them need is taken to be normally distributed; each of the two is counted by itself.
        """
        deviation = np.maximum(self._spread * np.sqrt(np.maximum(gpu, 0.0))[:, None], TINY)
        z = (self._needs * gpu[:, None] - free[:, BESIDES]) / deviation
        short = deviation * (z * ndtr(z) + np.exp(-0.5 * np.minimum(z * z, 1400.0)) / np.sqrt(2 * np.pi))
        return np.asarray((short / np.maximum(self._needs, TINY)).sum(axis=1)) * (gpu > TINY)

    def of_choice(self, free: Floats, idle: Floats) -> Floats:
        """Return how many GPUs choosy bundles have a claim to where ``free`` (n, 3) and ``idle`` GPUs (n,) are left.

        Choosy are bundles with several GPUs, and those that insist on labels. Each counts as often as it fits, by its
        share of the mix: it is what the next bundle could use that may find nothing elsewhere.
        """
        fit = np.floor(idle[:, None] / np.maximum(self._bundles[:, GPU], 1.0))
        for resource in BESIDES:
            fit = np.minimum(fit, (free[:, [resource]] + TOLERANCE) // np.maximum(self._bundles[:, resource], TINY))
        return np.asarray((self._gpus * np.maximum(fit, 0.0)).sum(axis=1))


@lru_cache(maxsize=64)
def _worths(coming: Coming, admitted: tuple[bool, ...]) -> _Worths:
    return coming.worths(admitted)


@lru_cache(maxsize=8)
def coming(demand: Demand, offers: float) -> Coming:
    """Return the mix of ``demand``, remembered."""
    return Coming(demand, offers)
