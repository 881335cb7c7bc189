"""Jobs on a cluster that is there, as a contest of policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from policies.interface import Policy
from scheduler.cli.comparing import Contest
from scheduler.cli.scenario import jobs_of
from scheduler.cli.world_options import WorldOptions, scenario_of
from scheduler.errors import UserError
from scheduler.inventory import logical_views
from scheduler.live import LiveJob, run_workload
from scheduler.live_fleet import fleet_like
from scheduler.results.outcome import RunOutcome
from scheduler.session import connect
from scheduler.simulation.fleet import Fleet
from scheduler.simulation.measured import mark
from scheduler.simulation.scenario import Scenario, facts
from scheduler.simulation.traces.trace import Trace
from scheduler.simulation.traces.trace_file import write_trace
from scheduler.simulation.workload import Workload
from scheduler.stored_runs import Fact, digest


@contextmanager
def live(
    paths: Sequence[Path],
    workers: int | None,
    settings: Sequence[str] | None,
    world: WorldOptions,
    where: tuple[str | None, int | None],
    record: Path | None,
    runs: Path | None,
    console: Console,
) -> Iterator[Contest]:
    """Connect, and yield the jobs of some files as a contest on that cluster.

    Parameters
    ----------
    world
        Of which only the arrivals count.
    where
        The address, and the logical processors of an embedded cluster.

    Raises
    ------
    UserError, DataError
        If there are no jobs, one of them is bad, or there is no cluster.
    """
    if not paths:
        raise UserError("name at least one job file; jobs of a trace can be simulated, with --simulate")
    measured = jobs_of(paths, workers, settings, runs, console)
    prepared = [one for one, _ in measured] * world.copies  # in the order of a workload's copies
    jobs = Workload(tuple(job for _, job in measured), ", ".join(map(str, paths)))
    with connect(*where) as session:
        place = "an embedded cluster" if session.embedded else f"the cluster at {session.address}"
        told = Trace(jobs, fleet_like(logical_views(), place))
        scenario = scenario_of(told, world)
        if record is not None:
            write_trace(scenario.world(0).workload, record)

        def run(policy: Policy, seed: int) -> RunOutcome:
            coming = zip(prepared, scenario.world(seed).workload.jobs, strict=True)
            return run_workload([LiveJob(*one) for one in coming], policy, seed, world.every)

        title = f"{jobs.source} on {place} ({len(scenario.fleet)} nodes), live"
        yield Contest(title, "running", {**_facts(scenario), "data": digest(list(map(mark, prepared)))}, run)


def _facts(scenario: Scenario) -> dict[str, Fact]:
    """Return what runs depend on; an embedded cluster's nodes have other ids each time."""
    machines = [
        replace(machine, id=f"node-{number}", labels=_ours(machine.labels))
        for number, machine in enumerate(scenario.fleet.machines)
    ]
    return {"live": True, **facts(replace(scenario, fleet=Fleet(tuple(machines))))}


def _ours(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if not name.startswith("ray.io/")}
