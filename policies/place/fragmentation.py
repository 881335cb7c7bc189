"""How much of a node's free GPUs bundles that are drawn from a mix can use, looked up in tables."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from policies.feasibility import TOLERANCE
from policies.interface import CPU, GPU, Demand, Floats, Ints, NodeTable

Labels = tuple[tuple[str, tuple[str, ...]], ...]


class Mix:
    """The most frequent bundles of a demand, by CPU, GPU and selector; memory does not count.

    Parameters
    ----------
    demand
        The mix.
    cover
        It is cut to its most frequent bundles that make up this part of all, 0 to 1.

    Attributes
    ----------
    bundles
        CPU and GPU of each class, shape ``(d, 2)``.
    weights
        How often each is asked for; length d, sum 1 (0 without any).
    selectors
        The labels that each insists on, length d.
    key
        Equal for equal mixes.
    """

    def __init__(self, demand: Demand, cover: float) -> None:
        typical = _typical(demand, cover)
        weights = np.array([weight for _, weight in typical])
        self.bundles: Floats = np.array([bundle for (bundle, _), _ in typical]).reshape(-1, 2)
        self.weights: Floats = weights / weights.sum() if len(typical) else weights
        self.selectors: tuple[Labels, ...] = tuple(selector for (_, selector), _ in typical)
        self.key = blake2b(repr(typical).encode(), digest_size=16).digest()
        self._labels = sorted({label for selector in self.selectors for label, _ in selector})
        cpu, gpu = self.bundles.T
        self.cpus, self.parts, self.wholes = (np.unique(x) for x in (cpu, gpu[(gpu > 0) & (gpu < 1)], gpu[gpu >= 1]))

    def on(self, nodes: NodeTable) -> Usable:
        """Return what the mix can use on each of ``nodes``, given what is free there."""
        nothing = ("",) * len(nodes)
        found = list(zip(*(nodes.labels.get(label, nothing) for label in self._labels), strict=True))
        number = {values: kind for kind, values in enumerate(dict.fromkeys(found or [()]))}
        kinds = np.fromiter(map(number.__getitem__, found or [()] * len(nodes)), dtype=np.int64, count=len(nodes))
        return Usable(self, kinds, *_stacked(self, tuple(number)))

    def admitted(self, values: tuple[str, ...]) -> NDArray[np.bool_]:
        """Say of every class whether its selector admits a node with these values of the labels in question."""
        have = dict(zip(self._labels, values, strict=True))
        return np.array([all(have[label] in asked for label, asked in one) for one in self.selectors], dtype=bool)


class Usable:
    """What a mix can use of the free GPUs of some nodes.

    A bundle can use nothing of a node where it does not fit or asks for no GPU, else what is free on the GPUs with as
    much room as it needs of each. The mean over the mix is a sum over GPUs: those who ask for a part of one can use a
    GPU by its own room (``of_part``), those who ask for whole ones each idle GPU, if enough are idle (``of_whole``).
    """

    def __init__(self, mix: Mix, kinds: Ints, part: Floats, whole: Floats) -> None:
        self._mix, self._kinds, self._part, self._whole = mix, kinds, part, whole

    def beside(self, cpu: Floats) -> UsableBeside:
        """Return what the mix can use where ``cpu`` (n,) is free."""
        at = self._kinds * self._part.shape[1] + self._mix.cpus.searchsorted(cpu + TOLERANCE, side="right")
        return UsableBeside(self._mix, at[:, None], self._part, self._whole)


class UsableBeside:
    """What a mix can use of the free GPUs of some nodes, with what is free of their CPUs."""

    def __init__(self, mix: Mix, at: Ints, part: Floats, whole: Floats) -> None:
        self._mix, self._at, self._part, self._whole = mix, at, part, whole

    def of_part(self, room: Floats) -> Floats:
        """Return how likely a part of a GPU is asked for that fits where ``room`` (n, g) is free."""
        return self._look_up(self._part, self._mix.parts, room)

    def of_whole(self, idle: Floats) -> Floats:
        """Return how likely whole GPUs are asked for that fit where ``idle`` GPUs (n, m) are free."""
        return self._look_up(self._whole, self._mix.wholes, idle)

    def _look_up(self, table: Floats, levels: Floats, amount: Floats) -> Floats:
        column = levels.searchsorted(amount + TOLERANCE, side="right")
        return np.asarray(table.ravel()[self._at * table.shape[2] + column])


@lru_cache(maxsize=256)
def _stacked(mix: Mix, kinds: tuple[tuple[str, ...], ...]) -> tuple[Floats, Floats]:
    """Return the tables of ``_tables`` for several values of the labels, one below the other."""
    parts, wholes = zip(*(_tables(mix, values) for values in kinds), strict=True)
    return np.stack(parts), np.stack(wholes)


@lru_cache(maxsize=256)
def _tables(mix: Mix, values: tuple[str, ...]) -> tuple[Floats, Floats]:
    """Sum up weights by free CPU and a GPU's free part, and by free CPU and the number of idle GPUs.

    Entry (i, j) is of the bundles that ask for no more than the i-th amount of CPU and the j-th of GPU, counted from 1.
    """
    (cpu, gpu), able = mix.bundles.T, mix.admitted(values)
    tables = []
    for levels, asks in ((mix.parts, (gpu > 0) & (gpu < 1)), (mix.wholes, gpu >= 1)):
        table = np.zeros((len(mix.cpus) + 1, len(levels) + 1))
        picked = able & asks
        cell = np.searchsorted(mix.cpus, cpu[picked]) + 1, np.searchsorted(levels, gpu[picked]) + 1
        np.add.at(table, cell, mix.weights[picked])
        tables.append(table.cumsum(axis=0).cumsum(axis=1))
    return tables[0], tables[1]


def _typical(demand: Demand, cover: float) -> list[tuple[tuple[tuple[float, float], Labels], float]]:
    """Return CPU, GPU and selector of the most frequent bundles with their weights, most frequent first."""
    counted: defaultdict[tuple[tuple[float, float], Labels], float] = defaultdict(float)
    order = np.lexsort((*demand.bundles.T, demand.weights))  # sums do not depend on the order of the rows
    for row in order.tolist():
        cpu, gpu = float(demand.bundles[row, CPU]), float(demand.bundles[row, GPU])
        counted[(cpu, gpu), tuple(sorted(demand.selectors[row].items()))] += float(demand.weights[row])
    ranked = sorted(
        ((kind, weight) for kind, weight in counted.items() if weight > 0), key=lambda one: (one[1], one[0])
    )
    kept, left = [], cover * math.fsum(counted.values()) * (1 - 1e-9)  # as a part: weights are in any unit
    while left > 0 and ranked:
        kept.append(ranked.pop())
        left -= kept[-1][1]
    return kept
