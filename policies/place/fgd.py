"""Where least is spoilt for the bundles that are to come."""

from __future__ import annotations

import math
from collections.abc import Hashable
from functools import lru_cache
from typing import ClassVar

import numpy as np

from policies.feasibility import TOLERANCE, devices_for, devices_with_room
from policies.interface import CPU, Claim, Demand, Floats, NodeTable, PlaceView, PolicyError, Resources
from policies.place.fragmentation import Mix
from policies.place.greedy import GreedyPlace

STEPS = np.array([math.log(k / (100 - k)) for k in range(1, 100)])
"""Where 100 times the logistic function passes 1, 2, ... 99; in GPUs."""


class FragmentationGradientDescent(GreedyPlace):
    """Put each worker on the node and GPU where it adds least to the GPUs that expected bundles cannot use.

    For clusters whose GPUs are nearly all asked for, where the mix of bundles is known (``demand`` of the view; the
    waiting jobs without it). It looks at each node alone and one bundle ahead.

    The fragmentation of a node is the free GPU that a bundle drawn from the mix could not use there: all of it where
    the bundle does not fit (or asks for no GPU), else what is free on GPUs with less room than it needs of each. The
    score is ``100 / (1 + exp(-decrease in GPUs))``, cut to a whole number, for a part of a GPU on the best of the
    node's GPUs. Memory is no part of the measure, only kept within its limits.

    Cost: O(n g) a worker for n nodes with g GPUs, whatever the size of the mix, which is summed up in tables
    beforehand; with a memo, only nodes that changed are scored.

    Parameters
    ----------
    cover
        The mix is cut to its most frequent bundles that make up this part of all; greater than 0, at most 1.

    Raises
    ------
    PolicyError
        If ``cover`` is out of bounds.

    Source: Weng, Yang, Yu, Wang, Tang, Yang and Zhang, "Beware of fragmentation: scheduling GPU-sharing workloads with
    fragmentation gradient descent", USENIX ATC 2023.
    """

    name: ClassVar[str] = "fgd"
    source: ClassVar[str] = "Weng et al., USENIX ATC 2023"

    def __init__(self, cover: float = 0.95) -> None:
        if isinstance(cover, bool) or not isinstance(cover, (int, float)) or not 0 < cover <= 1:
            raise PolicyError(f"cover must be greater than 0 and at most 1, but got cover={cover!r}")
        self.cover = float(cover)

    def key(self, claim: Claim, view: PlaceView) -> Hashable:
        """Return all that ``score`` depends on, but the nodes."""
        return (super().key(claim, view), _mix(view.demand, self.cover).key)

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score the largest decrease of fragmentation first, 0 to 100; shape ``(n,)``."""
        return np.asarray(self._by_device(claim.job.bundle, nodes, view).max(axis=1, initial=-np.inf))

    def devices(self, claim: Claim, node: NodeTable, view: PlaceView) -> tuple[int, ...]:
        """Choose the GPU with the best score for a part of one, the first of equals; the first whole ones otherwise."""
        bundle = claim.job.bundle
        if not 0 < bundle.gpu < 1:
            return devices_for(bundle, node.device_free[0])
        return (int(np.argmax(self._by_device(bundle, node, view)[0])),)

    def _by_device(self, bundle: Resources, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score a part of a GPU on each GPU, -infinity where it has no room, and all else in one column."""
        usable = _mix(view.demand, self.cover).on(nodes)
        cpu, room = nodes.free[:, CPU], nodes.device_free
        whole = room + TOLERANCE >= 1
        idle = whole.sum(axis=1, keepdims=True)
        can = usable.beside(cpu)
        before = (room * can.of_part(room)).sum(axis=1, keepdims=True) + idle * can.of_whole(idle)
        can = usable.beside(cpu - bundle.cpu)
        parts = room * can.of_part(room)
        after = parts.sum(axis=1, keepdims=True)
        if 0 < bundle.gpu < 1:
            rest = room - bundle.gpu
            after = after - parts + rest * can.of_part(rest)
            still = idle - whole
        else:
            after = after - bundle.gpu * can.of_part(np.ones((len(nodes), 1)))
            still = idle - int(bundle.gpu)
        after = after + still * can.of_whole(still)
        scores = _steps(bundle.gpu + after - before)
        if 0 < bundle.gpu < 1:
            scores[~devices_with_room(bundle, room)] = -np.inf
        return scores


def _steps(decrease: Floats) -> Floats:
    """Return 100 times the logistic function of ``decrease``, cut to a whole number."""
    return STEPS.searchsorted(decrease.round(9), side="right").astype(np.float64)


@lru_cache(maxsize=8)
def _mix(demand: Demand, cover: float) -> Mix:
    return Mix(demand, cover)
