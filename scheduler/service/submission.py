"""What a client hands in: a job, who it is for, and how it is to be treated. It travels as plain data."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from policies.interface import JobView, PolicyError, frozen
from scheduler.errors import UserError, shown
from scheduler.job import PLAIN_NAME, Job, WorkersSpec
from scheduler.section import first_mistake, plain

API = 1
"""The version of what clients and service tell each other."""

EVERYONE = "default"
"""The tenant of whoever names none."""

Name = Annotated[str, Field(pattern=f"^{PLAIN_NAME}$")]


class Estimate(BaseModel):
    """What a trial has shown: the job's work in its own unit, and its rates by kind of node (``JobView.rates``)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    work: float = Field(gt=0)
    rates: dict[str, tuple[float, ...]]


class Wishes(BaseModel):
    """How a job is to be treated.

    Attributes
    ----------
    deadline_s
        Seconds after its submission.
    min_workers, max_workers
        In place of the job's own.
    after
        Jobs that must have finished before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    tenant: Name = EVERYONE
    priority: float = 0.0
    deadline_s: float | None = Field(None, gt=0)
    min_workers: int | None = Field(None, ge=1, le=100_000)
    max_workers: int | None = Field(None, ge=1, le=100_000)
    after: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> Wishes:
        if self.min_workers is not None and self.max_workers is not None and self.min_workers > self.max_workers:
            raise ValueError(f"min_workers is {self.min_workers}, but max_workers is {self.max_workers}")
        return self


class Submission(BaseModel):
    """A job as it is handed in.

    Attributes
    ----------
    token
        The client's own mark: whoever hands in the same twice, because it heard no answer, has one job.
    job
        All fields of the job file but ``policy``, unless the file names one: the cluster's decides.
    search
        Where modules of the user's own are looked for.
    user
        Who hands it in; the others cannot stop it without saying so.
    package
        The SHA-256 of the files that travel with it; empty where the cluster sees the client's files.
    is_driven
        Whether its client drives it, and only waits in the queue; else the service starts a driver.
    driven_by
        What Ray calls the client's connection, by which its death is noticed at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    api: int = API
    token: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    name: Name
    job: dict[str, Any]
    search: tuple[str, ...] = ()
    user: Annotated[str, Field(max_length=256)] = ""
    wishes: Wishes = Wishes()
    estimate: Estimate | None = None
    package: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    is_driven: bool = False
    driven_by: Annotated[str, Field(pattern=r"^[0-9a-f]*$")] = ""

    @field_validator("job")
    @classmethod
    def _can_be_kept(cls, job: dict[str, Any]) -> dict[str, Any]:
        """Refuse what the journal cannot hold, and what tells no number of workers; the driver reads the rest."""
        if type(shards := job.get("shards", 1)) is not int or shards < 1:
            raise ValueError("shards must be a whole number of at least 1")
        WorkersSpec.model_validate(job.get("workers", {}))
        found: dict[str, Any] = plain(job)
        return found

    @staticmethod
    def of(job: Job, user: str, wishes: Wishes, **more: Any) -> Submission:
        """Return that of a job; ``more`` are further fields."""
        fields = job.model_dump(mode="json")
        if "policy" not in job.model_fields_set:
            del fields["policy"]
        name = more.pop("name", None) or job.name
        return Submission(token=secrets.token_hex(8), name=name, job=fields, user=user, wishes=wishes, **more)

    def bounded(self, least: int | None, most: int | None) -> Submission:
        """Return the submission with other bounds of its number of workers; None leaves one as it is.

        Raises
        ------
        UserError
            If the bounds are none.
        """
        given = {"min_workers": least, "max_workers": most}
        wishes = self.wishes.model_dump() | {name: bound for name, bound in given.items() if bound is not None}
        try:
            return self.model_copy(update={"wishes": Wishes.model_validate(wishes)})
        except ValidationError as error:
            raise UserError(f"job {self.name}: {first_mistake(error)}") from None

    @property
    def gang(self) -> tuple[int, int]:
        """The least and the largest number of workers."""
        least, most = self._workers.gang
        wished_least, wished_most = self.wishes.min_workers, self.wishes.max_workers
        least = least if wished_least is None else wished_least
        most = max(least, most) if wished_most is None else wished_most
        return min(least, most), max(min(most, self.job.get("shards", most)), min(least, most))

    @cached_property
    def _workers(self) -> WorkersSpec:  # asked for at every turn of the service, for every job
        return WorkersSpec.model_validate(self.job.get("workers", {}))

    def view(self, name: str, submitted_s: float) -> JobView:
        """Return the job as policies see it, under the name that the cluster knows it by."""
        least, most = self.gang
        workers, wishes, estimate = self._workers, self.wishes, self.estimate
        known: dict[str, Any] = {}
        if estimate is not None:
            known = {"work": estimate.work, "rates": {kind: frozen(rates) for kind, rates in estimate.rates.items()}}
        if wishes.deadline_s is not None:
            known["deadline_s"] = submitted_s + wishes.deadline_s
        return JobView(
            name,
            submitted_s,
            workers.bundle.resources(),
            least,
            most,
            selector=workers.labels,
            tenant=wishes.tenant,
            priority=wishes.priority,
            **known,
        )


def read_submission(found: Mapping[str, Any]) -> Submission:
    """Return the submission that a client sent.

    Raises
    ------
    UserError
        If it speaks another version, or what it sent is none.
    """
    refuse_other_api(found.get("api"))
    try:
        submission = Submission.model_validate(dict(found))
        submission.view(submission.name, 0.0)
    except ValidationError as error:
        raise UserError(f"this is no submission: {first_mistake(error)}") from None
    except PolicyError as error:
        raise UserError(str(error)) from None
    return submission


def refuse_other_api(version: Any) -> None:
    """Refuse a client that speaks another version than this one."""
    if version != API or isinstance(version, bool):
        older = isinstance(version, int) and version < API
        what = "update the client" if older else "update the cluster's, by 'apportion service restart'"
        raise UserError(
            f"the client speaks version {shown(version)} of the scheduler service's language, the cluster's service "
            f"version {API}: {what}"
        )
