"""What no schedule can beat, also where speeds change: by hand. Random worlds check it in ``test_worlds``."""

from __future__ import annotations

import math

import pytest

from policies.interface import JobView, Resources, ShardTable, frozen
from policies.presets import resolve
from scheduler.results.measures import MEASURES
from scheduler.simulation.faults import Fault, FaultKind
from scheduler.simulation.fleet import Fleet, Machine
from scheduler.simulation.ideal import Ideal, lower_bound_s
from scheduler.simulation.simulator import simulate
from scheduler.simulation.workload import Learning, SimulatedJob, Workload
from scheduler.simulation.world import World

CPU = Resources(1.0)
JOBS = tuple(SimulatedJob(JobView(name, 0.0, CPU, 1, 1, work=10.0)) for name in "ab")


Told = tuple[float, FaultKind, float]


def world(*faults: Told, jobs: tuple[SimulatedJob, ...] = JOBS, s_per_byte: float = 0.0) -> World:
    machines = (Machine("m", CPU, speed=2.0, s_per_byte=s_per_byte),)
    found = tuple(Fault(at_s, "m", kind, factor) for at_s, kind, factor in faults)
    return World(Fleet(machines), Workload(jobs), found)


@pytest.mark.parametrize(
    ("faults", "bound_s"),
    [
        ((), 10.0),
        (((0.0, FaultKind.SPEED, 4.0),), 2.5),
        (((0.0, FaultKind.SPEED, 0.5),), 20.0),
        (((0.1, FaultKind.SPEED, 0.5),), 10.0),  # it was as fast as it is for a moment
        (((3.0, FaultKind.SPEED, 4.0), (4.0, FaultKind.SPEED, 1.0)), 2.5),
        (((30.0, FaultKind.SPEED, 4.0),), 10.0),  # after the end
    ],
)
def test_a_machine_is_as_fast_as_it_ever_was(faults: tuple[Told, ...], bound_s: float) -> None:
    assert lower_bound_s(world(*faults), JOBS, 20.0) == bound_s


def test_drift_makes_no_gap_below_0() -> None:
    outcome = simulate(world((0.0, FaultKind.SPEED, 4.0)), resolve("equal"))
    assert outcome.ended_s == outcome.lower_bound_s == 2.5
    assert MEASURES["gap_to_bound"].of(outcome) == 0.0


def test_messages_travel_as_fast_as_they_ever_did() -> None:
    learning = Learning(2, ShardTable(frozen([1.0]), frozen([0.0])), 1.0, message_bytes=3.0, update_bytes=1.0)
    jobs = (SimulatedJob(JobView("a", 0.0, CPU, 1, 1), learning),)
    assert lower_bound_s(world(jobs=jobs, s_per_byte=1.0), jobs, 99.0) == 2 * (0.5 + 4.0)
    quick = world((1.0, FaultKind.BANDWIDTH, 4.0), jobs=jobs, s_per_byte=1.0)
    assert lower_bound_s(quick, jobs, 99.0) == 2 * (0.5 + 1.0)
    assert Ideal(quick).alone_s(jobs[0]) == 2 * (0.5 + 4.0)  # but the time alone is that of the machine as it is


def test_without_jobs_that_end_there_is_no_bound() -> None:
    endless = (SimulatedJob(JobView("a", 0.0, CPU, 1, 1)),)
    assert math.isnan(lower_bound_s(world(jobs=endless), endless, 1.0))
    assert math.isnan(lower_bound_s(world(jobs=()), (), 1.0))
