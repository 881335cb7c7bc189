"""What the jobs want of the cluster's autoscaler: the bundles to ask it for, and what it may still add. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from policies.feasibility import Room, devices_for, slots
from policies.interface import Floats, JobView, NodeTable, Resources
from policies.order.tenancy import Quotas, tenants_of
from scheduler.ledger import Ledger

MOST_BUNDLES = 10_000
"""How many bundles are asked for at most: the autoscaler places each of them, on every node that there is."""

NODE_TYPE = "ray.io/node-group"
"""The label by which a node says of which of the autoscaler's types it is."""


@dataclass(frozen=True)
class NodeType:
    """A kind of node that an autoscaler may start, up to ``most`` at a time."""

    name: str
    resources: Resources
    most: int
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Growth:
    """What an autoscaler may make of the cluster: its node types, and at most how many nodes of all, head included."""

    types: tuple[NodeType, ...] = ()
    most: int = 0


class Wanted(NamedTuple):
    """A number of equal bundles; what is used is wanted on the ``node`` where it is, the rest on any that fits."""

    bundle: Resources
    number: int
    selector: tuple[tuple[str, tuple[str, ...]], ...] = ()
    node: str = ""


def bundles(ledger: Ledger, nodes: NodeTable, growth: Growth | None) -> tuple[Wanted, ...]:
    """Return what the cluster must have room for now: what is in use, and the least workers of those that wait.

    Nothing is wanted where no job waits or runs, and nothing so that a job may grow. What is in use is wanted where it
    is, one bundle a node, or the autoscaler would count on room that is split up among nodes, or taken by others than
    our jobs. A job is left out that would not fit beside those before it, however many nodes were added (it must wait
    for others to end), or that its tenant's quota does not allow: Ray's autoscaler adds nothing at all where a part of
    what it is asked for cannot be had.

    Parameters
    ----------
    growth
        What may be added; None if that is not known, and everybody is taken to fit.
    """
    if not ledger.num_waiting and not ledger.num_running:
        return ()
    used = [Wanted(bundle, 1, node=node) for node, bundle in _in_use(nodes)][:MOST_BUNDLES]
    left, kinds = MOST_BUNDLES - len(used), Counter[tuple[Resources, tuple[tuple[str, tuple[str, ...]], ...]]]()
    for job, number in _fitting(ledger, nodes, growth):
        if number > left:
            break
        kinds[job.bundle_class] += number
        left -= number
    return (*used, *(Wanted(bundle, number, selector) for (bundle, selector), number in kinds.items()))


def could_fit(job: JobView, nodes: NodeTable, growth: Growth | None) -> bool:
    """Say whether a job's least workers would fit on free ``nodes`` and all that may be added to them."""
    return growth is None or _Space(nodes, growth).take(job, job.min_workers)


def _in_use(nodes: NodeTable) -> Iterator[tuple[str, Resources]]:
    used = np.maximum(nodes.capacity - nodes.free, 0.0)
    for row in np.flatnonzero(used.any(axis=1)):
        cpu, gpu, memory = used[row].tolist()
        yield nodes.ids[row], Resources(cpu, gpu, memory)


def _fitting(ledger: Ledger, nodes: NodeTable, growth: Growth | None) -> Iterator[tuple[JobView, int]]:
    """Yield the jobs that lack workers, and how many, as far as they fit beside those before; those that run first."""
    quotas = Quotas(tenants_of(ledger.snapshot(nodes, 0.0, 0)))
    quotas.lend()
    space = None if growth is None else _Space(nodes, growth)
    lacking = []
    for job in ledger.running:
        held = len(ledger.leases(job.id))
        quotas.take(job, held)
        if held < job.min_workers:
            lacking.append((job, job.min_workers - held))
    refused: dict[object, int] = {}
    for job, number in (*lacking, *((job, job.min_workers) for job in ledger.waiting)):
        if number >= refused.get(job.bundle_class, math.inf) or not quotas.take(job, number):
            continue
        if space is None or space.take(job, number):
            yield job, number
        else:
            refused[job.bundle_class] = number
            quotas.take(job, -number)


class _Space:
    """The room of a cluster with all the nodes that may be added: those that are there are filled first."""

    def __init__(self, nodes: NodeTable, growth: Growth) -> None:
        self._table = _with_additions(nodes, growth)
        self._room = Room(self._table)
        self._is_open = np.arange(len(self._table)) < len(nodes)
        self._left = max(growth.most - len(nodes), 0)

    def take(self, job: JobView, number: int) -> bool:
        """Take the room of some workers of a job, if it is there for all of them, and say whether it is."""
        most = np.minimum(slots(job, self._room.view()), number)
        rows = np.flatnonzero(most > 0)
        rows = np.concatenate([rows[self._is_open[rows]], rows[~self._is_open[rows]][: self._left]])
        together = np.minimum(most[rows].cumsum(), number)
        if not len(rows) or together[-1] < number:
            return False
        for row, times in zip(rows.tolist(), np.diff(together, prepend=0.0).astype(int).tolist(), strict=True):
            if times:
                self._left -= not self._is_open[row]
                self._is_open[row] = True
            for _ in range(times):
                self._room.hold(job.bundle, row, devices_for(job.bundle, self._room.device_free[row]))
        return True


def _with_additions(nodes: NodeTable, growth: Growth) -> NodeTable:
    """Return the nodes, and as many empty ones of each type as may be added if no other type is."""
    there = Counter(nodes.labels.get(NODE_TYPE, ()))
    most = min(max(growth.most - len(nodes), 0), MOST_BUNDLES)
    new = [kind for kind in growth.types for _ in range(min(max(kind.most - there[kind.name], 0), most))]
    if not new:
        return nodes
    added = NodeTable.of(
        [f"new {number}" for number in range(len(new))], np.array([kind.resources.vector() for kind in new])
    )
    names = {*nodes.labels, *(name for kind in growth.types for name in kind.labels)}
    labels = {
        name: [*nodes.labels.get(name, ("",) * len(nodes)), *(kind.labels.get(name, "") for kind in new)]
        for name in names
    }
    return NodeTable.of(
        (*nodes.ids, *added.ids),
        np.concatenate([nodes.capacity, added.capacity]),
        np.concatenate([nodes.free, added.free]),
        device_free=_one_below_the_other(nodes.device_free, added.device_free),
        labels=labels,
    )


def _one_below_the_other(above: Floats, below: Floats) -> Floats:
    """Return both as one table, as wide as the wider one, with 0 for what the other lacks."""
    width = max(above.shape[1], below.shape[1])
    return np.concatenate([np.pad(one, ((0, 0), (0, width - one.shape[1]))) for one in (above, below)])
