"""``apportion run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scheduler.cli.arguments import (
    Address,
    AsJson,
    Cpus,
    JobFile,
    Output,
    Settings,
    Workers,
    job_of,
    policy_of,
    print_json,
)
from scheduler.report.terminal import TerminalObserver
from scheduler.runner import RunOptions, run_job

PolicyName = Annotated[
    str | None,
    typer.Option("--policy", help="A preset ('apportion policies' lists them), or module:Class of your own."),
]

Anew = Annotated[bool, typer.Option("--anew", help="Forget an unfinished run in the output, and begin anew.")]

Recorded = Annotated[
    Path | None,
    typer.Option("--record", metavar="FILE", help="Write the run as a trace, which 'apportion simulate' reads."),
]


def run(
    job: JobFile,
    policy: PolicyName = None,
    workers: Workers = None,
    output: Output = None,
    address: Address = None,
    cpus: Cpus = None,
    settings: Settings = None,
    record: Recorded = None,
    anew: Anew = False,
    as_json: AsJson = False,
) -> None:
    """Train a job's model on a Ray cluster, and save it.

    Example: apportion run examples/diabetes.yaml --policy speed-proportional --workers 2
    """
    chosen = job_of(job, workers, output, settings)
    chosen = chosen if policy is None else chosen.model_copy(update={"policy": policy})
    options = RunOptions(address, cpus, record, (job.resolve().parent, Path.cwd()), anew)
    observer = TerminalObserver(Console(stderr=as_json))
    try:
        summary = run_job(chosen, policy_of(chosen, job, None), options, observer)
    finally:
        observer.close()
    if as_json:
        print_json(summary.as_json())
