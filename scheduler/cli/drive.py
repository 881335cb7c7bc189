"""``apportion drive``: what the scheduler service starts for each of its jobs. Not for people."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from scheduler.report.terminal import TerminalObserver
from scheduler.submitted import drive_job

Attempt = Annotated[int, typer.Option("--attempt", min=1, help="Which of the job's drivers this is.")]


def drive(job: Annotated[str, typer.Argument(metavar="JOB")], attempt: Attempt = 1) -> None:
    """Drive a job of the scheduler service: wait for its workers, train, and save the model.

    Example: apportion drive diabetes --attempt 1
    """
    observer = TerminalObserver(Console())
    try:
        drive_job(job, attempt, observer)
    finally:
        observer.close()
