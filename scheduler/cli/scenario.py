"""What ``simulate`` and ``compare --simulate`` share: the options of a scenario, its jobs, and how it is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scheduler.cli.arguments import job_of
from scheduler.errors import RunFailedError, UserError
from scheduler.fleet_files import load_fleet
from scheduler.inventory import logical_views
from scheduler.live_fleet import fleet_like
from scheduler.preparation import Prepared, prepare
from scheduler.session import connect
from scheduler.simulation.fleet import Fleet
from scheduler.simulation.measured import keep_measured, mark, read_measured
from scheduler.simulation.profile import profile
from scheduler.simulation.traces.load import load_trace
from scheduler.simulation.traces.trace import Trace
from scheduler.simulation.workload import SimulatedJob, Workload
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
LikeLive = Annotated[
    bool,
    typer.Option("--like-live", help="Simulate nodes like those of the connected cluster, with nobody on them."),
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, max=10_000, help="How many worlds: arrivals, drift, faults.")]
HtmlFile = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Write a report that opens offline, too (pip install 'apportion\\[report]')."
    ),
]
CsvFile = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a line for each run, too.")]
RunsFolder = Annotated[
    Path | None,
    typer.Option("--runs", metavar="FOLDER", help="Keep finished runs there; those that are there are not run again."),
]


DEFAULT_CLUSTER = Path("cluster.yaml")


def jobs_of(
    paths: Sequence[Path], workers: int | None, settings: Sequence[str] | None, runs: Path | None, console: Console
) -> list[tuple[Prepared, SimulatedJob]]:
    """Train every job here for a moment, and return each with what it would be on a cluster.

    What was measured for the same jobs and data is taken from the folder of ``runs``, or kept there.

    Raises
    ------
    UserError, DataError
        If a job file or its data is bad, or two jobs have one name.
    RunFailedError
        If a job's numbers overflow.
    """
    known, found = read_measured(runs), list[tuple[Prepared, SimulatedJob]]()
    for path in paths:
        job = job_of(path, workers, None, settings)
        if any(job.name == other.view.id for _, other in found):
            raise UserError(f"{path}: there is a job '{job.name}' already; to have it several times, use --copies")
        with console.status(f"measuring {job.name}"):
            prepared = prepare(job)
            try:
                found.append((prepared, known.get(mark(prepared)) or profile(prepared)))
            except DivergedError as error:
                raise RunFailedError(f"{path}: {error}") from None
    keep_measured({mark(prepared): job for prepared, job in found}, runs)
    return found


def fleet_wanted(cluster: Path | None, like_live: bool, address: str | None) -> Path | Fleet | None:
    """Return what ``--cluster`` and ``--like-live`` ask for.

    Raises
    ------
    UserError
        If both do, or there is no cluster.
    """
    if not like_live:
        if address is not None:
            raise UserError("--address is for a cluster that is there: to simulate one like it, add --like-live")
        return cluster
    if cluster is not None:
        raise UserError("--cluster and --like-live both name a cluster: leave one out")
    with connect(address) as session:
        return fleet_like(logical_views(), f"a cluster like that at {session.address}")


def read_inputs(
    paths: Sequence[Path],
    trace: Path | None,
    wanted: Path | Fleet | None,
    workers: int | None,
    settings: Sequence[str] | None,
    runs: Path | None,
    console: Console,
) -> Trace:
    """Return the jobs of files and of a trace, and the cluster that they are to run on: the trace's, or who is wanted.

    Raises
    ------
    UserError, DataError
        If there are no jobs, or a file is bad.
    """
    if not paths and trace is None:
        raise UserError("name at least one job file, or a trace with --trace")
    told = Trace(Workload(())) if trace is None else load_trace(trace)
    chosen = wanted or told.fleet or DEFAULT_CLUSTER
    fleet = load_fleet(chosen) if isinstance(chosen, Path) else chosen
    jobs = told.workload.jobs + tuple(job for _, job in jobs_of(paths, workers, settings, runs, console))
    if twice := sorted(name for name, num in Counter(job.view.id for job in jobs).items() if num > 1):
        raise UserError(f"{trace}: has jobs of the same names as the job files: {', '.join(twice)}")
    return Trace(Workload(jobs, ", ".join(map(str, (*paths, *([trace] if trace else []))))), fleet, told.faults)
