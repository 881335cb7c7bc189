"""``apportion compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from policies.interface import Policy
from scheduler.cli.arguments import (
    Address,
    AsJson,
    Cpus,
    Settings,
    Workers,
    job_of,
    policy_named,
    print_json,
)
from scheduler.cli.scenario import (
    ClusterFile,
    CsvFile,
    HtmlFile,
    JobFiles,
    RecordFile,
    Seeds,
    TraceFile,
    read_inputs,
    shown_comparison,
)
from scheduler.cli.world_options import DEFAULTS, WorldOptions, scenario_of, with_world_options
from scheduler.comparison import compare_policies
from scheduler.errors import UserError
from scheduler.job import Job
from scheduler.report.terminal import comparison_table
from scheduler.runner import RunOptions

Names = Annotated[
    str,
    typer.Option("--policies", metavar="A,B,...", help="The policies to compare; the first is the yardstick."),
]
Simulated = Annotated[bool, typer.Option("--simulate", help="Simulate a cluster; nothing of Ray is started.")]
Repeats = Annotated[int, typer.Option("--repeats", min=1, help="Turns that every policy has; medians are shown.")]


@with_world_options
def compare(
    jobs: JobFiles = None,
    policies: Names = "equal,speed-proportional",
    simulate: Simulated = False,
    repeats: Repeats = 3,
    trace: TraceFile = None,
    cluster: ClusterFile = None,
    world: WorldOptions = DEFAULTS,
    seeds: Seeds = 1,
    record: RecordFile = None,
    csv: CsvFile = None,
    html: HtmlFile = None,
    workers: Workers = None,
    address: Address = None,
    cpus: Cpus = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Compare policies on the same jobs: live, one job on one cluster in turns, or simulated on any cluster.

    Example: apportion compare examples/diabetes.yaml --policies equal,round-robin --repeats 5

    Example: apportion compare examples/digits.yaml --policies equal,adaptive-pull --simulate --drift 0.5 --seeds 10
    """
    names = list(dict.fromkeys(name.strip() for name in policies.split(",") if name.strip()))
    if not names:
        raise typer.BadParameter("name at least one policy", param_hint="--policies")
    console, paths = Console(stderr=as_json), jobs or []
    resolved = [policy_named(name, paths[0] if paths else Path()) for name in names]
    if simulate:
        told = read_inputs(paths, trace, cluster, workers, settings, console)
        scenario = scenario_of(told, world)
        shown_comparison(scenario, resolved, seeds, console, as_json, csv, html, record)
        return
    if len(paths) != 1 or trace is not None:
        raise UserError(
            f"a live comparison runs one job file, got {len(paths)}; for several, or a trace, add --simulate"
        )
    _live(job_of(paths[0], workers, None, settings), resolved, repeats, RunOptions(address, cpus), console, as_json)


def _live(
    job: Job, policies: Sequence[Policy], repeats: int, options: RunOptions, console: Console, as_json: bool
) -> None:
    """Run the job under each policy in turns, with a progress bar, and print what came of it."""
    with Progress(console=console, transient=True, disable=not console.is_interactive) as progress:
        task = progress.add_task("starting", total=len(policies) * repeats)
        comparison = compare_policies(
            job,
            policies,
            repeats,
            options,
            connected=lambda _: progress.update(task, description="running"),
            finished=lambda: progress.advance(task),
        )
    if as_json:
        print_json(comparison.as_json())
    else:
        console.print(comparison_table(comparison))
