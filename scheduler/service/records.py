"""What the service knows of a job, from its submission to its end, and of a tenant. Immutable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np

from policies.interface import Grant, JobView, Resources, Tenant
from scheduler.service.submission import Submission


class State(StrEnum):
    """What a job is doing."""

    HELD = "held"  # for jobs that must finish before, or by a limit of its tenant
    QUEUED = "queued"  # it waits for workers
    STARTING = "starting"  # it has workers, and its driver has not been heard yet
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def has_ended(self) -> bool:
        """Whether nothing follows."""
        return self in (State.FINISHED, State.FAILED, State.STOPPED)

    @property
    def wants_workers(self) -> bool:
        """Whether the policy is to see it."""
        return self in (State.QUEUED, State.STARTING, State.RUNNING)


CONNECTION = "connection:"


@dataclass(frozen=True)
class Heard:
    """What a driver has told of its job: rounds done, of at most how many, and what it learns of them a second."""

    rounds: int = 0
    most_rounds: int = 0
    loss: float | None = None


@dataclass(frozen=True)
class JobRecord:
    """A job of the cluster.

    Attributes
    ----------
    id
        What the cluster calls it: its name, numbered where an earlier job had the same.
    submitted_s, started_s, ended_s
        Unix times; NaN before. It has started when its first workers were granted.
    num_attempts
        How many drivers it has had.
    reason
        Why it is held, failed or was stopped.
    heard
        The last word of its driver.
    preemptions
        How often it lost all of its workers to others.
    result
        What its driver told at the end: the summary's figures.
    """

    id: str
    submission: Submission
    state: State
    submitted_s: float
    started_s: float = math.nan
    ended_s: float = math.nan
    num_attempts: int = 0
    reason: str = ""
    heard: Heard = Heard()
    preemptions: int = 0
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tenant(self) -> str:
        """Who it is for."""
        return self.submission.wishes.tenant

    @cached_property
    def gang(self) -> tuple[int, int]:
        """The least and the largest number of workers."""
        return self.submission.gang

    @property
    def driver(self) -> str:
        """What Ray's Jobs API calls its driver, or where its client drives it what Ray calls that one's connection."""
        if self.submission.is_driven:
            return f"{CONNECTION}{self.submission.driven_by}"
        return f"apportion-{self.id}-{self.num_attempts}"

    @property
    def view(self) -> JobView:
        """The job as policies see it."""
        return self.submission.view(self.id, self.submitted_s)

    def as_json(self) -> dict[str, Any]:
        """Return plain data, from which ``of_json`` makes it again."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        times = {name: known(found[name]) for name in ("submitted_s", "started_s", "ended_s")}
        return {
            **found,
            **times,
            "submission": self.submission.model_dump(mode="json"),
            "state": self.state.value,
            "heard": asdict(self.heard),
            "result": dict(self.result),
        }

    @staticmethod
    def of_json(found: Mapping[str, Any]) -> JobRecord:
        """Return what ``as_json`` was made from."""
        times = {
            name: math.nan if found[name] is None else found[name] for name in ("submitted_s", "started_s", "ended_s")
        }
        made = {
            **found,
            **times,
            "submission": Submission.model_validate(found["submission"]),
            "state": State(found["state"]),
            "heard": Heard(**found["heard"]),
        }
        return JobRecord(**made)


def known(value: float) -> float | None:
    """Return a number as JSON can have it: None where it is not known, or endless."""
    return value if math.isfinite(value) else None


def storable(value: Any) -> Any:
    """Return a value as JSON can have it: arrays as lists, numbers that are none as None, what it knows not as text."""
    if isinstance(value, Mapping):
        return {str(name): storable(one) for name, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return storable(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [storable(one) for one in value]
    if isinstance(value, float):
        return known(value)
    return value if value is None or isinstance(value, str | int) else str(value)


@dataclass(frozen=True)
class TenantRecord:
    """Who shares the cluster: as policies see it, and how many jobs it may have at work at a time."""

    tenant: Tenant
    most_jobs: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain data, from which ``of_json`` makes it again."""
        return {**asdict(self.tenant), "most_jobs": self.most_jobs}

    @staticmethod
    def of_json(found: Mapping[str, Any]) -> TenantRecord:
        """Return what ``as_json`` was made from."""
        made = dict(found)
        most_jobs, quota = made.pop("most_jobs"), made.pop("quota")
        return TenantRecord(Tenant(**made, quota=None if quota is None else Resources(**quota)), most_jobs)


@dataclass(frozen=True)
class Lease:
    """A lease, the placement group that holds it, and since when."""

    grant: Grant
    group: str
    since_s: float
