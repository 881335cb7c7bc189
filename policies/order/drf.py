"""Dominant resource fairness."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from policies.feasibility import TOLERANCE
from policies.interface import Claim, ClusterSnapshot, Floats, JobView, Order, Tenant
from policies.order.tenancy import lineage, tenants_of
from policies.order.turns import by_submission, counter, waiting


class Drf(Order):
    """Serve the tenant with the lowest dominant share next, the largest of its shares of CPU, GPU and memory.

    To be picked where tenants with different needs share a cluster: each gets at least what an equal part of the
    cluster would give it, none would rather have another's, and none gains by asking for what it does not need (up
    to the size of a job). Running jobs count, and are not stopped. Shares are divided by the tenants' weights.

    Of a tenant's jobs the first submitted comes first. It gets its least number of workers; further ones are handed
    out, by the same rule, when the tenant has no job left that could start. Whether one could is judged by the free
    resources of all nodes together; who cannot is ranked behind, and may start if it fits after all.

    Tenants may be parts of others. A parent's share is that of its parts together, each scaled down to the poorest that
    can still use more; one that cannot (for want of jobs, or of the resources that they need) counts in full. So
    no part starves because another has much of what it does not want.

    Cost: O((j + w) (log t + p) + c n) for w workers to be handed out, t tenants of at most p parts, and c classes of
    bundles.

    Raises
    ------
    PolicyError
        By ``rank``, if a tenant is a part of itself or weighs nothing.

    Source: Ghodsi, Zaharia, Hindman, Konwinski, Shenker and Stoica, "Dominant resource fairness: Fair allocation of
    multiple resource types", NSDI 2011; the tree is H-DRF of Bhattacharya, Culler, Friedman, Ghodsi, Shenker
    and Stoica, "Hierarchical scheduling for diverse datacenter workloads", SoCC 2013.
    """

    name: ClassVar[str] = "drf"
    source: ClassVar[str] = "Ghodsi et al., NSDI 2011; Bhattacharya et al., SoCC 2013"
    promises: ClassVar[frozenset[str]] = frozenset({"work-conserving"})

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return the claims of jobs without leases, as progressive filling serves them."""
        return _Filling(snapshot).claims()


class _Node:
    """A tenant, or the jobs of a tenant that has parts as well."""

    def __init__(self, name: str, weight: float, total: Floats) -> None:
        self.name, self.weight, self.total = name, weight, total
        self.parent: _Node | None = None
        self.children: list[_Node] = []
        self.heap: list[tuple[float, str, _Node]] = []  # children that can use more, the poorest first
        self.used: Floats = np.zeros_like(total)
        self.blocked = False
        self.queue: deque[JobView] = deque()
        self.growing: deque[JobView] = deque()

    @property
    def share(self) -> float:
        """The dominant share."""
        shares = np.divide(self.used, self.total, out=np.zeros_like(self.used), where=self.total > 0)
        return float(shares.max(initial=0.0))

    def adopt(self, child: _Node) -> None:
        """Make another node a part of this one."""
        child.parent = self
        self.children.append(child)

    def prepare(self) -> None:
        """Add up all that is below, for the first time."""
        for child in self.children:
            child.prepare()
        self.heap = [(child.share / child.weight, child.name, child) for child in self.children if not child.blocked]
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


class _Filling:
    """Progressive filling of what is free."""

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        nodes = snapshot.nodes
        self._total: Floats = nodes.capacity.sum(axis=0)
        self._free: Floats = np.maximum(nodes.free, 0.0).sum(axis=0)
        self._room = counter(nodes)
        self._workers: dict[str, int] = {}
        self._jobs = {job.id: job for job in snapshot.jobs}
        self._waiting = sorted(waiting(snapshot), key=by_submission)
        self._root = _Node("", 1.0, self._total)
        leaves = self._grow(tenants_of(snapshot))
        for job in self._waiting:
            leaves[job.tenant].queue.append(job)
        for name, num in sorted(Counter(lease.job for lease in snapshot.leases if lease.job in self._jobs).items()):
            leaf = leaves[self._jobs[name].tenant]
            leaf.used = leaf.used + self._jobs[name].bundle.vector() * num
        for leaf in leaves.values():
            leaf.blocked = not leaf.queue
        self._root.prepare()

    def _grow(self, tenants: Mapping[str, Tenant]) -> dict[str, _Node]:
        """Build the tree; return the leaf of each tenant's own jobs."""
        nodes = {name: _Node(name, tenants[name].weight, self._total) for name in sorted(tenants)}
        leaves = dict(nodes)
        for name, node in nodes.items():
            _, *above = lineage(name, tenants)
            parent = nodes[above[0]] if above else self._root
            parent.adopt(node)
            if above and leaves[above[0]] is parent:
                leaves[above[0]] = _Node(above[0], 1.0, self._total)
                parent.adopt(leaves[above[0]])
        return leaves

    def claims(self) -> tuple[Claim, ...]:
        """Return the claims of all that wait."""
        while not self._root.blocked:
            node = self._root
            while node.children:
                node = node.heap[0][2]
            self._serve(node)
            self._climb(node)
        late = (job for job in self._waiting if job.id not in self._workers)
        return (
            *(Claim(self._jobs[name], self._jobs[name].min_workers, most) for name, most in self._workers.items()),
            *(Claim(job, job.min_workers, job.min_workers) for job in late),
        )

    def _serve(self, leaf: _Node) -> None:
        """Give a tenant one more job, else one more worker, else nothing ever more."""
        while leaf.queue:
            job = leaf.queue.popleft()
            if self._take(leaf, job, job.min_workers):
                leaf.growing.append(job)
                return
        while leaf.growing:
            if self._take(leaf, leaf.growing[0], 1):
                return
            leaf.growing.popleft()
        leaf.blocked = True

    def _take(self, leaf: _Node, job: JobView, workers: int) -> bool:
        after = self._workers.get(job.id, 0) + workers
        bundle = job.bundle.vector()
        left = self._free - bundle * workers
        if after > min(job.max_workers, self._room(job)) or (left < -TOLERANCE).any():
            return False
        self._free = left
        leaf.used = leaf.used + bundle * workers
        self._workers[job.id] = after if bundle.any() else job.max_workers  # what costs nothing need not be counted
        return True

    def _climb(self, leaf: _Node) -> None:
        """Bring everything above a leaf up to date; each is the first of its siblings, or it had not been served."""
        node, parent = leaf, leaf.parent
        while parent is not None:
            if node.blocked:
                heapq.heappop(parent.heap)
            else:
                heapq.heapreplace(parent.heap, (node.share / node.weight, node.name, node))
            if parent is not self._root:
                parent.add_up()
            parent.blocked = not parent.heap
            node, parent = parent, parent.parent
