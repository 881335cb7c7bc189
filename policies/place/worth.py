"""What the free resources of nodes are worth to the bundles that are to come, in GPUs."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, pdtrc

from policies.feasibility import TOLERANCE
from policies.interface import CPU, GPU, MEMORY, Demand, Floats, Ints, NodeTable
from policies.place.filling import UNITS, best_use, random_use

BESIDES = [CPU, MEMORY]
"""What a bundle needs beside GPUs."""

TINY = 1e-9
"""Keeps divisors from 0 where nothing is asked for, or nothing varies."""

SQRT_2_PI = np.sqrt(2 * np.pi)


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
    choosy
        Rows of the bundles that may find no room while others do: with several GPUs, or with labels to insist on.
    key
        Equal for equal mixes.
    """

    def __init__(self, demand: Demand, offers: float) -> None:
        rows = np.flatnonzero((demand.bundles[:, GPU] > 0) & (demand.weights > 0)).tolist()
        labels = [tuple(sorted(demand.selectors[row].items())) for row in rows]
        ranked = sorted(zip(demand.bundles[rows].tolist(), labels, demand.weights[rows].tolist(), strict=True))
        self.bundles: Floats = np.array([bundle for bundle, _, _ in ranked]).reshape(-1, 3)
        shares = np.array([weight for _, _, weight in ranked])
        self.shares: Floats = shares / max(shares.sum(), np.finfo(float).tiny)
        self.selectors = tuple(dict(selector) for _, selector, _ in ranked)
        self.key = blake2b(repr((ranked, offers)).encode(), digest_size=16).digest()
        insists = np.array([bool(selector) for selector in self.selectors], dtype=bool)
        self.choosy: Ints = np.flatnonzero(insists | (self.bundles[:, GPU] > 1))
        self._group = self._shares_of_groups()
        self._offers = offers
        self._labels = sorted({label for selector in self.selectors for label in selector})

    def _shares_of_groups(self) -> Floats:
        """Return for each choosy bundle how often one comes with as many GPUs and the same labels."""
        kinds = [
            (max(self.bundles[row, GPU], 1.0), repr(sorted(self.selectors[row].items())))
            for row in self.choosy.tolist()
        ]
        share: defaultdict[tuple[float, str], float] = defaultdict(float)
        for kind, row in zip(kinds, self.choosy.tolist(), strict=True):
            share[kind] += float(self.shares[row])
        return np.array([share[kind] for kind in kinds])

    def prices(self, slots: Ints, gpus: float) -> Floats:
        """Return what one slot of each choosy bundle is worth, in GPUs, by Littlewood's rule.

        A slot is worth the bundle's GPUs, times the probability that it will be needed: that as many come of its group
        as there are slots, before what is free is used up; their number is Poisson distributed. Within a group, a
        bundle counts by its share.

        Parameters
        ----------
        slots
            How often each choosy bundle fits in the cluster.
        gpus
            How many GPUs are free.
        """
        mine = self.shares[self.choosy] / np.maximum(self._group, TINY) * self.bundles[self.choosy, GPU]
        num_coming = gpus / max((self.shares * self.bundles[:, GPU]).sum(), TINY) if len(self.shares) else 0.0
        return np.asarray(mine * pdtrc(np.maximum(slots, 1) - 1.0, num_coming * self._group))

    def on(self, nodes: NodeTable) -> Worth:
        """Return what free resources are worth on each of ``nodes``."""
        if not self._labels or not len(nodes):
            return Worth(self, _asked_of(self, (("",) * len(self._labels),)), np.zeros(1, dtype=np.int64))
        nothing = ("",) * len(nodes)
        found = list(zip(*(nodes.labels.get(label, nothing) for label in self._labels), strict=True))
        number = {values: kind for kind, values in enumerate(dict.fromkeys(found))}
        kinds = np.fromiter(map(number.__getitem__, found), dtype=np.int64, count=len(nodes))
        return Worth(self, _asked_of(self, tuple(number)), kinds)

    def asked_of(self, values: tuple[str, ...]) -> _Asked:
        """Return what is asked of nodes with these values of the labels in question."""
        have = dict(zip(self._labels, values, strict=True))
        admitted = [all(have[label] in asked for label, asked in one.items()) for one in self.selectors]
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
        return _Asked(of_part, needs, deviation, able[self.choosy])


