"""On GPUs in use before free GPUs, on nodes in use before free nodes."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from policies.feasibility import TOLERANCE, devices_with_room
from policies.interface import GPU, Claim, Floats, NodeTable, PlaceView
from policies.place.greedy import GreedyPlace


class GpuPacking(GreedyPlace):
    """Fill GPUs that are shared already, then free GPUs of nodes in use, and touch free nodes last.

    For clusters on which many jobs take a part of a GPU: whole GPUs and whole nodes stay free for those who need them.
    Bundles without GPUs go to the first node of an order that the seed fixes.

    On shared GPUs the score is 100 less one for each tenth of the GPU that is free; on free GPUs of a node in use, 50
    less the number of GPUs; on a free node, 33 less its number of GPUs.

    Cost: O(n g) a worker for n nodes with g GPUs; with a memo, only nodes that changed are scored.

    Source: the baseline GpuPacking of Weng et al., "Beware of fragmentation: scheduling GPU-sharing workloads with
    fragmentation gradient descent", USENIX ATC 2023.
    """

    name: ClassVar[str] = "gpu-packing"
    source: ClassVar[str] = "Weng et al., USENIX ATC 2023 (GpuPacking)"

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score GPUs in use first, then nodes in use, 0 to 100; shape ``(n,)``."""
        bundle, free = claim.job.bundle, nodes.device_free
        if bundle.gpu <= 0:
            return np.zeros(len(nodes))
        idle = (free + TOLERANCE >= 1).sum(axis=1)
        on_idle_node = np.maximum(33.0 - idle, 0.0)
        on_idle_gpus = max(50.0 - math.ceil(bundle.gpu), 33.0)
        scores = np.where(idle + TOLERANCE >= nodes.capacity[:, GPU], on_idle_node, on_idle_gpus)
        if bundle.gpu >= 1:
            return scores
        tightest = np.where(devices_with_room(bundle, free), free, np.inf).min(axis=1)
        return np.where(tightest + TOLERANCE < 1, 100.0 - np.floor(10.0 * tightest + TOLERANCE), scores)
