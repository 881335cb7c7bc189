"""What others use of the machines: never granted to a job, and never taken from one."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.worlds import visits, wrongs
from policies.interface import ClusterPlan, ClusterSnapshot, JobView, PolicyError, Resources, frozen
from policies.presets import resolve
from scheduler.results.outcome import RunOutcome
from scheduler.simulation.cluster import SimulatedCluster
from scheduler.simulation.faults import Fault, FaultKind, ForeignLoad, sharing
from scheduler.simulation.fleet import Fleet, Machine
from scheduler.simulation.simulator import simulate
from scheduler.simulation.workload import SimulatedJob, Workload
from scheduler.simulation.world import World

CPU = Resources(1.0)


def job(name: str, work: float = 10.0, at_s: float = 0.0, bundle: Resources = CPU, workers: int = 1) -> SimulatedJob:
    return SimulatedJob(JobView(name, at_s, bundle, workers, workers, work=work, rates={"": frozen([1.0])}))


def run(jobs: list[SimulatedJob], foreign: list[ForeignLoad], *faults: Fault, cpu: float = 1.0) -> RunOutcome:
    fleet = Fleet((Machine("m", Resources(cpu, 0.0, 8.0)),))
    return simulate(World(fleet, Workload(tuple(jobs)), faults, foreign=tuple(foreign)), resolve("equal"))


def ends(outcome: RunOutcome) -> dict[str, float]:
    return {job.id: job.ended_s for job in outcome.jobs}


def test_a_job_waits_for_what_others_have() -> None:
    outcome = run([job("a", at_s=1.0)], [ForeignLoad("m", CPU, 0.0, 6.0)])
    assert ends(outcome) == {"a": 16.0}
    assert [(at_s, words.split(" 1 CPUs")[0]) for at_s, words in outcome.faults] == [
        (0.0, "m: others take"),
        (6.0, "m: others give back"),
    ]


def test_what_comes_free_goes_to_others_first_and_no_job_gives_way() -> None:
    jobs = [job("a"), job("b", 5.0, at_s=1.0)]
    assert ends(run(jobs, [ForeignLoad("m", CPU, 4.0, 20.0)])) == {"a": 10.0, "b": 25.0}


def test_a_load_that_has_not_begun_in_time_never_does() -> None:
    outcome = run([job("a"), job("b", 5.0)], [ForeignLoad("m", CPU, 4.0, 8.0)])
    assert (ends(outcome), outcome.faults) == ({"a": 10.0, "b": 15.0}, ())


def test_a_load_that_does_not_fit_holds_up_no_smaller_one() -> None:
    loads = [ForeignLoad("m", Resources(2.0), 1.0, 50.0), ForeignLoad("m", CPU, 2.0, 30.0)]
    outcome = run([job("a")], loads, cpu=2.0)
    assert [
        (visit[0].amount.cpu, *visit[1:])
        for visit in visits(World(Fleet(()), Workload(()), foreign=tuple(loads)), outcome)
    ] == [(1.0, 2.0, math.inf)]


def test_equal_loads_are_several() -> None:
    outcome = run([job("a", at_s=1.0)], [ForeignLoad("m", CPU, 0.0, 6.0)] * 2, cpu=2.0)
    assert ends(outcome) == {"a": 16.0}


def test_what_leaves_with_its_machine_does_not_come_back() -> None:
    away = Fault(2.0, "m", FaultKind.LEAVE), Fault(3.0, "m", FaultKind.JOIN)
    outcome = run([job("a", at_s=1.0)], [ForeignLoad("m", CPU, 0.0, 60.0)], *away)
    assert ends(outcome) == {"a": 13.0}


def test_others_have_gpus_of_their_own_and_no_leases() -> None:
    cluster = SimulatedCluster(Fleet((Machine("m", Resources(4.0, 2.0, 8.0)),)))
    half = Resources(1.0, 0.5)
    assert cluster.lend(half, "m") == (0,)
    assert cluster.lend(Resources(gpu=2.0), "m") is None
    assert cluster.lend(Resources(gpu=1.0), "m") == (1,)
    nodes = cluster.observe()
    assert (nodes.device_free.tolist(), nodes.free.tolist()) == ([[0.5, 0.0]], [[3.0, 0.5, 8.0]])
    assert (nodes.gpu_leases.sum(), cluster.foreign.tolist()) == (0, [1.0, 1.5, 0.0])
    cluster.take_back(half, "m", (0,))
    assert cluster.observe().device_free.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("amount", "until_s", "error", "message"),
    [
        (Resources(gpu=1.5), 9.0, PolicyError, "others on m: .* got gpu=1.5"),
        (CPU, 3.0, ValueError, "got from_s=3, until_s=3 on m"),
    ],
)
def test_a_load_that_is_none_is_refused(amount: Resources, until_s: float, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        ForeignLoad("m", amount, 3.0, until_s)


def test_random_loads_ask_for_their_part() -> None:
    machines = [Machine("a", Resources(8.0, 4.0, 100.0)), Machine("b", Resources(2.0, 1.0, 10.0))]
    loads = sharing(machines, 0.3, 50.0, 100_000.0, seed=1)
    assert {(load.machine, load.amount) for load in loads} == {
        ("a", Resources(2.0, 1.0, 25.0)),
        ("b", Resources(0.5, 0.25, 2.0)),
    }
    asked = sum((load.until_s - load.from_s) * load.amount.cpu for load in loads)
    assert asked / 100_000.0 / 10.0 == pytest.approx(0.3, rel=0.1)
    assert tuple(load for load in loads if load.machine == "b") == sharing(machines[1:], 0.3, 50.0, 100_000.0, seed=1)
    assert sharing(machines, 0.0, 50.0, 100_000.0, seed=1) == ()


MACHINES = (Machine("m", Resources(3.0, 2.0, 8.0)), Machine("n", Resources(2.0, 1.0, 8.0)))
AMOUNTS = st.builds(Resources, st.sampled_from((0.0, 0.5, 1.0, 2.0)), st.sampled_from((0.0, 0.5, 1.0)), st.just(1.0))
LOADS = st.builds(
    lambda machine, amount, from_s, lasts_s: ForeignLoad(machine, amount, float(from_s), float(from_s + lasts_s)),
    st.sampled_from(("m", "n")),
    AMOUNTS,
    st.integers(0, 30),
    st.integers(1, 30),
)
FAULTS = st.builds(
    lambda at_s, machine, kind: Fault(float(at_s), machine, kind),
    st.integers(1, 40),
    st.sampled_from(("m", "n")),
    st.sampled_from((FaultKind.LEAVE, FaultKind.JOIN)),
)
JOBS = st.lists(st.tuples(st.integers(0, 30), AMOUNTS, st.integers(1, 2), st.integers(1, 20)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(JOBS, st.lists(LOADS, max_size=6), st.lists(FAULTS, max_size=3), st.sampled_from(("fifo", "srtf", "drf")))
def test_nothing_of_a_foreign_load_is_granted(
    asked: list[tuple[int, Resources, int, int]], loads: list[ForeignLoad], faults: list[Fault], order: str
) -> None:
    jobs = [job(f"j{n}", float(work), float(at_s), one, num) for n, (at_s, one, num, work) in enumerate(asked)]
    world = World(Fleet(MACHINES), Workload(tuple(jobs)), tuple(faults), until_s=200.0, foreign=tuple(loads))
    policy, seen = resolve({"order": order}), []
    policy.needs_running = True  # it is shown who runs
    plan = policy.plan

    def watched(snapshot: ClusterSnapshot, memo: Any = None) -> ClusterPlan:
        own: defaultdict[str, Any] = defaultdict(lambda: np.zeros(3))
        for lease in snapshot.leases:
            own[lease.node] += next(one for one in snapshot.jobs if one.id == lease.job).bundle.vector()
        nodes = snapshot.nodes
        for row, node in enumerate(nodes.ids):
            assert nodes.device_free[row].sum() == pytest.approx(nodes.free[row, 1])
            seen.append((snapshot.now_s, node, nodes.capacity[row] - nodes.free[row] - own[node]))
        assert (nodes.free >= 0).all()
        return plan(snapshot, memo)

    policy.plan = watched  # type: ignore[method-assign]
    outcome = simulate(world, policy)
    assert wrongs(world, outcome) == []
    had = visits(world, outcome)
    for now_s, node, theirs in seen:  # who comes or goes at this very moment may be in or out
        there = [(load.amount.vector(), from_s, to_s) for load, from_s, to_s in had if load.machine == node]
        least = sum((amount for amount, from_s, to_s in there if from_s < now_s < to_s), np.zeros(3))
        most = sum((amount for amount, from_s, to_s in there if from_s <= now_s <= to_s), np.zeros(3))
        assert (least <= theirs).all() and (theirs <= most).all()
