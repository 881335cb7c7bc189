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
    CsvFile,
    HtmlFile,
    JobFiles,
    LikeLive,
    RecordFile,
    RunsFolder,
    Seeds,
    TraceFile,
    fleet_wanted,
    read_inputs,
)
from scheduler.cli.world_options import DEFAULTS, WorldOptions, only_simulated, scenario_of, with_world_options
from scheduler.errors import UserError

Names = Annotated[
    str,
    typer.Option("--policies", metavar="A,B,...", help="The policies to compare; the first is the yardstick."),
]
Simulated = Annotated[
    bool, typer.Option("--simulate/--live", help="Simulate a cluster, or run on the one that is there.")
]


@with_world_options
def compare(
    jobs: JobFiles = None,
    policies: Names = "equal,speed-proportional",
    simulate: Simulated = False,
    trace: TraceFile = None,
    cluster: ClusterFile = None,
    like_live: LikeLive = False,
    world: WorldOptions = DEFAULTS,
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
        compared(simulated(scenario_of(told, world), record), resolved, seeds, console, wishes)
        return
    given = {"--trace": trace, "--cluster": cluster, "--like-live": like_live, **only_simulated(world)}
    if wrong := [name for name, value in given.items() if value]:
        raise UserError(f"{', '.join(wrong)}: only for a simulation; add --simulate, or leave it out")
    with live(paths, workers, settings, world, (address, cpus), record, runs, console) as contest:
        compared(contest, resolved, seeds, console, wishes)
