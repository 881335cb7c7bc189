"""``apportion simulate``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from scheduler.cli.arguments import AsJson, Settings, Workers, job_of, policy_of
from scheduler.cli.run import PolicyName
from scheduler.cli.scenario import (
    ClusterFile,
    Copies,
    CsvFile,
    Drift,
    DriftEvery,
    Every,
    JobFiles,
    Mtbf,
    Mttr,
    PerHour,
    Seeds,
    jobs_of,
    scenario_of,
    shown_comparison,
)
from scheduler.cluster_file import read_fleet


def simulate(
    jobs: JobFiles,
    policy: PolicyName = None,
    cluster: ClusterFile = Path("cluster.yaml"),
    copies: Copies = 1,
    per_hour: PerHour = None,
    drift: Drift = 0.0,
    drift_every: DriftEvery = 10.0,
    mtbf: Mtbf = None,
    mttr: Mttr = 60.0,
    every: Every = 0.0,
    seeds: Seeds = 1,
    workers: Workers = None,
    settings: Settings = None,
    csv: CsvFile = None,
    as_json: AsJson = False,
) -> None:
    """Simulate jobs on a cluster that is not there, under one policy.

    Each job is trained here for a moment to learn its rounds and what they cost; the cluster's nodes are as fast as
    the labels of its file say, where 1 is this machine.

    Example: apportion simulate examples/diabetes.yaml --cluster cluster.yaml --copies 20 --policy adaptive-pull
    """
    console = Console(stderr=as_json)
    chosen = policy_of(job_of(jobs[0], workers, None, settings), jobs[0], policy)
    fleet = read_fleet(cluster)
    found = jobs_of(jobs, workers, settings, console)
    scenario = scenario_of(fleet, found, copies, per_hour, (drift, drift_every), (mtbf, mttr), every)
    shown_comparison(scenario, [chosen], seeds, console, as_json, csv)
