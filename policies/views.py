"""What policies see: jobs, tenants and the snapshots that hold them. All of it is immutable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from policies.plans import Grant
from policies.tables import Demand, Floats, Ints, NodeTable, PolicyError, Resources, ShardTable, WorkerTable

Selector = Mapping[str, tuple[str, ...]]
"""Label -> the values of which a node must have one."""


@dataclass(frozen=True)
class JobView:
    """What a job wants of the cluster, and what is known of it.

    Attributes
    ----------
    id
        Unique name.
    submitted_s
        Seconds on the clock of the snapshot.
    bundle
        Resources of each worker; every worker of a job has the same. GPUs: a part of one, or a whole number.
    min_workers, max_workers
        The gang: granted whole between these bounds, or not at all.
    selector
        Labels that every node of the job must have.
    tenant
        Who pays; a name of ``ClusterSnapshot.tenants``, or empty.
    priority
        Higher goes first.
    deadline_s
        When it must have ended, on the clock of the snapshot; infinite without one.
    work, done
        How much there is to do and how much is done, in the job's own unit; NaN where it is not known.
    rates
        Node kind -> work per second with 1, 2, ... workers there; the key ``""`` is for kinds that are not named.
    attained_s
        Worker-seconds that the job has had.
    started_s
        When it was first granted workers; NaN before.
    data_bytes, resident
        The size of its data, and how many bytes of it lie on which node.

    Raises
    ------
    PolicyError
        If the bundle or the gang is none.
    """

    id: str
    submitted_s: float
    bundle: Resources
    min_workers: int
    max_workers: int
    selector: Selector = field(default_factory=dict)
    tenant: str = ""
    priority: float = 0.0
    deadline_s: float = math.inf
    work: float = math.nan
    done: float = 0.0
    rates: Mapping[str, Floats] = field(default_factory=dict)
    attained_s: float = 0.0
    started_s: float = math.nan
    data_bytes: float = 0.0
    resident: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bundle.gpu > 1 and self.bundle.gpu != int(self.bundle.gpu):
            raise PolicyError(
                f"job {self.id}: a bundle has a part of one GPU or a whole number of them, got gpu={self.bundle.gpu:g}"
            )
        if not 1 <= self.min_workers <= self.max_workers:
            raise PolicyError(
                f"job {self.id}: a gang has at least 1 worker and no more at least than at most, "
                f"got min_workers={self.min_workers}, max_workers={self.max_workers}"
            )

    @cached_property
    def bundle_class(self) -> tuple[Resources, tuple[tuple[str, tuple[str, ...]], ...]]:
        """What decides on which nodes a bundle fits, and how many: jobs with equal classes fit alike."""
        return self.bundle, tuple(sorted(self.selector.items()))

    def rate(self, workers: int, kind: str = "") -> float:
        """Return the work per second with ``workers`` workers on nodes of ``kind``; NaN where it is not known.

        Past the last measured number of workers the rate stays as it is.
        """
        known = self.rates.get(kind, self.rates.get("", np.zeros(0)))
        if not workers or not len(known):
            return 0.0 if not workers else math.nan
        return float(known[min(workers, len(known)) - 1])

    def remaining_s(self, workers: int, kind: str = "") -> float:
        """Return the seconds that are left with ``workers`` workers; NaN where that is not known."""
        rate = self.rate(workers, kind)
        left = max(self.work - self.done, 0.0)
        return left / rate if rate > 0 else (math.inf if rate == 0 else math.nan)


@dataclass(frozen=True)
class Tenant:
    """Somebody who shares the cluster.

    Attributes
    ----------
    weight
        The share in relation to the siblings', greater than 0.
    quota
        What may be used without borrowing; ``None`` for no limit.
    parent
        The tenant that this one is a part of, or empty.
    borrows
        Whether it may use more than its quota, and its parts with it, while that would be idle.
    """

    name: str
    weight: float = 1.0
    quota: Resources | None = None
    parent: str = ""
    borrows: bool = True


@dataclass(frozen=True)
class Claim:
    """A job's turn: between ``min_workers`` and ``max_workers`` of its bundles.

    An order counts the workers that the job has already; a placement is asked for the rest.

    Attributes
    ----------
    yields
        Whether what the job has is free to all claims before it, for growth too; it gets back what they leave.
    """

    job: JobView
    min_workers: int
    max_workers: int
    yields: bool = False


@dataclass(frozen=True)
class PlaceView:
    """On what a claim is placed.

    Attributes
    ----------
    nodes
        What the claims before it have left.
    seed
        Breaks ties.
    demand
        The mix of bundles that is likely to be asked for next.
    """

    nodes: NodeTable
    seed: int = 0
    demand: Demand = field(default_factory=Demand)


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
    tenants
        Who shares the cluster; a tenant that is not listed weighs 1 and has no quota.
    demand
        The mix of bundles to expect; without rows, that of ``jobs``.
    """

    version: int
    now_s: float
    seed: int
    nodes: NodeTable
    jobs: tuple[JobView, ...]
    leases: tuple[Grant, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    tenants: tuple[Tenant, ...] = ()
    demand: Demand = field(default_factory=Demand)

    def held(self) -> dict[str, tuple[Grant, ...]]:
        """Return the leases of every job that holds some, by worker number."""
        found: dict[str, list[Grant]] = {}
        for lease in sorted(self.leases, key=lambda lease: lease.worker):
            found.setdefault(lease.job, []).append(lease)
        return {job: tuple(leases) for job, leases in found.items()}


@dataclass(frozen=True)
class RoundView:
    """An immutable view of a job's workers and shards, on which the shards are divided.

    Attributes
    ----------
    seed
        Breaks ties; the same in every round of the job.
    round
        Counts the divisions of the job from 0.
    resident
        The worker that holds each shard from the round before, or -1; length s, or 0 before the first round.
    last_s
        Seconds that each worker was busy in the round before; length w, NaN or empty where there was none.
    pulls
        Whether idle workers ask for more (``Balance.next``), so that shards may be kept back.
    pending
        Shards that nobody has been given yet, ascending; for ``Balance.next``.
    state
        The policy's memory: what its last ``divide`` answered, that of the round before, or for ``Balance.next`` this
        round's.
    """

    job: str
    seed: int
    workers: WorkerTable
    shards: ShardTable
    round: int = 0
    resident: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    last_s: Floats = field(default_factory=lambda: np.zeros(0))
    pulls: bool = False
    pending: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    state: Mapping[str, Any] = field(default_factory=dict)
