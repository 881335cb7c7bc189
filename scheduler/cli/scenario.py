"""What ``simulate`` and ``compare --simulate`` share: the options of a scenario, its jobs, and how it is shown."""

from __future__ import annotations

import platform
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from policies.interface import Policy
from scheduler import __version__
from scheduler.cli.arguments import job_of, print_json
from scheduler.errors import RunFailedError, UserError
from scheduler.fleet_files import load_fleet
from scheduler.preparation import prepare
from scheduler.report.comparison_text import comparison_csv, comparison_json, comparison_text
from scheduler.report.html import write_report
from scheduler.simulation.profile import profile
from scheduler.simulation.scenario import Scenario, compared
from scheduler.simulation.traces.load import load_trace
from scheduler.simulation.traces.trace import Trace
from scheduler.simulation.traces.trace_file import write_trace
from scheduler.simulation.workload import SimulatedJob, Workload
from workers.model import atomic_text
from workers.training import DivergedError

JobFiles = Annotated[
    list[Path] | None, typer.Argument(metavar="JOB...", help="Job files, such as examples/diabetes.yaml.")
]
ClusterFile = Annotated[
    Path | None,
    typer.Option(
        "--cluster",
        metavar="FILE",
        help="What to simulate: a Ray cluster file, or a CSV of machines (default: the trace's, or cluster.yaml).",
    ),
]
TraceFile = Annotated[
    Path | None,
    typer.Option("--trace", metavar="FILE", help="Jobs from a trace: ours, OpenB, Shockwave, Philly-like, Alibaba."),
]
RecordFile = Annotated[
    Path | None, typer.Option("--record", metavar="FILE", help="Write the jobs of the first seed as a trace, too.")
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, max=10_000, help="How many worlds: arrivals, drift, faults.")]
HtmlFile = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Write a report that opens offline, too (pip install 'apportion[report]')."
    ),
]
CsvFile = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a line for each run, too.")]


DEFAULT_CLUSTER = Path("cluster.yaml")


def jobs_of(
    paths: Sequence[Path], workers: int | None, settings: Sequence[str] | None, console: Console
) -> tuple[SimulatedJob, ...]:
    """Train every job here for a moment, and return what each would be on a cluster.

    Raises
    ------
    UserError, DataError
        If a job file or its data is bad, or two jobs have one name.
    RunFailedError
        If a job's numbers overflow.
    """
    found: list[SimulatedJob] = []
    for path in paths:
        job = job_of(path, workers, None, settings)
        if any(job.name == other.view.id for other in found):
            raise UserError(f"{path}: there is a job '{job.name}' already; to have it several times, use --copies")
        with console.status(f"measuring {job.name}"):
            try:
                found.append(profile(prepare(job)))
            except DivergedError as error:
                raise RunFailedError(f"{path}: {error}") from None
    return tuple(found)


def read_inputs(
    paths: Sequence[Path],
    trace: Path | None,
    cluster: Path | None,
    workers: int | None,
    settings: Sequence[str] | None,
    console: Console,
) -> Trace:
    """Return the jobs of files and of a trace, and the cluster that they are to run on.

    Raises
    ------
    UserError, DataError
        If there are no jobs, or a file is bad.
    """
    if not paths and trace is None:
        raise UserError("name at least one job file, or a trace with --trace")
    told = Trace(Workload(())) if trace is None else load_trace(trace)
    fleet = told.fleet if cluster is None and told.fleet is not None else load_fleet(cluster or DEFAULT_CLUSTER)
    jobs = told.workload.jobs + jobs_of(paths, workers, settings, console)
    if twice := sorted(name for name, num in Counter(job.view.id for job in jobs).items() if num > 1):
        raise UserError(f"{trace}: has jobs of the same names as the job files: {', '.join(twice)}")
    return Trace(Workload(jobs, ", ".join(map(str, (*paths, *([trace] if trace else []))))), fleet, told.faults)


def shown_comparison(
    scenario: Scenario,
    policies: Sequence[Policy],
    seeds: int,
    console: Console,
    as_json: bool,
    csv: Path | None,
    html: Path | None,
    record: Path | None,
) -> None:
    """Simulate, with a progress bar, and print what came of it."""
    if record is not None:
        write_trace(scenario.world(0).workload, record)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_interactive) as progress:
        task = progress.add_task("simulating", total=seeds * len(policies))
        comparison = compared(
            scenario,
            policies,
            seeds,
            f"{scenario.source} on {scenario.fleet.source} ({len(scenario.fleet)} nodes), simulated",
            shlex.join(["apportion", *sys.argv[1:]]),
            _versions(),
            lambda _: progress.advance(task),
        )
    if csv is not None:
        with atomic_text(csv) as file:
            file.write(comparison_csv(comparison))
    if html is not None:
        write_report(comparison, html)
    if as_json:
        print_json(comparison_json(comparison))
    else:
        console.print(comparison_text(comparison))


def _versions() -> dict[str, str]:
    return {
        "apportion": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": version("scipy"),
        "processor": platform.processor() or platform.machine(),
    }
