"""A run as it travels between driver and parameter server: what it is told, what it reports, what it brought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from policies.interface import Balance, Floats, Resources, ShardTable
from workers.environment import Environment
from workers.problem import Problem
from workers.stopping import Stopping
from workers.training import Outcome, RoundReport, WarmStart


@dataclass(frozen=True)
class RunSpec:
    """Everything that a run's outcome depends on, and the balance policy, on which it does not.

    Attributes
    ----------
    data
        The ``DataSet``, encoded, or a reference to it in Ray's object store: the server only passes it on.
    nodes, capacity
        The node of each worker, and its part of that node's resources, shape ``(workers, 3)``.
    """

    job: str
    data: Any
    shards: ShardTable
    problem: Problem
    solver: str
    stopping: Stopping
    standardise: bool
    initial: WarmStart | None
    balance: Balance
    bundle: Resources
    nodes: tuple[str, ...]
    capacity: Floats


@dataclass(frozen=True)
class WorkerReport:
    """What a worker was given, and what it did; ``probed_rows_per_s`` is None where the policy asks for no speeds."""

    node: str
    pid: int
    shards: tuple[int, ...]
    rows: int
    bytes: int
    busy_s: float
    probed_rows_per_s: float | None
    environment: Environment


@dataclass(frozen=True)
class BytesMoved:
    """Bytes read as shards, sent as messages to all workers, and sent back as updates."""

    shards: int = 0
    parameters: int = 0
    updates: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.shards + self.parameters + self.updates


@dataclass(frozen=True)
class Progress:
    """What is new since the last look: reports of rounds, and the workers once they have their shards."""

    reports: tuple[RoundReport, ...]
    workers: tuple[WorkerReport, ...]


@dataclass(frozen=True)
class RunResult:
    """What a run brought, and what it took; ``seconds_by_round`` has the solver's rounds only."""

    outcome: Outcome
    reports: tuple[RoundReport, ...]
    workers: tuple[WorkerReport, ...]
    seconds_by_round: tuple[float, ...]
    bytes_moved: BytesMoved
