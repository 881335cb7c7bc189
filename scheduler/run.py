"""A run as it travels between driver and parameter server: what it is told, what it reports, what it brought."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.interface import Balance, Resources, ShardTable
from scheduler.results.outcome import Interval, RoundOutcome
from workers.environment import Environment
from workers.outcome import Outcome, RoundReport, WarmStart
from workers.problem import Problem
from workers.record import Record, Staleness
from workers.stopping import Stopping
from workers.training import Training

INLINE_BYTES = 100 * 1024
"""What is larger is put into the object store once; it goes to a node once, and its workers read it there."""


@dataclass(frozen=True)
class Keeping:
    """Where and how often a run's checkpoints are kept.

    Attributes
    ----------
    where
        A folder on the server's machine, or an address that fsspec knows.
    every_s
        Seconds between checkpoints; None lets cost decide.
    keep
        How many are kept.
    """

    where: str
    every_s: float | None = None
    keep: int = 2


@dataclass(frozen=True)
class Patience:
    """For how long a worker that gives no sign of life, or finishes no shard, is waited for at least, in seconds."""

    silent_s: float = 10.0
    stuck_s: float = 60.0


@dataclass(frozen=True)
class RunSpec:
    """Everything that a run's outcome depends on, and the balance policy, on which it does not.

    Attributes
    ----------
    data
        The ``DataSet``, encoded, or a reference to it in Ray's object store: the server only passes it on.
    run
        The run's own mark: checkpoints of others are none of it.
    began_s
        The moment, as ``time.time()`` tells it, from which times are counted.
    keeps_timeline
        Whether every worker's intervals are wanted; there are a few for each round.
    keeping
        How checkpoints are kept; None for none.
    patience
        With workers that seem to hang.
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
    run: str = ""
    began_s: float = 0.0
    keeps_timeline: bool = False
    keeping: Keeping | None = None
    patience: Patience = Patience()

    def training(self) -> Training:
        """Return the training before its first round."""
        return Training(self.problem, self.solver, self.stopping, self.standardise, self.initial)


@dataclass(frozen=True)
class Seat:
    """A worker's place: its number in the job, its actor, its node, and its part of that node's resources.

    Attributes
    ----------
    id
        Of the actor: a worker that is started again is another one.
    capacity
        Of ``cpu``, ``gpu`` and ``memory``: what the node has over the job's workers there.
    s_per_byte
        Seconds to bring a byte to its node, as its labels say; 0 where they do not.
    since_s
        When it was granted, on the clock of the run.
    call_bytes
        How many bytes of shards a call may have: fewer where workers before it were killed for want of memory.
    """

    id: str
    number: int
    node: str
    capacity: tuple[float, float, float]
    s_per_byte: float
    since_s: float
    worker: Any
    call_bytes: float = math.inf

    @property
    def name(self) -> str:
        """What the job calls the worker."""
        return f"worker-{self.number}"


@dataclass(frozen=True)
class WorkerReport:
    """What a worker was given, and what it did.

    Attributes
    ----------
    pid, environment
        None where the run was over before the worker had started.
    probed_rows_per_s
        None where the policy asks for no speeds.
    """

    node: str
    pid: int | None
    shards: tuple[int, ...]
    rows: int
    bytes: int
    busy_s: float
    probed_rows_per_s: float | None
    environment: Environment | None


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
class Loss:
    """A worker that is gone: its actor, its number, in which round, why, and whether for want of memory."""

    id: str
    number: int
    round: int
    reason: str
    out_of_memory: bool = False

    def __str__(self) -> str:
        """Say it in one line."""
        return f"worker {self.number} was lost in round {self.round}: {self.reason}"


@dataclass(frozen=True)
class Progress:
    """What is new since the last look.

    Attributes
    ----------
    reports
        Of rounds.
    workers
        Once they have their shards.
    losses, warnings
        Workers that are gone, and what else a user should know: all that there were.
    restored
        How many rounds were not computed here, but restored from a checkpoint.
    num_rounds
        How many there are by now.
    """

    reports: tuple[RoundReport, ...] = ()
    workers: tuple[WorkerReport, ...] = ()
    losses: tuple[Loss, ...] = ()
    warnings: tuple[str, ...] = ()
    restored: int = 0
    num_rounds: int = 0


@dataclass(frozen=True)
class OpenRound:
    """How far the round is that is under way.

    Attributes
    ----------
    num_rounds, num_in
        How many rounds are committed, and how many shards of the next are in.
    under_way
        How many shards each worker, by its process id, has been sent and not answered.
    restored
        As in ``Progress``.
    """

    num_rounds: int
    num_in: int
    under_way: Mapping[int, int]
    restored: int = 0


@dataclass(frozen=True)
class RunResult:
    """What a run brought, and what it took; ``seconds_by_round`` has the solver's rounds only.

    Attributes
    ----------
    workers
        All that there were, in the order in which they came; those that have left hold no shards.
    num_copies
        How many of the calls gave an overdue call's shards to an idle worker too.
    rounds, intervals
        As in ``JobOutcome`` and ``RunOutcome``; no intervals where no timeline was wanted.
    record, staleness
        Of an asynchronous mode: what was applied in which order, and how late; None where rounds are synchronous.
    losses
        Workers that died, hung or left on the way.
    restored
        How many rounds were restored from a checkpoint, not computed again.
    """

    outcome: Outcome
    reports: tuple[RoundReport, ...]
    workers: tuple[WorkerReport, ...]
    seconds_by_round: tuple[float, ...]
    bytes_moved: BytesMoved
    num_calls: int = 0
    num_copies: int = 0
    rounds: tuple[RoundOutcome, ...] = ()
    intervals: tuple[Interval, ...] = ()
    record: Record | None = None
    staleness: Staleness | None = None
    losses: tuple[Loss, ...] = ()
    restored: int = 0
