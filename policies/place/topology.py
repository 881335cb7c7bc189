"""Within one rack, zone or other domain."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np

from policies.interface import Claim, Ints, Memo, PlaceView, PolicyError, Slot, Unplaced, frozen
from policies.place.consolidate import Consolidate, gang_room
from policies.place.narrowed import fewest, narrowed


class Topology(Consolidate):
    """Keep the gang in the smallest domain of a label that takes it whole, and consolidate it in there.

    For gangs that are too large for a node where the network within a rack or zone is faster or cheaper than between
    them. A domain is all nodes with one value of the label; a node without the label is a domain by itself. Where no
    domain takes the gang, it goes to as few domains as possible: as in Kueue's *preferred* mode, and other than in
    its *required* mode, nobody waits. There is one level of domains; the nodes are the level below.

    Parameters
    ----------
    label
        The label of nodes that names their domain, such as ``rack``; by default the zone as Ray labels it.

    Raises
    ------
    PolicyError
        If the label is no text, or empty.

    Cost: O(n); then as ``consolidate``, in the chosen domains.

    Source: topology-aware scheduling ("BestFit") of Kueue, Kubernetes SIG Scheduling, KEP-2724, 2024; locality
    domains of Jeon et al., "Analysis of large-scale multi-tenant GPU clusters for DNN training workloads", USENIX
    ATC 2019.
    """

    name: ClassVar[str] = "topology"
    source: ClassVar[str] = "Kueue, KEP-2724, 2024; Philly, USENIX ATC 2019"

    def __init__(self, label: str = "ray.io/availability-zone") -> None:
        if not isinstance(label, str) or not label:
            raise PolicyError(f"label must be the name of a label, but got label={label!r}")
        self.label = label

    def place(self, claim: Claim, view: PlaceView, memo: Memo | None = None) -> tuple[Slot, ...] | Unplaced:
        """Return the slot of each worker, up to ``max_workers``; under ``min_workers``, why not."""
        nodes = view.nodes
        room = gang_room(claim, nodes, memo)
        wanted = min(claim.max_workers, room.sum())
        if not claim.min_workers <= wanted or not wanted:
            return super().place(claim, view, memo)
        domain = _domains(nodes.labels.get(self.label, ("",) * len(nodes)), nodes.ids)
        rooms = np.bincount(domain, room).astype(np.float64)
        rows = np.flatnonzero(np.isin(domain, fewest(rooms, wanted, np.arange(len(rooms)))))
        return narrowed(super().place, claim, view, rows)


@lru_cache(maxsize=8)
def _domains(values: tuple[str, ...], ids: tuple[str, ...]) -> Ints:
    """Return the number of each node's domain (the label's value, or else the node itself), by name; shape ``(n,)``."""
    names = [(value, "" if value else node) for value, node in zip(values, ids, strict=True)]
    number = {name: at for at, name in enumerate(sorted(set(names)))}
    return frozen([number[name] for name in names], np.int64)
