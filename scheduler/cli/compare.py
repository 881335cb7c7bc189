"""``apportion compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scheduler.cli.arguments import Address, AsJson, Cpus, Settings, Workers, policies_named
from scheduler.cli.comparing import Wishes, compared, simulated
from scheduler.cli.live import live
from scheduler.cli.scenario import (
    ClusterFile,
    Copies,
    CsvFile,
    Drift,
    DriftEvery,
    Every,
    HtmlFile,
    JobFiles,
    LikeLive,
    Mtbf,
    Mttr,
    PerHour,
    RecordFile,
    RunsFolder,
    Seeds,
    TraceFile,
    fleet_wanted,
    read_inputs,
    scenario_of,
)
from scheduler.errors import UserError

Names = Annotated[
    str,
    typer.Option("--policies", metavar="A,B,...", help="The policies to compare; the first is the yardstick."),
]
Simulated = Annotated[
    bool, typer.Option("--simulate/--live", help="Simulate a cluster, or run on the one that is there.")
]


def compare(
    jobs: JobFiles = None,
    policies: Names = "equal,speed-proportional",
    simulate: Simulated = False,
    trace: TraceFile = None,
    cluster: ClusterFile = None,
    like_live: LikeLive = False,
    copies: Copies = 1,
    per_hour: PerHour = None,
    drift: Drift = 0.0,
    drift_every: DriftEvery = 10.0,
    mtbf: Mtbf = None,
    mttr: Mttr = 60.0,
    every: Every = 0.0,
    seeds: Seeds = 1,
    record: RecordFile = None,
    csv: CsvFile = None,
    html: HtmlFile = None,
    runs: RunsFolder = None,
    workers: Workers = None,
    address: Address = None,
    cpus: Cpus = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Compare policies on the same jobs, live on a cluster, or simulated on any.

    Example: apportion compare examples/diabetes.yaml --policies equal,round-robin --seeds 3

    Example: apportion compare examples/digits.yaml --policies equal,adaptive-pull --simulate --drift 0.5 --seeds 10
    """
    names = list(dict.fromkeys(name.strip() for name in policies.split(",") if name.strip()))
    if not names:
        raise typer.BadParameter("name at least one policy", param_hint="--policies")
    console, paths, wishes = Console(stderr=as_json), jobs or [], Wishes(runs, csv, html, as_json)
    resolved = policies_named(names, paths[0] if paths else Path())
    if simulate:
        if cpus is not None:
            raise UserError("--cpus is for a live comparison; a simulated cluster is described by --cluster")
        told = read_inputs(paths, trace, fleet_wanted(cluster, like_live, address), workers, settings, runs, console)
        scenario = scenario_of(told, copies, per_hour, (drift, drift_every), (mtbf, mttr), every)
        compared(simulated(scenario, record), resolved, seeds, console, wishes)
        return
    given = {"--trace": trace, "--cluster": cluster, "--like-live": like_live, "--drift": drift, "--mtbf": mtbf}
    if wrong := [name for name, value in given.items() if value]:
        raise UserError(f"{', '.join(wrong)}: only for a simulation; add --simulate, or leave it out")
    with live(paths, workers, settings, (copies, per_hour, every), (address, cpus), record, runs, console) as contest:
        compared(contest, resolved, seeds, console, wishes)
