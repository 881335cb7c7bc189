"""``apportion simulate``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from scheduler.cli.arguments import Address, AsJson, Settings, Workers, job_of, policy_named, policy_of
from scheduler.cli.comparing import Wishes, compared, simulated
from scheduler.cli.run import PolicyName
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
from scheduler.cli.world_options import DEFAULTS, WorldOptions, scenario_of, with_world_options


@with_world_options
def simulate(
    jobs: JobFiles = None,
    policy: PolicyName = None,
    trace: TraceFile = None,
    cluster: ClusterFile = None,
    like_live: LikeLive = False,
    world: WorldOptions = DEFAULTS,
    seeds: Seeds = 1,
    workers: Workers = None,
    address: Address = None,
    settings: Settings = None,
    record: RecordFile = None,
    csv: CsvFile = None,
    html: HtmlFile = None,
    runs: RunsFolder = None,
    as_json: AsJson = False,
) -> None:
    """Simulate jobs on a cluster that is not there, under one policy.

    Each job is trained here for a moment to learn its rounds and what they cost; the cluster's nodes are as fast as
    the labels of its file say, where 1 is this machine. Jobs may also come from a trace.

    Example: apportion simulate --trace jobs.jsonl --cluster cluster.yaml --policy drf

    Example: apportion simulate examples/diabetes.yaml --cluster cluster.yaml --copies 20 --policy adaptive-pull
    """
    console, paths = Console(stderr=as_json), jobs or []
    if paths:
        chosen = policy_of(job_of(paths[0], workers, None, settings), paths[0], policy)
    else:
        chosen = policy_named(policy or "equal", Path())
    wanted = fleet_wanted(cluster, like_live, address)
    told = read_inputs(paths, trace, wanted, workers, settings, runs, console)
    compared(simulated(scenario_of(told, world), record), [chosen], seeds, console, Wishes(runs, csv, html, as_json))
