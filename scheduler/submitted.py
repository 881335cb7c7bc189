"""The driver of a job that was submitted: it begins, or goes on where the driver before it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from policies.presets import resolve
from scheduler.checkpoints.manifest import Kept, Manifest, read_manifest
from scheduler.errors import UserError
from scheduler.job import Job
from scheduler.observer import Observer
from scheduler.outputs import Summary
from scheduler.runner import RunOptions, resume_job, run_job
from scheduler.section import first_mistake
from scheduler.service.client import the_service
from scheduler.service.following import QueuedJob
from scheduler.service.submission import Submission
from scheduler.session import connect

OUTPUTS = Path.home() / "apportion"
"""Where outputs lie that are not told where: a job's own folder goes with its driver."""


@dataclass(frozen=True)
class Place:
    """A job as it is to run here, the policy that it runs under, and where modules of the user's own are looked for.

    Attributes
    ----------
    submission
        The token of its submission.
    """

    submission: str
    job: Job
    policy: str | dict[str, Any]
    search: tuple[Path, ...]


def drive_job(name: str, attempt: int, observer: Observer) -> Summary:
    """Drive a job of the queue to its end; its service hears how it went.

    Raises
    ------
    UserError, DataError, RunFailedError
        What ``run_job`` and ``resume_job`` raise.
    """
    with connect():
        client = the_service()
        queued = QueuedJob(client, name, attempt, observer.waits)
        with queued.concluded() as told:
            place = _place(name, client.ask("spec", name))
            policy = resolve(place.policy, search=place.search)
            options = RunOptions(search=place.search, queued=queued, submission=place.submission)
            manifest = _begun(place) if attempt > 1 else None
            if manifest is None:
                summary = run_job(place.job, policy, options, observer)
            else:
                kept = Kept.begun(str(place.job.output), place.job)
                summary = resume_job(manifest, kept, place.job, policy, options, observer)
            told.update(summary.brief())
        return summary


def _place(name: str, spec: dict[str, Any]) -> Place:
    submission = Submission.model_validate(spec["submission"])
    fields = dict(submission.job)
    fields["name"] = name  # by which its actors are found, and its metrics
    fields["output"] = str(OUTPUTS / fields["output"])  # one that is absolute stays where it is
    least, most = submission.gang
    fields["workers"] = {**fields.get("workers", {}), "count": None, "min": least, "max": most}
    policy = fields.get("policy") or spec["policy"]
    try:
        job = Job.model_validate(fields)
    except ValidationError as error:
        raise UserError(f"job {name}: {first_mistake(error)}") from None
    return Place(submission.token, job, policy, (*map(Path, submission.search), Path.cwd()))


def _begun(place: Place) -> Manifest | None:
    """Return what a driver of this job has begun; None if none came so far, whoever else's run is there."""
    try:
        found = read_manifest(str(place.job.output))
    except UserError:
        return None
    return found if found.submission == place.submission else None
