"""``apportion compare``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from scheduler.cli.arguments import (
    Address,
    AsJson,
    Cpus,
    JobFile,
    Settings,
    Workers,
    job_of,
    policy_of,
    print_json,
)
from scheduler.comparison import compare_policies
from scheduler.report.terminal import comparison_table
from scheduler.runner import RunOptions

Names = Annotated[
    str,
    typer.Option("--policies", metavar="A,B,...", help="The policies to compare; the first is the yardstick."),
]
Repeats = Annotated[int, typer.Option("--repeats", min=1, help="Turns that every policy has; medians are shown.")]


def compare(
    job: JobFile,
    policies: Names = "equal,speed-proportional",
    repeats: Repeats = 3,
    workers: Workers = None,
    address: Address = None,
    cpus: Cpus = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Run one job under several policies on one cluster, in turns, and compare time and result.

    Example: apportion compare examples/diabetes.yaml --policies equal,round-robin --repeats 5
    """
    chosen = job_of(job, workers, None, settings)
    resolved = [policy_of(chosen, job, name.strip()) for name in policies.split(",") if name.strip()]
    if not resolved:
        raise typer.BadParameter("name at least one policy", param_hint="--policies")
    console = Console(stderr=as_json)
    with Progress(console=console, transient=True, disable=not console.is_interactive) as progress:
        task = progress.add_task("starting", total=len(resolved) * repeats)
        comparison = compare_policies(
            chosen,
            resolved,
            repeats,
            RunOptions(address, cpus),
            connected=lambda _: progress.update(task, description="running"),
            finished=lambda: progress.advance(task),
        )
    if as_json:
        print_json(comparison.as_json())
    else:
        console.print(comparison_table(comparison))
