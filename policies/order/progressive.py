"""Progressive filling of a cluster, by the dominant shares of a tree of tenants."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from policies.feasibility import TOLERANCE
from policies.interface import Floats, JobView, Tenant
from policies.order.tenancy import lineage

Permit = Callable[[JobView, int], bool]
"""Says whether a job may have so many more workers, and counts them if so.

Whom it refuses it refuses as long as one ``fill`` lasts, and so it does any job of the same tenant and class of bundles
that wants as many, or more.
"""


class _Node:
    """A tenant, or the jobs of a tenant that has parts as well."""

    def __init__(self, name: str, weight: float, total: Floats) -> None:
        self.name, self.weight, self.total = name, weight, total
        self.turn = 0.0
        self.parent: _Node | None = None
        self.children: list[_Node] = []
        self.heap: list[tuple[float, float, str, _Node]] = []  # children that can use more, the poorest first
        self.used: Floats = np.zeros_like(total)
        self.blocked = False
        self.queue: deque[JobView] = deque()
        self.growing: deque[JobView] = deque()
        self.refused: dict[object, int] = {}  # class of bundles -> the least workers that were not permitted

    @property
    def share(self) -> float:
        """The dominant share."""
        shares = np.divide(self.used, self.total, out=np.zeros_like(self.used), where=self.total > 0)
        return float(shares.max(initial=0.0))

    @property
    def key(self) -> tuple[float, float, str, _Node]:
        """What sorts siblings: the poorest by weight first; equals by their turns, then by name."""
        return self.share / self.weight, self.turn, self.name, self

    def adopt(self, child: _Node) -> None:
        """Make another node a part of this one."""
        child.parent = self
        self.children.append(child)

    def prepare(self) -> None:
        """Add up all that is below, for the first time."""
        for child in self.children:
            child.prepare()
        self.turn = min((child.turn for child in self.children), default=self.turn)
        self.heap = [child.key for child in self.children if not child.blocked]
        heapq.heapify(self.heap)
        self.add_up()

    def add_up(self) -> None:
        """Work out what is used, and whether more can be, from the children."""
        if not self.children:
            return
        self.blocked = not self.heap
        poorest = self.heap[0][0] if self.heap else 0.0
        self.used = np.zeros_like(self.total)
        for child in self.children:
            share = child.share
            self.used = self.used + child.used * (1.0 if child.blocked or not share else poorest * child.weight / share)


class ProgressiveFilling:
    """Hand out what is free to the poorest of the tenants, again and again: a job's least workers, or one more.

    Parameters
    ----------
    jobs
        Those that may have workers; of one tenant's the first comes first.
    tenants
        The tree.
    total, free
        What shares are shares of, and what is handed out; shape ``(3,)``.
    room
        How many workers of a job can be placed at most.
    used
        Tenant -> what its jobs have that are not among ``jobs``.
    turns
        Tenant -> who goes first where shares are equal, the lowest one; by name without them.

    Attributes
    ----------
    workers
        Job -> its number of workers, in the order in which they got their first; those without are not there.
    """

    def __init__(
        self,
        jobs: Sequence[JobView],
        tenants: Mapping[str, Tenant],
        total: Floats,
        free: Floats,
        room: Callable[[JobView], float],
        *,
        used: Mapping[str, Floats] | None = None,
        turns: Mapping[str, float] | None = None,
    ) -> None:
        self.workers: dict[str, int] = {}
        self._jobs, self._free, self._room = jobs, free, room
        self._too_large: dict[object, float] = {}  # class of bundles -> the least workers for which nothing is left
        self._out: set[str] = set()
        self._root = _Node("", 1.0, total)
        self._leaves = self._grow(tenants)
        for name, amount in (used or {}).items():
            self._leaves[name].used = amount
        for name, turn in (turns or {}).items():
            self._leaves[name].turn = turn

    def _grow(self, tenants: Mapping[str, Tenant]) -> dict[str, _Node]:
        """Build the tree; return the leaf of each tenant's own jobs."""
        nodes = {name: _Node(name, tenants[name].weight, self._root.total) for name in sorted(tenants)}
        leaves = dict(nodes)
        for name, node in nodes.items():
            _, *above = lineage(name, tenants)
            parent = nodes[above[0]] if above else self._root
            parent.adopt(node)
            if above and leaves[above[0]] is parent:
                leaves[above[0]] = _Node(above[0], 1.0, self._root.total)
                parent.adopt(leaves[above[0]])
        return leaves

    def fill(self, permit: Permit = lambda job, workers: True) -> None:
        """Hand out as much as is left, as far as it is permitted; again with another permit goes on from there."""
        for leaf in self._leaves.values():
            leaf.queue, leaf.growing, leaf.refused = deque(), deque(), {}
        for job in self._jobs:
            if job.id not in self._out:
                leaf = self._leaves[job.tenant]
                (leaf.growing if job.id in self.workers else leaf.queue).append(job)
        for leaf in self._leaves.values():
            leaf.blocked = not (leaf.queue or leaf.growing)
        self._root.prepare()
        while not self._root.blocked:
            node = self._root
            while node.children:
                node = node.heap[0][-1]
            self._serve(node, permit)
            self._climb(node)

    def _serve(self, leaf: _Node, permit: Permit) -> None:
        """Give a tenant one more job, else one more worker, else nothing ever more."""
        while leaf.queue:
            job = leaf.queue.popleft()
            if self._may_start(leaf, job, permit):
                self._give(leaf, job, job.min_workers)
                leaf.growing.append(job)
                return
        while leaf.growing:
            job = leaf.growing[0]
            if self._fits(job, 1) and permit(job, 1):
                self._give(leaf, job, 1)
                return
            leaf.growing.popleft()
        leaf.blocked = True

    def _may_start(self, leaf: _Node, job: JobView, permit: Permit) -> bool:
        """Say whether a job may have its least workers; of a thousand that are alike one is looked at."""
        kind, workers = job.bundle_class, job.min_workers
        if workers >= leaf.refused.get(kind, math.inf):
            return False
        too_large = self._too_large.get(kind, math.inf)
        if workers >= too_large or not self._fits(job, workers):
            self._too_large[kind] = min(workers, too_large)
            self._out.add(job.id)  # for good: what is left only becomes less
            return False
        if not permit(job, workers):
            leaf.refused[kind] = workers
            return False
        return True

    def _fits(self, job: JobView, workers: int) -> bool:
        """Say whether so many more workers are within a job's bounds, and left."""
        after = self.workers.get(job.id, 0) + workers
        left = self._free - job.bundle.vector() * workers
        return after <= min(job.max_workers, self._room(job)) and not bool((left < -TOLERANCE).any())

    def _give(self, leaf: _Node, job: JobView, workers: int) -> None:
        bundle = job.bundle.vector()
        self._free = self._free - bundle * workers
        leaf.used = leaf.used + bundle * workers
        after = self.workers.get(job.id, 0) + workers
        self.workers[job.id] = after if bundle.any() else job.max_workers  # what costs nothing need not be counted

    def _climb(self, leaf: _Node) -> None:
        """Bring everything above a leaf up to date; each is the first of its siblings, or it had not been served."""
        node, parent = leaf, leaf.parent
        while parent is not None:
            if node.blocked:
                heapq.heappop(parent.heap)
            else:
                heapq.heapreplace(parent.heap, node.key)
            if parent is not self._root:
                parent.add_up()
            parent.blocked = not parent.heap
            node, parent = parent, parent.parent
