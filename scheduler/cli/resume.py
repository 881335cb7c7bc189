"""``apportion resume``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from policies.presets import resolve
from scheduler.checkpoints.manifest import FOLDER, Kept, read_manifest
from scheduler.cli.arguments import Address, AsJson, Cpus, Workers, print_json
from scheduler.cli.control import act
from scheduler.cli.run import PolicyName
from scheduler.outputs import SUMMARY_FILE
from scheduler.report.terminal import TerminalObserver
from scheduler.runner import RunOptions, resume_job
from scheduler.section import is_url

Interrupted = Annotated[
    str,
    typer.Argument(
        metavar="OUTPUT|JOB",
        help="The output folder of a run, the address of its checkpoints, or a job that was paused.",
    ),
]
NewOutput = Annotated[
    Path | None, typer.Option("--output", help="The folder for the model (default: that of the run).")
]


def resume(
    run: Interrupted,
    policy: PolicyName = None,
    workers: Workers = None,
    output: NewOutput = None,
    address: Address = None,
    cpus: Cpus = None,
    as_json: AsJson = False,
) -> None:
    """Go on with an interrupted run, to the model that it would have had: here or elsewhere, with other workers.

    A job of a cluster that was paused goes on there.

    Example: apportion resume runs/diabetes --policy adaptive-pull --workers 3
    """
    if not is_url(run) and not Path(run).exists() and (address or os.environ.get("RAY_ADDRESS")):
        act(run, "resume", False, address, as_json)
        return
    if not is_url(run) and (Path(run) / SUMMARY_FILE).is_file() and not (Path(run) / FOLDER).is_dir():
        typer.echo(f"{run}: the run has ended; its model and summary are there", err=True)
        raise typer.Exit
    manifest = read_manifest(run)
    fields: dict[str, Any] = {}
    if policy is not None:
        fields["policy"] = policy
    if workers is not None:
        fields["workers"] = {**manifest.job.get("workers", {}), "count": workers, "min": None, "max": None}
    if output is not None or not is_url(run):
        fields["output"] = str(output or run)
    job = manifest.job_with(**fields)
    chosen = resolve(job.policy, search=[*map(Path, manifest.search), Path.cwd()])
    observer = TerminalObserver(Console(stderr=as_json))
    try:
        summary = resume_job(manifest, Kept.begun(run, job), job, chosen, RunOptions(address, cpus), observer)
    finally:
        observer.close()
    if as_json:
        print_json(summary.as_json())
