"""What an autoscaler may add to a cluster, and what would fit there then. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from policies.feasibility import Room, devices_for, slots
from policies.interface import Floats, JobView, NodeTable, Resources

MOST_NEW = 10_000
"""How many new nodes are reckoned with at most."""

NODE_TYPE = "ray.io/node-group"
"""The label by which a node says of which of the autoscaler's types it is."""


@dataclass(frozen=True)
class NodeType:
    """A kind of node that an autoscaler may start, up to ``most`` at a time; ``least`` of them are always there."""

    name: str
    resources: Resources
    most: int
    labels: Mapping[str, str] = field(default_factory=dict)
    least: int = 0


@dataclass(frozen=True)
class Growth:
    """What an autoscaler may make of the cluster: its node types, and at most how many nodes of all, head included."""

    types: tuple[NodeType, ...] = ()
    most: int = 0

    def __str__(self) -> str:
        """Say it in a few words."""
        listed = ", ".join(f"{kind.most:,} of type {kind.name}" for kind in self.types)
        return f"{listed or 'none'}; {self.most:,} in all, with the head"


def num_fitting(job: JobView, nodes: NodeTable, growth: Growth) -> int:
    """Count how many of a job's least workers would fit on free ``nodes``, or on what may be made of them.

    Nodes that the autoscaler has started may go for those of another type.
    """
    here = int(min(slots(job, nodes).sum(), job.min_workers))
    if here == job.min_workers or not growth.types:
        return here
    return max(here, Space(_lasting(nodes, growth), growth).num_fitting(job, job.min_workers))


def with_each_type(nodes: NodeTable, growth: Growth) -> NodeTable:
    """Return the nodes, and one of each type that may be added."""
    return _with(nodes, [(f"of type {kind.name}", kind) for kind in growth.types])


class Space:
    """The room of a cluster with all that may be added to it: a job fills the nodes that are there, then new ones.

    New nodes are chosen as Ray's autoscaler does, one after the other: one without GPUs for who needs none, then the
    one that is used best (``_compute_score`` of ``ray.autoscaler.v2.scheduler``). Ray chooses for all jobs at a time,
    here each is on its own: where the number of nodes is short, the answer may differ.
    """

    def __init__(self, nodes: NodeTable, growth: Growth) -> None:
        self._types = growth.types
        self._left = min(max(growth.most - len(nodes), 0), MOST_NEW)
        there = Counter(nodes.labels.get(NODE_TYPE, ()))
        numbers = [min(max(kind.most - there[kind.name], 0), self._left) for kind in growth.types]
        table = _with(
            nodes,
            [
                (f"new {kind.name} {number}", kind)
                for kind, num in zip(growth.types, numbers, strict=True)
                for number in range(num)
            ],
        )
        self._room = Room(table)
        ends = (len(nodes) + np.cumsum(numbers, dtype=int)).tolist()
        self._unused = [range(end - num, end) for num, end in zip(numbers, ends, strict=True)]
        self._is_open = np.arange(len(table)) < len(nodes)

    def num_fitting(self, job: JobView, number: int) -> int:
        """Count how many of ``number`` workers of a job fit."""
        return sum(times for _, times in self._seats(job, number))

    def take(self, job: JobView, number: int) -> bool:
        """Take the room of some workers of a job, if it is there for all of them, and say whether it is."""
        seats = self._seats(job, number)
        if sum(times for _, times in seats) < number:
            return False
        for row, times in seats:
            self._left -= not self._is_open[row]
            self._is_open[row] = True
            for _ in range(times):
                self._room.hold(job.bundle, row, devices_for(job.bundle, self._room.device_free[row]))
        self._unused = [rows[int(self._is_open[rows.start : rows.stop].sum()) :] for rows in self._unused]
        return True

    def _seats(self, job: JobView, number: int) -> list[tuple[int, int]]:
        """Return rows, and how many workers each takes, until all have a seat or no row is left."""
        fit = np.minimum(slots(job, self._room.view()), number)
        rows = np.flatnonzero(self._is_open & (fit > 0))
        each = np.diff(np.minimum(fit[rows].cumsum(), number), prepend=0.0).astype(int).tolist()
        seats = [(row, times) for row, times in zip(rows.tolist(), each, strict=True) if times]
        missing, left, unused = number - sum(each), self._left, list(self._unused)
        while missing and left:
            able = [one for one, rows in enumerate(unused) if rows and fit[rows[0]]]
            if not able:
                break
            best = max(able, key=lambda one: _score(self._types[one], job, min(int(fit[unused[one][0]]), missing)))
            full = int(fit[unused[best][0]])
            new = unused[best][: min(max(missing // full, 1), left)]  # until the last one, the best stays the best
            unused[best], left = unused[best][len(new) :], left - len(new)
            seats += [(row, min(full, missing)) for row in new]
            missing -= min(full * len(new), missing)
        return seats


def _score(kind: NodeType, job: JobView, number: int) -> tuple[bool, float, float]:
    """Return how well ``number`` bundles of a job use a node of this type; the largest is the best."""
    pairs = zip(kind.resources.vector().tolist(), job.bundle.vector().tolist(), strict=True)
    used = [has * (number * wants / has) ** 3 for has, wants in pairs if 0 < has < math.inf] or [0.0]
    return not kind.resources.gpu or job.bundle.gpu > 0, min(used), sum(used) / len(used)


def _lasting(nodes: NodeTable, growth: Growth) -> NodeTable:
    """Return the nodes that never go: those that no autoscaler has started, and the least number of each type."""
    least = {kind.name: kind.least for kind in growth.types}
    seen, rows = Counter[str](), []
    for row, name in enumerate(nodes.labels.get(NODE_TYPE, ("",) * len(nodes))):
        seen[name] += 1
        if seen[name] <= least.get(name, math.inf):
            rows.append(row)
    return nodes.take(rows)


def _with(nodes: NodeTable, new: Sequence[tuple[str, NodeType]]) -> NodeTable:
    """Return the nodes, and empty ones of these names and types."""
    if not new:
        return nodes
    added = NodeTable.of([name for name, _ in new], np.array([kind.resources.vector() for _, kind in new]))
    names = {*nodes.labels, *(label for _, kind in new for label in kind.labels)}
    return NodeTable.of(
        (*nodes.ids, *added.ids),
        np.concatenate([nodes.capacity, added.capacity]),
        np.concatenate([nodes.free, added.free]),
        device_free=_one_below_the_other(nodes.device_free, added.device_free),
        labels={
            name: [*nodes.labels.get(name, ("",) * len(nodes)), *(kind.labels.get(name, "") for _, kind in new)]
            for name in names
        },
    )


def _one_below_the_other(above: Floats, below: Floats) -> Floats:
    """Return both as one table, as wide as the wider one, with 0 for what the other lacks."""
    width = max(above.shape[1], below.shape[1])
    return np.concatenate([np.pad(one, ((0, 0), (0, width - one.shape[1]))) for one in (above, below)])
