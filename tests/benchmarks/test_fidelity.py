"""What is fitted of runs: the parameters with which they were made."""

from __future__ import annotations

import pytest

from benchmarks.fidelity import ranking
from benchmarks.fitting import fitted
from policies.interface import JobView, Resources, ShardTable, frozen
from policies.presets import resolve
from scheduler.simulation.fleet import Fleet, Machine
from scheduler.simulation.simulator import simulate
from scheduler.simulation.workload import Learning, SimulatedJob, Workload
from scheduler.simulation.world import Costs, World

SPEEDS = {"a": 0.5, "b": 0.35, "c": 0.25, "d": 0.15}


def test_the_fit_of_a_simulated_run_is_what_was_simulated() -> None:
    costs = Costs(start_s=0.7, start_work_s=1.25, call_s=0.03, round_s=0.002, end_s=0.4, release_s=0.6)
    shards = ShardTable(frozen([100.0] * 8), frozen([0.0] * 8))
    learning = Learning(5, shards, s_per_work=1e-3)
    views = [JobView(name, 0.0, Resources(cpu=1.0), 4, 4, work=4000.0) for name in "ij"]
    jobs = tuple(SimulatedJob(view, learning) for view in views)
    fleet = Fleet(tuple(Machine(name, Resources(cpu=1.0), speed=speed) for name, speed in SPEEDS.items()))
    run = simulate(World(fleet, Workload(jobs), costs=costs), resolve("round-robin"))
    fit = fitted([run], {"i": learning, "j": learning})
    assert fit.speeds == pytest.approx(SPEEDS)
    assert fit.s_per_call == pytest.approx(0.0, abs=1e-9)
    for name in ("start_s", "start_work_s", "call_s", "round_s", "release_s"):
        assert getattr(fit.costs, name) == pytest.approx(getattr(costs, name)), name
    assert fit.costs.end_s == pytest.approx(costs.end_s + costs.round_s)  # the server closes the last round, too


def test_rankings_count_where_live_figures_differ() -> None:
    def row(policy: str, live: float, simulated: float, case: str = "c") -> dict[str, object]:
        return {"case": case, "measure": "m", "policy": policy, "live": [live], "simulated": simulated}

    rows = [row("a", 1.0, 1.0), row("b", 2.0, 3.0), row("c", 1.05, 0.5), row("d", 9.0, 0.1, case="another")]
    assert ranking(rows) == (2, 2)  # a and c are as good as equal; nothing is compared across cases
    assert ranking([row("a", 1.0, 3.0), row("b", 2.0, 2.0)]) == (0, 1)
