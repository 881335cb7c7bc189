"""The nodes of a cluster by kind: what jobs share out among each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from policies.tables import NodeTable, frozen
from policies.views import ClusterSnapshot


@dataclass(frozen=True)
class Pools:
    """The nodes of each kind.

    Attributes
    ----------
    kinds
        Their names, sorted; length k.
    tables
        The nodes of each by id, as they are.
    cleared
        The same without the leases of the snapshot's jobs: everything that these have or may have is free.
    kind_of
        Node id -> the column of its kind.
    """

    kinds: tuple[str, ...]
    tables: tuple[NodeTable, ...]
    cleared: tuple[NodeTable, ...]
    kind_of: dict[str, int]

    @classmethod
    def of(cls, snapshot: ClusterSnapshot) -> Pools:
        """Sort the nodes of a snapshot into kinds."""
        nodes = snapshot.nodes
        kinds = tuple(sorted(set(nodes.kinds)))
        column = {kind: k for k, kind in enumerate(kinds)}
        by_kind: list[list[int]] = [[] for _ in kinds]
        for row in sorted(range(len(nodes)), key=nodes.ids.__getitem__):
            by_kind[column[nodes.kinds[row]]].append(row)
        cleared = _cleared(snapshot)
        return cls(
            kinds,
            tuple(nodes.take(rows) for rows in by_kind),
            tuple(cleared.take(rows) for rows in by_kind),
            {node: column[kind] for node, kind in zip(nodes.ids, nodes.kinds, strict=True)},
        )


def _cleared(snapshot: ClusterSnapshot) -> NodeTable:
    """Return the nodes without the leases of the snapshot's jobs."""
    nodes = snapshot.nodes
    if not snapshot.leases:
        return nodes
    bundles = {job.id: job.bundle for job in snapshot.jobs}
    row_of = nodes.row_of
    leases = sorted(snapshot.leases, key=lambda lease: (lease.job, lease.worker))  # sums in an order of their own
    leases = [lease for lease in leases if lease.job in bundles and lease.node in row_of]
    free, device_free, counts = nodes.free.copy(), nodes.device_free.copy(), nodes.gpu_leases.copy()
    rows = np.array([row_of[lease.node] for lease in leases], dtype=np.int64)
    held = [bundles[lease.job] for lease in leases]
    np.add.at(free, rows, np.array([(bundle.cpu, bundle.gpu, bundle.memory) for bundle in held]).reshape(-1, 3))
    classes = np.array([bundle.gpu_class for bundle in held], dtype=np.int64)
    np.subtract.at(counts, (rows, classes), 1)
    devices = [
        (row, device, min(bundle.gpu, 1.0))
        for row, lease, bundle in zip(rows.tolist(), leases, held, strict=True)
        for device in lease.devices
    ]
    if devices:
        where, which, part = zip(*devices, strict=True)
        np.add.at(device_free, (where, which), part)
    return replace(nodes, free=frozen(free), device_free=frozen(device_free), gpu_leases=frozen(counts, np.int64))
