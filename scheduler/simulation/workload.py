"""A workload: jobs with their arrivals, and what each costs to compute. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from policies.interface import Floats, JobView, ShardTable


@dataclass(frozen=True)
class Phase:
    """A part of a job that goes at other speeds than the rest: ``work`` of it, at these ``rates`` (``JobView.rates``).

    A rate is that of the whole gang; of workers on several kinds of nodes, the slowest kind's.
    """

    work: float
    rates: Mapping[str, Floats]

    def rate(self, workers: int, kind: str) -> float:
        """Return the work per second of so many workers on nodes of ``kind``, 0 where none is told.

        Without any rates at all a worker does 1.
        """
        if not self.rates:
            return float(workers)
        known = self.rates.get(kind, self.rates.get(""))
        return float(known[min(workers, len(known)) - 1]) if known is not None and len(known) else 0.0


@dataclass(frozen=True)
class Learning:
    """A job that learns in rounds over shards: what a round costs.

    Attributes
    ----------
    rounds
        How many there are.
    shards
        Work (rows) and bytes of each.
    s_per_work
        Seconds for a unit of work on a machine of speed 1.
    s_per_call
        Seconds of a call whatever its shards, on the worker.
    message_bytes, update_bytes
        What a worker receives and sends in a call.
    losses
        The loss after each round where it is known; it does not depend on the allocation.
    """

    rounds: int
    shards: ShardTable
    s_per_work: float
    s_per_call: float = 0.0
    message_bytes: float = 0.0
    update_bytes: float = 0.0
    losses: tuple[float | None, ...] = ()

    @cached_property
    def work(self) -> float:
        """The work of a round."""
        return float(self.shards.work.sum())


@dataclass(frozen=True)
class SimulatedJob:
    """A job of a workload, in one of two models.

    Attributes
    ----------
    view
        What the cluster scheduler knows of it: arrival, bundle, gang, labels, tenant and, where it is known, work and
        rates.
    learning
        Round by round, over shards, by the policy's balance; None for a fluid job.
    phases
        Of a fluid job whose speed changes with its progress; empty where ``view.work`` and ``view.rates`` are all
        there is to it.
    balance_seed
        Breaks the balance's ties.
    """

    view: JobView
    learning: Learning | None = None
    phases: tuple[Phase, ...] = ()
    balance_seed: int = 0

    @cached_property
    def parts(self) -> tuple[Phase, ...]:
        """The phases of a fluid job, at least one; a job of unknown work has no end."""
        view = self.view
        return self.phases or (Phase(math.inf if math.isnan(view.work) else view.work, view.rates),)


@dataclass(frozen=True)
class Workload:
    """Jobs by time of arrival, and where they came from."""

    jobs: tuple[SimulatedJob, ...]
    source: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Count the jobs."""
        return len(self.jobs)
