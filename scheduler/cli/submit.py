"""``apportion submit``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from scheduler.cli.arguments import AsJson, JobFile, Output, Settings, Workers, job_of, print_json
from scheduler.cli.reaching import LeastWorkers, MostWorkers, Reached, ServiceAddress, reached
from scheduler.errors import UserError
from scheduler.job import Job
from scheduler.preparation import prepare
from scheduler.report.jobs import submitted_text
from scheduler.section import first_mistake
from scheduler.service.client import hand_over, user
from scheduler.service.gateway import Gateway
from scheduler.service.submission import EVERYONE, Estimate, Submission, Wishes
from scheduler.simulation.profile import profile

Tenant = Annotated[str, typer.Option("--tenant", help="Who it is for ('apportion tenants' lists them).")]
Priority = Annotated[float, typer.Option("--priority", help="Higher goes first within a tenant.")]
Deadline = Annotated[
    float | None,
    typer.Option("--deadline", metavar="SECONDS", min=0.001, help="It should have ended so long from now."),
]
After = Annotated[
    list[str] | None, typer.Option("--after", metavar="JOB", help="A job that must have finished; may be repeated.")
]
WorkingDir = Annotated[
    Path | None,
    typer.Option(
        "--working-dir",
        file_okay=False,
        exists=True,
        help="A folder that travels with the job (from outside the cluster: the present one).",
    ),
]
Estimated = Annotated[
    bool, typer.Option("--estimate", help="Try the job here for some seconds, so that policies know how long it takes.")
]
NewName = Annotated[str | None, typer.Option("--name", help="What the cluster calls the job (default: its own name).")]


def submit(
    job: JobFile,
    name: NewName = None,
    tenant: Tenant = EVERYONE,
    priority: Priority = 0.0,
    deadline: Deadline = None,
    min_workers: LeastWorkers = None,
    max_workers: MostWorkers = None,
    after: After = None,
    workers: Workers = None,
    output: Output = None,
    settings: Settings = None,
    working_dir: WorkingDir = None,
    estimate: Estimated = False,
    address: ServiceAddress = None,
    as_json: AsJson = False,
) -> None:
    """Hand a job in to a cluster: it waits its turn, runs there, and may grow and shrink meanwhile.

    Its driver runs on the cluster, and this machine may leave. Outputs lie there, too, below ~/apportion if their
    folder is not absolute.

    Example: apportion submit examples/diabetes.yaml --tenant research --min-workers 1 --max-workers 4 --address auto
    """
    chosen = job_of(job, workers, output, settings)
    try:
        wishes = Wishes(
            tenant=tenant,
            priority=priority,
            deadline_s=deadline,
            min_workers=min_workers,
            max_workers=max_workers,
            after=tuple(after or ()),
        )
        more: dict[str, Any] = {"name": name, "search": (str(job.resolve().parent), str(Path.cwd()))}
        if estimate:
            more["estimate"] = _estimated(chosen)
        submission = Submission.of(chosen, user(), wishes, **more)
    except ValidationError as error:
        raise UserError(first_mistake(error)) from None
    where = address or os.environ.get("RAY_ADDRESS", "")
    folder = working_dir or (Path.cwd() if where.startswith("http") else None)
    with reached(address, starts=True, folder=folder) as service:
        told = service.ask("submit", _with_files(submission, folder, service).model_dump(mode="json"))
    if as_json:
        print_json(told)
    else:
        Console().print(submitted_text(told), highlight=False)


def _estimated(job: Job) -> Estimate:
    view = profile(prepare(job)).view
    return Estimate(work=view.work, rates={kind: tuple(rates.tolist()) for kind, rates in view.rates.items()})


def _with_files(submission: Submission, folder: Path | None, service: Reached) -> Submission:
    """Return the submission with paths as the cluster has them, after the files that travel with it."""
    fields = dict(submission.job)
    if folder is None:
        fields["output"] = str(Path.cwd() / fields["output"])
        return submission.model_copy(update={"job": fields})
    root = str(folder.resolve())
    found = {"job": _below(fields, root), "search": tuple(_below(list(submission.search), root))}
    if not isinstance(service.service, Gateway):  # there the files travel with the question
        found["package"] = hand_over(service, folder)
    return submission.model_copy(update=found)


def _below(value: Any, root: str) -> Any:
    """Return plain data with every path below ``root`` relative to it."""
    if isinstance(value, dict):
        return {name: _below(one, root) for name, one in value.items()}
    if isinstance(value, list):
        return [_below(one, root) for one in value]
    if isinstance(value, str) and (value == root or value.startswith(root + os.sep)):
        return value[len(root) + 1 :] or "."
    return value
