"""The options of a scenario: when jobs come, what goes wrong with machines, what everything takes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from scheduler.errors import UserError
from scheduler.simulation.scenario import ON_RAY, Scenario
from scheduler.simulation.traces.trace import Trace

ARRIVALS, MACHINES, COSTS = "Arrivals", "Machines of a simulation", "Costs of a simulation"


def _option(panel: str, name: str, text: str, **bounds: Any) -> Any:
    return typer.Option(name, help=text, rich_help_panel=panel, **bounds)


@dataclass(frozen=True)
class WorldOptions:
    """What ``simulate`` and ``compare`` are told of the worlds; each field is an option of the command line."""

    copies: Annotated[int, _option(ARRIVALS, "--copies", "Let every job come so often.", min=1, max=100_000)] = 1
    per_hour: Annotated[
        float | None,
        _option(ARRIVALS, "--per-hour", "So many jobs come in an hour, at random (default: at once).", min=1e-6),
    ] = None
    bursts: Annotated[
        int | None, _option(ARRIVALS, "--bursts", "So many jobs come together.", min=1, max=1_000_000)
    ] = None
    burst_every: Annotated[float, _option(ARRIVALS, "--burst-every", "Seconds between two bursts.", min=1e-3)] = 60.0
    patience: Annotated[
        float | None,
        _option(ARRIVALS, "--patience", "Seconds that a job waits before it gives up (default: for ever).", min=0.0),
    ] = None
    every: Annotated[
        float,
        _option(ARRIVALS, "--every", "Ask the policy every so many seconds (default: after every event).", min=0.0),
    ] = 0.0
    drift: Annotated[
        float,
        _option(MACHINES, "--drift", "Let speeds wander: the deviation of their logarithm.", min=0.0, max=3.0),
    ] = 0.0
    drift_every: Annotated[
        float, _option(MACHINES, "--drift-every", "Seconds between two speeds of a node.", min=1e-3)
    ] = 10.0
    mtbf: Annotated[
        float | None, _option(MACHINES, "--mtbf", "Mean seconds until a node fails (default: none).", min=1e-3)
    ] = None
    mttr: Annotated[float, _option(MACHINES, "--mttr", "Mean seconds until a failed node is back.", min=1e-3)] = 60.0
    foreign: Annotated[
        float,
        _option(MACHINES, "--foreign", "Which part of every node others ask for, on average.", min=0.0, max=1.0),
    ] = 0.0
    foreign_for: Annotated[float, _option(MACHINES, "--foreign-for", "Mean seconds for which others ask.", min=1.0)] = (
        60.0
    )
    worker_start: Annotated[
        float | None,
        _option(
            COSTS,
            "--worker-start",
            "Seconds until a worker that is granted computes "
            f"(default: {ON_RAY.start_s:g}, and {ON_RAY.start_work_s:g} at speed 1).",
            min=0.0,
        ),
    ] = None
    call_overhead: Annotated[
        float, _option(COSTS, "--call-overhead", "Seconds of a call, beside what its shards take.", min=0.0)
    ] = ON_RAY.call_s
    server_rate: Annotated[
        float | None,
        _option(COSTS, "--server-rate", "Bytes a second that a server takes in (default: no limit).", min=1.0),
    ] = None
    servers: Annotated[
        int, _option(COSTS, "--servers", "Parameter servers of a job, which share its updates.", min=1, max=10_000)
    ] = 1


DEFAULTS = WorldOptions()

LIVE = ("copies", "per_hour", "bursts", "burst_every", "every")
"""What makes sense on a cluster that is there, too."""


def only_simulated(world: WorldOptions) -> dict[str, bool]:
    """Return the options that make sense in a simulation only -> whether they were given."""
    return {
        f"--{field.name.replace('_', '-')}": getattr(world, field.name) != field.default
        for field in fields(WorldOptions)
        if field.name not in LIVE
    }


def with_world_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of ``WorldOptions``; it gets all together, as its parameter ``world``."""
    hints = get_type_hints(WorldOptions, include_extras=True)
    options = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(WorldOptions)
    ]
    signature = inspect.signature(command, eval_str=True)
    found = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in signature.parameters.values()]
    at = [one.name for one in found].index("world")

    @wraps(command)
    def taking(**given: Any) -> None:
        world = WorldOptions(**{option.name: given.pop(option.name) for option in options})
        command(world=world, **given)

    parameters = [*found[:at], *options, *found[at + 1 :]]
    taking.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    taking.__annotations__ = {one.name: one.annotation for one in parameters}
    return taking


def scenario_of(told: Trace, world: WorldOptions) -> Scenario:
    """Return the scenario that the options describe.

    Raises
    ------
    UserError
        If two options contradict each other.
    """
    if told.fleet is None:
        raise AssertionError("read_inputs() names a fleet")
    if world.per_hour is not None and world.bursts is not None:
        raise UserError("--per-hour and --bursts both say when jobs come: leave one out")
    return Scenario(
        told.fleet,
        told.workload.jobs,
        copies=world.copies,
        per_hour=_or_never(world.per_hour),
        burst=world.bursts or 0,
        burst_every_s=world.burst_every,
        patience_s=_or_never(world.patience),
        every_s=world.every,
        drift=world.drift,
        drift_every_s=world.drift_every,
        mtbf_s=_or_never(world.mtbf),
        mttr_s=world.mttr,
        foreign=world.foreign,
        foreign_s=world.foreign_for,
        costs=replace(
            ON_RAY,
            start_s=ON_RAY.start_s if world.worker_start is None else world.worker_start,
            start_work_s=ON_RAY.start_work_s if world.worker_start is None else 0.0,
            call_s=world.call_overhead,
            server_s_per_byte=1 / _or_never(world.server_rate),
            num_servers=world.servers,
        ),
        told=told.faults,
        source=told.workload.source,
    )


def _or_never(value: float | None) -> float:
    return math.inf if value is None else value
