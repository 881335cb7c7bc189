"""Beside bundles that ask for as many GPUs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from policies.interface import GPU, Claim, Floats, NodeTable, PlaceView
from policies.place.greedy import GreedyPlace, Largest, whole


class GpuClustering(GreedyPlace):
    """Put bundles that ask for as many GPUs together: parts with parts, pairs with pairs.

    For mixes in which a few sizes repeat, so that what one frees fits the next of its size. Among equal nodes the one
    with the least GPU free goes first. Bundles without GPUs go to the first node of an order that the seed fixes.

    The score is 75 on a node with leases of the bundle's size only, 50 where there are others too, 25 on a node
    without any, 0 beside others only; each plus ``25 (1 - free gpu / largest gpu)``, cut to a whole number.

    Cost: O(n) a worker; with a memo, only nodes that changed are scored.

    Parameters
    ----------
    gpu
        The GPUs of the largest node; greater than 0. Without it, the most that a node of the cluster has.

    Raises
    ------
    PolicyError
        If ``gpu`` is out of bounds.

    Source: the baseline GpuClustering of Weng et al., "Beware of fragmentation: scheduling GPU-sharing workloads with
    fragmentation gradient descent", USENIX ATC 2023.
    """

    name: ClassVar[str] = "gpu-clustering"
    source: ClassVar[str] = "Weng et al., USENIX ATC 2023 (GpuClustering)"

    def __init__(self, gpu: float | None = None) -> None:
        self.largest = Largest(None, gpu)

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score nodes with the same size first, 0 to 100; shape ``(n,)``."""
        bundle = claim.job.bundle
        if bundle.gpu <= 0:
            return np.zeros(len(nodes))
        _, largest = self.largest.of(view.nodes)
        sizes = (nodes.gpu_leases[:, 1:] > 0).sum(axis=1)
        same = nodes.gpu_leases[:, bundle.gpu_class] > 0
        group = np.where(same, np.where(sizes == 1, 75.0, 50.0), np.where(sizes == 0, 25.0, 0.0))
        return group + whole(25.0 - 25.0 * nodes.free[:, GPU] / largest)
