"""The words that policies speak: tables of what there is, and plans of what should be.

A policy is a pure function of an immutable snapshot: no Ray, no clock, no log, no I/O, no hidden state.
Tables are array-backed (one NumPy column per quantity), so that thousands of nodes and a million shards
are planned in well under a second. Units stand in the names: ``_s`` seconds, ``_bytes`` bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESOURCES = ("cpu", "gpu", "memory")
"""The resource columns of every table, in order; ``memory`` is in bytes."""

CPU, GPU, MEMORY = range(3)


class PolicyError(ValueError):
    """A policy was named, configured or written wrongly; the message says what to do."""


def frozen(values: Any, dtype: Any = np.float64) -> NDArray[Any]:
    """Return ``values`` as a read-only array, so that no policy can change a snapshot."""
    array = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class Resources:
    """An amount of every resource.

    Attributes
    ----------
    cpu, gpu
        Logical processors, fractions allowed.
    memory
        Bytes.
    """

    cpu: float = 0.0
    gpu: float = 0.0
    memory: float = 0.0

    def vector(self) -> Floats:
        """Return the amounts as an array of shape ``(3,)`` in the order of ``RESOURCES``."""
        return np.array([self.cpu, self.gpu, self.memory], dtype=np.float64)


@dataclass(frozen=True)
class NodeTable:
    """Machines with capacity, one row a node.

    Attributes
    ----------
    ids
        Unique names, length n.
    capacity, free
        Shape ``(n, 3)``, columns as ``RESOURCES``; ``free <= capacity``.
    numeric_class
        With whom a node's bits agree (its processor kernels), length n.
    """

    ids: tuple[str, ...]
    capacity: Floats
    free: Floats
    numeric_class: tuple[str, ...]

    def __len__(self) -> int:
        """Count the nodes."""
        return len(self.ids)


@dataclass(frozen=True)
class JobView:
    """What a job wants of the cluster.

    Attributes
    ----------
    id
        Unique name.
    submitted_s
        Seconds on the clock of the snapshot.
    bundle
        Resources of each worker; every worker of a job has the same.
    min_workers, max_workers
        The gang: granted whole between these bounds, or not at all.
    """

    id: str
    submitted_s: float
    bundle: Resources
    min_workers: int
    max_workers: int


@dataclass(frozen=True)
class Grant:
    """A worker's right to its bundle on a node: worker number ``worker`` of ``job`` on ``node``."""

    job: str
    worker: int
    node: str


