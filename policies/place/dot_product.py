"""Where what is free is least like what is asked."""

from __future__ import annotations

from typing import ClassVar

from policies.interface import CPU, GPU, Claim, Floats, NodeTable, PlaceView
from policies.place.greedy import GreedyPlace, Largest, whole


class DotProduct(GreedyPlace):
    """Put each worker on the node whose free CPU and GPU have the smallest dot product with the bundle.

    It keeps apart what is free in the same proportions as the bundle, and so packs along the resource that is asked
    for most. Memory is not weighed, only kept within its limits. Tetris itself prefers the *largest* product, which
    spreads; the smallest is what the comparison below ran, and what its figures are of.

    The score is ``100 (1 - (free cpu x cpu / largest cpu ** 2 + free gpu x gpu / largest gpu ** 2) / 2)``, cut to a
    whole number.

    Cost: O(n) a worker; with a memo, only nodes that changed are scored.

    Parameters
    ----------
    cpu, gpu
        What counts as 1; greater than 0. Without it, the most that a node of the cluster has.

    Raises
    ------
    PolicyError
        If ``cpu`` or ``gpu`` is out of bounds.

    Source: the baseline DotProd of Weng et al., "Beware of fragmentation: scheduling GPU-sharing workloads with
    fragmentation gradient descent", USENIX ATC 2023; after Grandl, Ananthanarayanan, Kandula, Rao and Akella,
    "Multi-resource packing for cluster schedulers" (Tetris), SIGCOMM 2014.
    """

    name: ClassVar[str] = "dot-product"
    source: ClassVar[str] = "Weng et al., USENIX ATC 2023 (DotProd), after Grandl et al., SIGCOMM 2014"

    def __init__(self, cpu: float | None = None, gpu: float | None = None) -> None:
        self.largest = Largest(cpu, gpu)

    def score(self, claim: Claim, nodes: NodeTable, view: PlaceView) -> Floats:
        """Score the smaller product first, 0 to 100; shape ``(n,)``."""
        cpu, gpu = self.largest.of(view.nodes)
        bundle = claim.job.bundle
        product = nodes.free[:, CPU] * (bundle.cpu / cpu**2) + nodes.free[:, GPU] * (bundle.gpu / gpu**2)
        return whole(100.0 - 50.0 * product)
