"""Why a job waits, and for how long it may. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from policies.feasibility import slots
from policies.interface import Floats, Grant, JobView, NodeTable, Resources


class Running(NamedTuple):
    """A job that runs: for how long yet (NaN: not known), and what it gives back then."""

    left_s: float
    bundle: Resources
    leases: Sequence[Grant]


def fits_in_s(view: JobView, nodes: NodeTable, running: Iterable[Running]) -> float:
    """Return after how long a job's least number of workers fits, as those that run end; NaN if that is not known.

    Who else waits is not counted: it is the earliest time.
    """
    free, device_free = nodes.free.copy(), nodes.device_free.copy()
    by_end = sorted(running, key=lambda one: math.inf if math.isnan(one.left_s) else one.left_s)
    if _fits(view, nodes):
        return 0.0
    for one in by_end:
        for lease in one.leases:
            if lease.node in nodes.row_of:
                row = nodes.row_of[lease.node]
                free[row] = np.minimum(free[row] + one.bundle.vector(), nodes.capacity[row])
                for device in lease.devices:
                    device_free[row, device] = min(device_free[row, device] + min(one.bundle.gpu, 1.0), 1.0)
        if _fits(view, _with(nodes, free, device_free)):
            return one.left_s
    return math.nan


def _with(nodes: NodeTable, free: Floats, device_free: Floats) -> NodeTable:
    return NodeTable.of(nodes.ids, nodes.capacity, free, device_free=device_free, labels=nodes.labels)


def _fits(view: JobView, nodes: NodeTable) -> bool:
    return bool(slots(view, nodes).sum() >= view.min_workers)
