"""What policies answer: grants of nodes, assignments of shards, and reasons why not. All of it is data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from policies.tables import Ints

LISTED = 20
"""How many reasons a message spells out."""


class Slot(NamedTuple):
    """Where one worker goes: the node's row, and the GPUs (columns of ``device_free``) that it gets."""

    node: int
    devices: tuple[int, ...] = ()


@dataclass(frozen=True)
class Grant:
    """A worker's right to its bundle on a node: worker number ``worker`` of ``job`` on ``node``.

    Attributes
    ----------
    devices
        Which GPUs of the node: one for a bundle of up to 1 GPU, else as many as the bundle has.
    """

    job: str
    worker: int
    node: str
    devices: tuple[int, ...] = ()


@dataclass(frozen=True)
class Shortfall:
    """One reason why it does not fit: ``where`` has ``free`` of ``resource``, ``requested`` was asked."""

    resource: str
    requested: float
    free: float
    where: str

    def __str__(self) -> str:
        """Say it in one line, memory in MiB."""
        if self.resource == "turn":
            return f"waits {self.where}"
        if self.resource.startswith("label "):
            return f"{self.where}: has not the {self.resource}"
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
    shortfalls
        The reasons; a sequence that may be worked out only when it is read.
    """

    what: str
    placed: int
    wanted: int
    shortfalls: Sequence[Shortfall]

    def __str__(self) -> str:
        """Say it in one paragraph, a line per shortfall, the first twenty of them."""
        lines = [f"{self.what}: only {self.placed} of {self.wanted} fit"]
        lines += [f"  - {shortfall}" for shortfall in self.shortfalls[:LISTED]]
        more = len(self.shortfalls) - LISTED
        return "\n".join([*lines, f"  - and {more:,} more"] if more > 0 else lines)


@dataclass(frozen=True)
class ClusterPlan:
    """What a policy answers to a ``ClusterSnapshot``: every job has its gang afterwards, or is ``Unplaced``.

    Attributes
    ----------
    version
        The snapshot's; a plan on an older snapshot is stale.
    grants
        New leases. A worker that moves is revoked and granted under the same number.
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
class Call:
    """The unit of acceptance: one worker, one round, a set of shards summed before the push."""

    worker: int
    shards: Ints


@dataclass(frozen=True)
class Assignment:
    """Shards to workers.

    Attributes
    ----------
    worker_of
        The row of the worker that computes each shard; length s. Where ``view.pulls``, -1 keeps a shard back
        for ``Balance.next``.
    state
        The policy's memory for its next round.
    """

    worker_of: Ints
    state: Mapping[str, Any] = field(default_factory=dict)

    def queue(self, worker: int) -> Ints:
        """Return the shards of one worker, ascending."""
        return np.flatnonzero(self.worker_of == worker)

    def calls(self) -> tuple[Call, ...]:
        """Return a call for every worker that is given shards, by its row."""
        order = np.argsort(self.worker_of, kind="stable")
        workers, starts = np.unique(np.asarray(self.worker_of)[order], return_index=True)
        queues = np.split(order, starts[1:])
        return tuple(
            Call(worker, queue) for worker, queue in zip(workers.tolist(), queues, strict=False) if worker >= 0
        )
