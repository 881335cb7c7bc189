"""Where least is left over."""

from __future__ import annotations

from typing import ClassVar

from policies.interface import CPU, GPU, Claim, Floats, NodeTable, PlaceView
from policies.place.greedy import GreedyPlace, Largest, whole


class BestFit(GreedyPlace):
    """Put each worker on the node that has the least CPU and GPU left over with it.

    A sound choice where little is known of what comes next. Memory is not weighed, only kept within its limits.

    The score is ``100 (1 - (cpu left / largest cpu + gpu left / largest gpu) / 2)``, cut to a whole number: nodes
    that differ by less than one hundredth count as equal.

    Cost: O(n) a worker; with a memo, only nodes that changed are scored.

    Parameters
    ----------
    cpu, gpu
        What counts as 1; greater than 0. Without it, the most that a node of the cluster has.

    Raises
    ------
    PolicyError
        If ``cpu`` or ``gpu`` is out of bounds.

    Source: the baseline BestFit of Weng et al., "Beware of fragmentation: scheduling GPU-sharing workloads with
    fragmentation gradient descent", USENIX ATC 2023, with its weights; best fit in many dimensions is Panigrahy,
    Talwar, Uyeda and Wieder, "Heuristics for vector bin packing", Microsoft Research 2011.
    """

    name: ClassVar[str] = "best-fit"
    source: ClassVar[str] = "Weng et al., USENIX ATC 2023 (BestFit)"

    def __init__(self, cpu: float | None = None, gpu: float | None = None) -> None:
        self.largest = Largest(cpu, gpu)

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score the smaller weighted rest first, 0 to 100; shape ``(n,)``."""
        cpu, gpu = self.largest.of(view.nodes)
        bundle = claim.job.bundle
        rest = (nodes.free[:, CPU] - bundle.cpu) / cpu + (nodes.free[:, GPU] - bundle.gpu) / gpu
        return whole(100.0 - 50.0 * rest)
