"""What ``simulate`` and ``compare --simulate`` share: the options of a scenario, its jobs, and how it is shown."""

from __future__ import annotations

import math
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
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from policies.interface import Policy
from scheduler import __version__
from scheduler.cli.arguments import job_of, print_json
from scheduler.errors import RunFailedError, UserError
from scheduler.fleet_files import load_fleet
from scheduler.preparation import prepare
from scheduler.report.comparison_text import comparison_csv, comparison_json, comparison_text
from scheduler.report.html import write_report
from scheduler.results.comparison import Comparison
from scheduler.results.outcome import RunOutcome
from scheduler.simulation.measured import keep_measured, mark, read_measured
from scheduler.simulation.profile import profile
from scheduler.simulation.scenario import Scenario, facts, simulated
from scheduler.simulation.traces.load import load_trace
from scheduler.simulation.traces.trace import Trace
from scheduler.simulation.traces.trace_file import write_trace
from scheduler.simulation.workload import SimulatedJob, Workload
from scheduler.stored_runs import StoredRuns
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
Copies = Annotated[int, typer.Option("--copies", min=1, max=100_000, help="Let every job come so often.")]
PerHour = Annotated[
    float | None,
    typer.Option("--per-hour", min=1e-6, help="So many jobs come in an hour, at random (default: at once)."),
]
Drift = Annotated[
    float, typer.Option("--drift", min=0.0, max=3.0, help="Let speeds wander: the deviation of their logarithm.")
]
DriftEvery = Annotated[float, typer.Option("--drift-every", min=1e-3, help="Seconds between two speeds of a node.")]
Mtbf = Annotated[
    float | None, typer.Option("--mtbf", min=1e-3, help="Mean seconds until a node fails (default: none).")
]
Mttr = Annotated[float, typer.Option("--mttr", min=1e-3, help="Mean seconds until a failed node is back.")]
Every = Annotated[
    float, typer.Option("--every", min=0.0, help="Ask the policy every so many seconds (default: after every event).")
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, max=10_000, help="How many worlds: arrivals, drift, faults.")]
HtmlFile = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Write a report that opens offline, too (pip install 'apportion[report]')."
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
) -> tuple[SimulatedJob, ...]:
    """Train every job here for a moment, and return what each would be on a cluster.

    What was measured for the same jobs and data is taken from the folder of ``runs``, or kept there.

    Raises
    ------
    UserError, DataError
        If a job file or its data is bad, or two jobs have one name.
    RunFailedError
        If a job's numbers overflow.
    """
    known, found = read_measured(runs), dict[str, SimulatedJob]()
    for path in paths:
        job = job_of(path, workers, None, settings)
        if any(job.name == other.view.id for other in found.values()):
            raise UserError(f"{path}: there is a job '{job.name}' already; to have it several times, use --copies")
        with console.status(f"measuring {job.name}"):
            prepared = prepare(job)
            try:
                found[mark(prepared)] = known.get(mark(prepared)) or profile(prepared)
            except DivergedError as error:
                raise RunFailedError(f"{path}: {error}") from None
    keep_measured(found, runs)
    return tuple(found.values())


def read_inputs(
    paths: Sequence[Path],
    trace: Path | None,
    cluster: Path | None,
    workers: int | None,
    settings: Sequence[str] | None,
    runs: Path | None,
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
    jobs = told.workload.jobs + jobs_of(paths, workers, settings, runs, console)
    if twice := sorted(name for name, num in Counter(job.view.id for job in jobs).items() if num > 1):
        raise UserError(f"{trace}: has jobs of the same names as the job files: {', '.join(twice)}")
    return Trace(Workload(jobs, ", ".join(map(str, (*paths, *([trace] if trace else []))))), fleet, told.faults)


def scenario_of(
    told: Trace,
    copies: int,
    per_hour: float | None,
    drift: tuple[float, float],
    failures: tuple[float | None, float],
    every_s: float,
) -> Scenario:
    """Return the scenario that the options describe."""
    if told.fleet is None:
        raise AssertionError("read_inputs() names a fleet")
    return Scenario(
        told.fleet,
        told.workload.jobs,
        copies,
        math.inf if per_hour is None else per_hour,
        *drift,
        math.inf if failures[0] is None else failures[0],
        failures[1],
        every_s,
        told=told.faults,
        source=told.workload.source,
    )


def shown_comparison(
    scenario: Scenario,
    policies: Sequence[Policy],
    seeds: int,
    console: Console,
    as_json: bool,
    csv: Path | None,
    html: Path | None,
    record: Path | None,
    folder: Path | None,
) -> None:
    """Simulate, with a progress bar, and print what came of it; where one interrupts it, of the runs till then.

    Raises
    ------
    KeyboardInterrupt
        After that, if it was interrupted.
    """
    if record is not None:
        write_trace(scenario.world(0).workload, record)
    stored = None if folder is None else StoredRuns(folder, {**facts(scenario), **_versions()}, policies)
    runs, whole = _runs(scenario, policies, seeds, stored, console)
    if runs or whole:
        title = f"{scenario.source} on {scenario.fleet.source} ({len(scenario.fleet)} nodes), simulated"
        names = tuple(policy.name for policy in policies)
        comparison = Comparison(title, names, tuple(range(seeds)), tuple(runs), _command(), _versions())
        _show(comparison, console, as_json, csv, html)
    if not whole:
        _say_how_to_go_on(len(runs), seeds * len(policies), folder)
        raise KeyboardInterrupt


def _runs(
    scenario: Scenario, policies: Sequence[Policy], seeds: int, stored: StoredRuns | None, console: Console
) -> tuple[list[RunOutcome], bool]:
    """Return the runs that were stored and those that were missing, and whether these are all."""
    names = [policy.name for policy in policies]
    found = [] if stored is None else stored.found(names, range(seeds))
    for line in [] if stored is None else stored.trouble:
        console.print(f"{escape(line)}; it is simulated again", style="yellow", highlight=False)
    runs = {(run.policy, run.seed): run for run in found}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_interactive) as progress:
            task = progress.add_task("simulating", total=seeds * len(policies), completed=len(runs))
            for run in simulated(scenario, policies, seeds, frozenset(runs)):
                if stored is not None:
                    stored.keep(run)
                runs[run.policy, run.seed] = run
                progress.advance(task)
    except KeyboardInterrupt:
        pass
    ordered = [runs[name, seed] for seed in range(seeds) for name in names if (name, seed) in runs]
    return ordered, len(ordered) == seeds * len(policies)


def _show(comparison: Comparison, console: Console, as_json: bool, csv: Path | None, html: Path | None) -> None:
    """Write the files that were asked for, and print the rest."""
    if csv is not None:
        with atomic_text(csv) as file:
            file.write(comparison_csv(comparison))
    if html is not None:
        write_report(comparison, html)
    if as_json:
        print_json(comparison_json(comparison))
    else:
        console.print(comparison_text(comparison))


def _say_how_to_go_on(num_done: int, num_all: int, folder: Path | None) -> None:
    how = "with --runs FOLDER they would be kept, and the same command would go on from there"
    if folder is not None:
        how = f"they are in {folder}; the same command goes on from there:\n  {_command()}"
    Console(stderr=True).print(
        f"interrupted after {num_done} of {num_all} runs: {escape(how)}", highlight=False, soft_wrap=True
    )


def _command() -> str:
    return shlex.join(["apportion", *sys.argv[1:]])


def _versions() -> dict[str, str]:
    return {
        "apportion": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": version("scipy"),
        "processor": platform.processor() or platform.machine(),
    }
