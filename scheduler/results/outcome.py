"""What became of a workload under one policy: the same record whether it ran on Ray or in the simulator.

Times are seconds since the workload began. Everything is plain data, so that an outcome can be written and read again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from policies.interface import Resources


class Status(StrEnum):
    """How a job ended."""

    FINISHED = "finished"
    FAILED = "failed"
    NEVER_FITS = "never fits"
    UNFINISHED = "unfinished"


class Activity(StrEnum):
    """What a worker, or a whole node, was doing."""

    STARTING = "starting"
    MOVING = "moving"
    BUSY = "busy"
    WAITING = "waiting"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of a worker's time; of a dead node, ``job`` is empty and ``worker`` -1.

    Attributes
    ----------
    round
        Of the job, from 0; -1 where there are no rounds.
    """

    node: str
    job: str
    worker: int
    activity: Activity
    from_s: float
    to_s: float
    round: int = -1


@dataclass(frozen=True, slots=True)
class RoundOutcome:
    """A round of a job that was committed: when, how long it took, what it moved, and the loss if it was measured.

    Attributes
    ----------
    busy_s
        Seconds that each worker computed, by worker number; 0 for who had nothing.
    """

    ended_s: float
    seconds: float
    busy_s: tuple[float, ...]
    bytes_moved: float = 0.0
    shards_moved: int = 0
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What became of one job.

    Attributes
    ----------
    bundle, workers
        Resources of each worker, and the most that it had at a time.
    submitted_s, started_s, ended_s
        NaN where it did not start, or did not end.
    alone_s
        How long it takes with the whole cluster to itself, NaN where that is not known.
    fair_s
        How long it would have taken with a fair share of the cluster all along, as in finish-time fairness (Mahajan et
        al., NSDI 2020); NaN where that is not known.
    worker_s
        Worker-seconds that it held.
    cost
        Its parts of the prices of nodes, in their currency.
    preemptions, moves, restarts
        How often it lost all its workers to others, workers moved to other nodes, and it began anew or was resumed
        after a fault.
    bytes_moved, shards_moved
        Over all rounds.
    rounds
        Of learning; empty for a job that is only a rate, and where they are not kept.
    reason
        Why it failed or never fits.
    """

    id: str
    submitted_s: float
    bundle: Resources
    workers: int = 0
    status: Status = Status.UNFINISHED
    started_s: float = math.nan
    ended_s: float = math.nan
    tenant: str = ""
    deadline_s: float = math.inf
    alone_s: float = math.nan
    fair_s: float = math.nan
    worker_s: float = 0.0
    cost: float = 0.0
    preemptions: int = 0
    moves: int = 0
    restarts: int = 0
    bytes_moved: float = 0.0
    shards_moved: int = 0
    rounds: tuple[RoundOutcome, ...] = ()
    model_sha256: str = ""
    reason: str = ""

    @property
    def jct_s(self) -> float:
        """The job completion time, from submission to end; NaN where it did not end."""
        return self.ended_s - self.submitted_s


@dataclass(frozen=True, slots=True)
class Use:
    """What the cluster was like from ``at_s`` on, until the next of these; means over that time.

    Attributes
    ----------
    used, capacity
        Sums over the living nodes.
    stranded_gpus
        Free GPU that none of the bundles with GPUs that wait or run would fit on (fragmentation); NaN where there are
        none, or it is not counted.
    """

    at_s: float
    used: Resources
    capacity: Resources
    waiting: float
    running: float
    stranded_gpus: float = math.nan


@dataclass(frozen=True, slots=True)
class NodeOutcome:
    """A node of the fleet, as reports show it."""

    id: str
    kind: str
    capacity: Resources
    speed: float = 1.0
    price_per_hour: float = 0.0


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What became of a workload under one policy and seed.

    Attributes
    ----------
    live
        Whether it ran on Ray; simulated otherwise.
    ended_s
        When the last job ended, or the run was stopped.
    nodes, jobs, uses
        In the order of the fleet, of submission, and of time.
    intervals
        The timeline of all workers and dead nodes; empty where it was not kept.
    decisions_s
        How long each decision of the policy took, on the real clock.
    failed_placements
        How often a job's turn ended without workers.
    lower_bound_s
        No schedule can end before; NaN where none is known.
    num_events
        Of the simulator; 0 for a live run.
    faults
        What went wrong, in words, by time.
    """

    policy: str
    seed: int
    live: bool
    ended_s: float
    nodes: tuple[NodeOutcome, ...]
    jobs: tuple[JobOutcome, ...]
    uses: tuple[Use, ...] = ()
    intervals: tuple[Interval, ...] = ()
    decisions_s: tuple[float, ...] = ()
    failed_placements: int = 0
    lower_bound_s: float = math.nan
    num_events: int = 0
    faults: tuple[tuple[float, str], ...] = ()
