"""Arguments and options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from policies.interface import Policy
from policies.presets import resolve
from scheduler.data_spec import NAMED_SETS, SOURCES
from scheduler.errors import UserError
from scheduler.job import Job
from scheduler.job_file import load_job, parse_override

JobFile = Annotated[Path, typer.Argument(metavar="JOB", help="A job file, such as examples/diabetes.yaml.")]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="The Ray cluster to use (default: RAY_ADDRESS, or else an embedded one).",
    ),
]
Cpus = Annotated[
    int | None,
    typer.Option("--cpus", min=1, help="Logical processors of the embedded cluster (default: all)."),
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Use this many workers.")]
Output = Annotated[Path | None, typer.Option("--output", help="The folder for the model and the summary.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Replace a field of the job, such as training.rounds=50."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

PATHS = (*(f"data.{name}" for name in SOURCES if name not in NAMED_SETS), "data.data_home", "model.torch")
"""The fields of a job that hold paths; ``model.torch`` is one with the name of a class after it."""


def job_of(path: Path, workers: int | None, output: Path | None, settings: Sequence[str] | None) -> Job:
    """Return the job of a file, with what the command line replaces."""
    overrides: dict[str, Any] = dict(parse_override(setting) for setting in settings or ())
    for name in PATHS:
        if isinstance(overrides.get(name), str):  # what is typed here is relative to here; in the file, to the file
            overrides[name] = str(Path.cwd() / overrides[name])
    if workers is not None:
        overrides["workers.count"] = workers
        overrides |= {"workers.min": None, "workers.max": None}
    if output is not None:
        overrides["output"] = str(output)
    return load_job(path, overrides)


def policy_of(job: Job, path: Path, name: str | None) -> Policy:
    """Return the policy by ``name`` (default: the job's); the user's own modules lie beside the job file."""
    return policy_named(name or job.policy, path)


def policy_named(wanted: str | dict[str, Any], path: Path) -> Policy:
    """Return a policy by its name or parts; the user's own modules lie beside the job file ``path``, or here."""
    return resolve(wanted, search=[path.resolve().parent, Path.cwd()])


def policies_named(names: Sequence[str], path: Path) -> list[Policy]:
    """Return several policies by their names, as ``policy_named``.

    Raises
    ------
    UserError
        If two of them call themselves the same, so that their figures could not be told apart.
    """
    found: dict[str, str] = {}
    policies = [policy_named(name, path) for name in names]
    for name, policy in zip(names, policies, strict=True):
        if (other := found.setdefault(policy.name, name)) != name:
            raise UserError(f"the policies {other!r} and {name!r} are both called {policy.name!r}: leave one out")
    return policies


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))
