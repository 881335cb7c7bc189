"""The lines of our own trace: what may stand in them, and the jobs that they are. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from policies.interface import Floats, JobView, Resources, ShardTable, frozen
from scheduler.simulation.workload import Learning, Phase, SimulatedJob

HEADER: Final = "apportion-trace"
VERSION = 1

MOST_WORKERS, MOST_ROUNDS = 1_000_000, 1_000_000_000

NotNegative = Annotated[float, Field(ge=0)]
Workers = Annotated[int, Field(ge=1, le=MOST_WORKERS)]
Amounts = tuple[NotNegative, ...]
Rates = dict[str, Amounts]


class Line(BaseModel):
    """A line, or a part of one: unknown fields, true and false for numbers, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class HeaderLine(Line):
    """The first line: what the jobs are."""

    version: int = Field(alias=HEADER, ge=1, le=VERSION)
    source: str = ""
    meta: dict[str, str] = Field(default_factory=dict)


class PhaseLine(Line):
    """``Phase``."""

    work: NotNegative
    rates: Rates = Field(default_factory=dict)


class LearningLine(Line):
    """``Learning``; ``work`` and ``bytes`` of each shard."""

    rounds: int = Field(ge=1, le=MOST_ROUNDS)
    work: Amounts = Field(min_length=1)
    bytes: Amounts = Field(min_length=1)
    s_per_work: NotNegative
    s_per_call: NotNegative = 0.0
    message_bytes: NotNegative = 0.0
    update_bytes: NotNegative = 0.0
    losses: tuple[float | None, ...] = ()


class JobLine(Line):
    """``SimulatedJob`` and its ``JobView``; ``at`` is ``submitted_s``, ``workers`` are the gang's bounds."""

    id: str = Field(min_length=1)
    at: NotNegative = 0.0
    cpu: NotNegative = 0.0
    gpu: NotNegative = 0.0
    memory: NotNegative = 0.0
    workers: tuple[Workers, Workers] = (1, 1)
    selector: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    tenant: str = ""
    priority: float = 0.0
    deadline_s: NotNegative | None = None
    work: NotNegative | None = None
    done: NotNegative = 0.0
    rates: Rates = Field(default_factory=dict)
    attained_s: NotNegative = 0.0
    started_s: NotNegative | None = None
    data_bytes: NotNegative = 0.0
    resident: dict[str, NotNegative] = Field(default_factory=dict)
    learning: LearningLine | None = None
    phases: tuple[PhaseLine, ...] = ()
    balance_seed: int = Field(0, ge=-(2**63), lt=2**63)


def simulated(job: JobLine) -> SimulatedJob:
    """Return the job of a line.

    Raises
    ------
    PolicyError, ValueError
        If its fields do not go together.
    """
    view = JobView(
        id=job.id,
        submitted_s=job.at,
        bundle=Resources(job.cpu, job.gpu, job.memory),
        min_workers=job.workers[0],
        max_workers=job.workers[1],
        selector=job.selector,
        tenant=job.tenant,
        priority=job.priority,
        deadline_s=math.inf if job.deadline_s is None else job.deadline_s,
        work=math.nan if job.work is None else job.work,
        done=job.done,
        rates=_arrays(job.rates),
        attained_s=job.attained_s,
        started_s=math.nan if job.started_s is None else job.started_s,
        data_bytes=job.data_bytes,
        resident=job.resident,
    )
    phases = tuple(Phase(phase.work, _arrays(phase.rates)) for phase in job.phases)
    return SimulatedJob(view, None if job.learning is None else _learning(job.learning), phases, job.balance_seed)


def _learning(found: LearningLine) -> Learning:
    if len(found.work) != len(found.bytes):
        raise ValueError(f"'work' and 'bytes' must be of one length, got {len(found.work)} and {len(found.bytes)}")
    return Learning(
        found.rounds,
        ShardTable(frozen(found.work), frozen(found.bytes)),
        found.s_per_work,
        found.s_per_call,
        found.message_bytes,
        found.update_bytes,
        found.losses,
    )


def _arrays(rates: Rates) -> dict[str, Floats]:
    return {kind: frozen(values) for kind, values in rates.items()}


def line_of(job: SimulatedJob) -> JobLine:
    """Return the line of a job."""
    view = job.view
    return JobLine(
        id=view.id,
        at=view.submitted_s,
        cpu=view.bundle.cpu,
        gpu=view.bundle.gpu,
        memory=view.bundle.memory,
        workers=(view.min_workers, view.max_workers),
        selector=dict(view.selector),
        tenant=view.tenant,
        priority=view.priority,
        deadline_s=None if view.deadline_s == math.inf else view.deadline_s,
        work=None if math.isnan(view.work) else view.work,
        done=view.done,
        rates=_tuples(view.rates),
        attained_s=view.attained_s,
        started_s=None if math.isnan(view.started_s) else view.started_s,
        data_bytes=view.data_bytes,
        resident=dict(view.resident),
        learning=None if job.learning is None else _learning_line(job.learning),
        phases=tuple(PhaseLine(work=phase.work, rates=_tuples(phase.rates)) for phase in job.phases),
        balance_seed=job.balance_seed,
    )


def _learning_line(learning: Learning) -> LearningLine:
    return LearningLine(
        rounds=learning.rounds,
        work=tuple(learning.shards.work.tolist()),
        bytes=tuple(learning.shards.bytes.tolist()),
        s_per_work=learning.s_per_work,
        s_per_call=learning.s_per_call,
        message_bytes=learning.message_bytes,
        update_bytes=learning.update_bytes,
        losses=learning.losses,
    )


def _tuples(rates: Mapping[str, Floats]) -> Rates:
    return {kind: tuple(values.tolist()) for kind, values in rates.items()}