@dataclass(frozen=True)
class ClusterSnapshot:
    """An immutable, versioned view of the cluster, on which grants are planned.

    Attributes
    ----------
    leases
        Grants that are held now; their resources are already missing from ``nodes.free``.
    seed
        Breaks ties.
    state
        A policy's memory from its last plan.
    """

    version: int
    now_s: float
    seed: int
    nodes: NodeTable
    jobs: tuple[JobView, ...]
    leases: tuple[Grant, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Shortfall:
    """One reason why it does not fit: ``where`` has ``free`` of ``resource``, ``requested`` was asked."""

    resource: str
    requested: float
    free: float
    where: str

    def __str__(self) -> str:
        """Say it in one line, memory in MiB."""
        if self.resource == "memory":
            mib = 1024.0**2
            requested, free = self.requested / mib, self.free / mib
            return f"{self.where}: memory {requested:,.1f} MiB requested, {free:,.1f} MiB free"
        return f"{self.where}: {self.resource} {self.requested:g} requested, {self.free:g} free"


@dataclass(frozen=True)
class Unplaced:
    """What could not be placed, and every reason: data, neither an exception nor ``None``.

    Attributes
    ----------
    what
        The job (on nodes) or the job's shards (on workers).
    placed, wanted
        How many of how many would have fitted.
    """

    what: str
    placed: int
    wanted: int
    shortfalls: tuple[Shortfall, ...]

    def __str__(self) -> str:
        """Say it in one paragraph, a line per shortfall."""
        lines = [f"{self.what}: only {self.placed} of {self.wanted} fit"]
        return "\n".join(lines + [f"  - {shortfall}" for shortfall in self.shortfalls])


@dataclass(frozen=True)
class ClusterPlan:
    """What a policy answers to a ``ClusterSnapshot``: every waiting job is granted whole or ``Unplaced``.

    Attributes
    ----------
    version
        The snapshot's; a plan on an older snapshot is stale.
    revokes
        Leases to take back.
    state
        The policy's memory for its next plan.
    """

    version: int
    grants: tuple[Grant, ...] = ()
    revokes: tuple[Grant, ...] = ()
    unplaced: tuple[Unplaced, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkerTable:
    """Processes that compute shards, one row a worker.

    Attributes
    ----------
    ids, nodes
        The worker's name and the node that it runs on, length w.
    bundle
        What each has reserved, shape ``(w, 3)``; column ``MEMORY`` is its hard limit of resident shard bytes.
    capacity
        Each one's part of its node, shape ``(w, 3)``: what the node has over the job's workers there.
    s_per_work, s_fixed, s_per_byte
        Measured cost of a call: ``s_fixed + work * s_per_work + missing bytes * s_per_byte``; length w,
        ``s_per_work`` is NaN where nothing was measured.
    """

    ids: tuple[str, ...]
    nodes: tuple[str, ...]
    bundle: Floats
    capacity: Floats
    s_per_work: Floats
    s_fixed: Floats
    s_per_byte: Floats

    def __len__(self) -> int:
        """Count the workers."""
        return len(self.ids)


@dataclass(frozen=True)
class ShardTable:
    """Fixed row ranges of a job's data, one row a shard.

    Attributes
    ----------
    work
        What a shard costs, in rows; length s.
    bytes
        What it occupies in a worker's memory; length s.
    """

    work: Floats
    bytes: Floats

    def __len__(self) -> int:
        """Count the shards."""
        return len(self.work)


@dataclass(frozen=True)
class Call:
    """The unit of acceptance: one worker, one round, a set of shards summed before the push."""

    worker: int
    shards: Ints


@dataclass(frozen=True)
class Assignment:
    """Shards to workers: ``worker_of[i]`` is the row of the worker that computes shard ``i``; length s."""

    worker_of: Ints

    def queue(self, worker: int) -> Ints:
        """Return the shards of one worker, ascending."""
        return np.flatnonzero(self.worker_of == worker)


@dataclass(frozen=True)
class RoundView:
    """An immutable view of a job's workers and shards, on which the shards are divided.

    Attributes
    ----------
    seed
        Breaks ties; the same in every round of the job.
    """

    job: str
    seed: int
    workers: WorkerTable
    shards: ShardTable


class Described(ABC):
    """Whatever has a name, a line that says what it does, and a source.

    Attributes
    ----------
    name
        What a job file calls it.
    source
        The paper or system that it comes from.
    """

    name: ClassVar[str]
    source: ClassVar[str]

    @classmethod
    def summary(cls) -> str:
        """Return the first sentence of the docstring."""
        return " ".join((cls.__doc__ or "").strip().split("\n\n")[0].split())


@dataclass(frozen=True)
class Claim:
    """A job's turn: between ``min_workers`` and ``max_workers`` bundles of ``bundle`` for ``job``."""

    job: str
    bundle: Resources
    min_workers: int
    max_workers: int


class Order(Described):
    """Answers who goes next, with how many workers."""

    @abstractmethod
    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return one claim for every job that holds no lease, first one first."""


class Place(Described):
    """Answers on which nodes."""

    @abstractmethod
    def place(self, claim: Claim, nodes: NodeTable, seed: int) -> tuple[int, ...] | Unplaced:
        """Return the node (row) of each worker, at least ``claim.min_workers`` of them, or why not."""


class Balance(Described):
    """Answers how much each.

    Attributes
    ----------
    wants_speeds
        Whether ``view.workers.s_per_work`` is to be measured before the shards are divided; it takes a moment.
    """

    wants_speeds: ClassVar[bool] = True

    @abstractmethod
    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard of ``view`` once; never more bytes to a worker than its bundle's memory."""


class Policy(ABC):
    """The three answers together; the loop asks ``plan``, the rounds ask ``balance``."""

    name: str
    balance: Balance

    @abstractmethod
    def plan(self, snapshot: ClusterSnapshot) -> ClusterPlan:
        """Answer a snapshot: equal snapshots get equal plans."""