class _Asked(NamedTuple):
    """What is asked of nodes that admit the same bundles; of several kinds of nodes, one row a kind.

    The worth of a GPU's free part, by its units; how much of CPU and memory goes with a GPU, and the standard deviation
    of that; and which choosy bundles are admitted.
    """

    of_part: Floats
    needs: Floats
    deviation: Floats
    choosy: NDArray[np.bool_]


class Worth:
    """What free resources of some nodes are worth to the bundles that are to come.

    Parameters
    ----------
    coming
        The mix.
    asked
        What it asks of each kind of nodes.
    kinds
        Of which kind each node is; length n, or 1 where all are of one.
    """

    def __init__(self, coming: Coming, asked: _Asked, kinds: Ints) -> None:
        self._of_part, self._start = asked.of_part.ravel(), kinds[:, None] * (UNITS + 1)
        self._needs, self._deviation, self._admitted = asked.needs[kinds], asked.deviation[kinds], asked.choosy[kinds]
        self._choosy = coming.bundles[coming.choosy]

    def of_parts(self, room: Floats) -> Floats:
        """Return what free parts of GPUs are worth if nothing else is short; shape ``(n, g)``, as ``room``."""
        units = np.clip(((room + TOLERANCE) * UNITS).astype(np.int64), 0, UNITS)
        return np.asarray(self._of_part[self._start + units])

    def stranded(self, free: Floats, gpu: Floats) -> Floats:
        """Return how many of ``gpu`` (n,) free GPUs will lack the CPU or the memory that is ``free`` (n, 3).

        What the bundles that fill them need is taken to be normally distributed; each of the two is counted by itself.
        """
        deviation = np.maximum(self._deviation * np.sqrt(np.maximum(gpu, 0.0))[:, None], TINY)
        z = (self._needs * gpu[:, None] - free[:, BESIDES]) / deviation
        short = deviation * (z * ndtr(z) + np.exp(-0.5 * np.minimum(np.abs(z), 38.0) ** 2) / SQRT_2_PI)
        short = np.where(self._needs > TINY, short / np.maximum(self._needs, TINY), 0.0)
        return np.asarray(short.sum(axis=1) * (gpu > TOLERANCE))

    def slots(self, free: Floats, idle: Ints) -> NDArray[np.int16]:
        """Count how often each choosy bundle fits where ``free`` (n, 3) is left and, in k cases, ``idle`` (n, k) GPUs.

        Who insists on labels and asks for a part of a GPU is counted once on an idle one. Returns shape ``(n, k, d)``.
        """
        beside = np.full((len(free), len(self._choosy)), np.inf)
        for resource in BESIDES:
            needs = np.maximum(self._choosy[:, resource], TINY)
            np.minimum(beside, (free[:, resource, None] + TOLERANCE) / needs, out=beside)
        beside = np.maximum(beside, 0.0) * self._admitted
        fit = np.maximum(idle, 0)[:, :, None] / np.maximum(self._choosy[:, GPU], 1.0)
        return np.asarray(np.minimum(fit, beside[:, None, :]), dtype=np.int16)


@lru_cache(maxsize=64)
def _of_part(sizes: tuple[int, ...], asked: tuple[float, ...], offers: float) -> Floats:
    """Return what a free part of a GPU is worth: half what it is filled at random, half what it is filled best."""
    units, shares = np.array(sizes, dtype=np.int64), np.array(asked)
    return (random_use(units, shares, offers) + best_use(units, shares)) / 2


@lru_cache(maxsize=64)
def _asked_of(coming: Coming, kinds: tuple[tuple[str, ...], ...]) -> _Asked:
    """Return what is asked of each kind of nodes, which are told apart by the values of labels."""
    rows = [coming.asked_of(values) for values in kinds]
    return _Asked(*(np.stack(column) for column in zip(*rows, strict=True)))


@lru_cache(maxsize=4)
def coming(demand: Demand, offers: float) -> Coming:
    """Return the mix of ``demand``, remembered."""
    return Coming(demand, offers)
