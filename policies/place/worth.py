"""What the free resources of nodes are worth to the bundles that are to come, in GPUs."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from math import fsum
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from policies.feasibility import TOLERANCE, selected
from policies.interface import CPU, GPU, MEMORY, Demand, Floats, Ints, NodeTable
from policies.place.filling import UNITS, best_use, random_use

BESIDES = [CPU, MEMORY]
"""What a bundle needs beside GPUs."""

TINY = 1e-9
"""Keeps divisors from 0 where nothing is asked for, or nothing varies."""

SQRT_2_PI = np.sqrt(2 * np.pi)


class Coming:
    """The bundles with GPUs that are to come, as a mix, and the nodes that they are to come to.

    Parameters
    ----------
    demand
        The mix; bundles without GPUs do not count.
    nodes
        The cluster: what nodes have, not what is free.
    offers
        How many bundles come, on average, before it is settled what a free GPU is used for.

    Attributes
    ----------
    bundles, shares, selectors
        As in ``Demand``; shares add up to 1.
    choosy
        Rows of the bundles with several GPUs, and of those that insist on labels.
    claims
        For each choosy bundle, how many GPUs of a node it has a claim to for each time that it fits there: its share
        times its GPUs, as often as the GPUs on which it can be placed go into those of the cluster.
    key
        Equal for equal mixes.
    """

    def __init__(self, demand: Demand, nodes: NodeTable, offers: float) -> None:
        rows = np.flatnonzero((demand.bundles[:, GPU] > 0) & (demand.weights > 0)).tolist()
        labels = [tuple(sorted(demand.selectors[row].items())) for row in rows]
        ranked = sorted(zip(demand.bundles[rows].tolist(), labels, demand.weights[rows].tolist(), strict=True))
        self.bundles: Floats = np.array([bundle for bundle, _, _ in ranked]).reshape(-1, 3)
        shares = np.array([weight for _, _, weight in ranked])
        self.shares: Floats = shares / max(shares.sum(), np.finfo(float).tiny)
        self.selectors = tuple(dict(selector) for _, selector, _ in ranked)
        self.key = blake2b(repr(ranked).encode(), digest_size=16).digest()
        several = self.bundles[:, GPU] > 1
        self.choosy: Ints = np.flatnonzero(
            [bool(one) or many for one, many in zip(self.selectors, several, strict=True)]
        )
        self.claims: Floats = np.array([self._claim(row, nodes) for row in self.choosy.tolist()])
        self._labels = sorted({label for selector in self.selectors for label in selector})
        self._offers = offers

    def _claim(self, row: int, nodes: NodeTable) -> float:
        gpu, gpus = self.bundles[row, GPU], nodes.capacity[:, GPU]
        able = (gpus + TOLERANCE >= gpu) & selected(self.selectors[row], nodes)
        return float(self.shares[row] * gpu * fsum(gpus) / fsum(gpus[able])) if able.any() else 0.0

    def on(self, nodes: NodeTable) -> Worth:
        """Return what free resources are worth on each of ``nodes``."""
        nothing = ("",) * len(nodes)
        found = list(zip(*(nodes.labels.get(label, nothing) for label in self._labels), strict=True))
        number = {values: kind for kind, values in enumerate(dict.fromkeys(found or [()]))}
        kinds = np.fromiter(map(number.__getitem__, found or [()] * len(nodes)), dtype=np.int64, count=len(nodes))
        return Worth(self, kinds, [_asked_of(self, self._admitted(values)) for values in number])

    def _admitted(self, values: tuple[str, ...]) -> tuple[bool, ...]:
        """Say of every bundle whether its selector admits a node with these values of the labels in question."""
        have = dict(zip(self._labels, values, strict=True))
        return tuple(all(have[label] in asked for label, asked in one.items()) for one in self.selectors)

    def asked_of(self, admitted: tuple[bool, ...]) -> _Asked:
        """Return what is asked of nodes that the ``admitted`` bundles may go to."""
        able = np.array(admitted, dtype=bool)
        bundles, shares = self.bundles[able], self.shares[able]
        gpu = bundles[:, GPU]
        units = np.maximum((np.minimum(gpu, 1.0) * UNITS + TOLERANCE).astype(np.int64), 1)
        sizes, which = np.unique(units, return_inverse=True)
        asked = np.bincount(which, weights=shares * np.maximum(gpu, 1.0), minlength=len(sizes))
        total = max((shares * gpu).sum(), TINY)
        needs = (shares[:, None] * bundles[:, BESIDES]).sum(axis=0) / total
        off = bundles[:, BESIDES] - gpu[:, None] * needs
        deviation = np.sqrt((shares[:, None] * off**2).sum(axis=0) / total)
        of_part = _of_part(tuple(sizes.tolist()), tuple(asked.tolist()), self._offers)
        return _Asked(of_part, needs, deviation, self.claims * able[self.choosy])


class _Asked(NamedTuple):
    """What is asked of nodes that admit the same bundles.

    The worth of a GPU's free part, by its units; how much of CPU and memory goes with a GPU, and the standard deviation
    of that; and the claims of the choosy bundles.
    """

    of_part: Floats
    needs: Floats
    deviation: Floats
    claims: Floats


class Worth:
    """What free resources of some nodes are worth to the bundles that are to come."""

    def __init__(self, coming: Coming, kinds: Ints, asked: list[_Asked]) -> None:
        self._kinds, self._choosy = kinds, coming.bundles[coming.choosy]
        self._of_part, needs, deviation, claims = (np.stack(column) for column in zip(*asked, strict=True))
        self._needs, self._deviation, self._claims = needs[kinds], deviation[kinds], claims[kinds]

    def of_parts(self, room: Floats) -> Floats:
        """Return what free parts of GPUs are worth if nothing else is short; shape ``(n, g)``, as ``room``."""
        units = np.clip(((room + TOLERANCE) * UNITS).astype(np.int64), 0, UNITS)
        return np.asarray(self._of_part.ravel()[self._kinds[:, None] * (UNITS + 1) + units])

    def stranded(self, free: Floats, gpu: Floats) -> Floats:
        """Return how many of ``gpu`` (n,) free GPUs will lack the CPU or the memory that is ``free`` (n, 3).

        What the bundles that fill them need is taken to be normally distributed; each of the two is counted by itself.
        """
        deviation = np.maximum(self._deviation * np.sqrt(np.maximum(gpu, 0.0))[:, None], TINY)
        z = (self._needs * gpu[:, None] - free[:, BESIDES]) / deviation
        short = deviation * (z * ndtr(z) + np.exp(-0.5 * np.minimum(np.abs(z), 38.0) ** 2) / SQRT_2_PI)
        return np.asarray((short / np.maximum(self._needs, TINY)).sum(axis=1) * (gpu > TOLERANCE))

    def of_choice(self, free: Floats, idle: Floats) -> Floats:
        """Return the claims of choosy bundles, as often as each fits, where ``free`` (n, 3) and ``idle`` GPUs are left.

        ``idle`` and what is returned have shape ``(n, k)``: of k cases.
        """
        fit = np.floor(idle[:, :, None] / np.maximum(self._choosy[:, GPU], 1.0))
        for resource in BESIDES:
            enough = (free[:, resource, None] + TOLERANCE) // np.maximum(self._choosy[:, resource], TINY)
            fit = np.minimum(fit, enough[:, None, :])
        return np.asarray((self._claims[:, None, :] * np.maximum(fit, 0.0)).sum(axis=2))


@lru_cache(maxsize=64)
def _of_part(sizes: tuple[int, ...], asked: tuple[float, ...], offers: float) -> Floats:
    """Return what a free part of a GPU is worth: half what it is filled at random, half what it is filled best."""
    units, shares = np.array(sizes, dtype=np.int64), np.array(asked)
    return (random_use(units, shares, offers) + best_use(units, shares)) / 2


@lru_cache(maxsize=256)
def _asked_of(coming: Coming, admitted: tuple[bool, ...]) -> _Asked:
    return coming.asked_of(admitted)


@lru_cache(maxsize=4)
def coming(demand: Demand, nodes: NodeTable, offers: float) -> Coming:
    """Return the mix of ``demand`` on ``nodes``, remembered."""
    return Coming(demand, nodes, offers)
