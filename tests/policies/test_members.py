"""What each member answers, in cases that can be checked by hand."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from policies.balance.capacity_proportional import CapacityProportional
from policies.balance.equal import Equal
from policies.balance.round_robin import RoundRobin
from policies.balance.speed_proportional import SpeedProportional, relative_speeds
from policies.balance.uniform_random import UniformRandom
from policies.composed import Composed
from policies.interface import (
    Claim,
    ClusterSnapshot,
    Grant,
    JobView,
    NodeTable,
    Place,
    PlaceView,
    PolicyError,
    Resources,
    Slot,
    Unplaced,
)
from policies.order.fifo import Fifo
from policies.place.pack import Pack
from policies.place.spread import Spread
from policies.strategies import round_view, shard_table, worker_table


def nodes_of(**cpus: float) -> NodeTable:
    return NodeTable.of(tuple(cpus), [[cpu, 0.0, 1000.0] for cpu in cpus.values()])


def claim_of(fewest: int, most: int, cpu: float = 1.0) -> Claim:
    return Claim(JobView("j", 0.0, Resources(cpu=cpu), fewest, most), fewest, most)


def rows_of(place: Place, claim: Claim, nodes: NodeTable, seed: int = 0) -> list[int]:
    answer = place.place(claim, PlaceView(nodes, seed))
    assert not isinstance(answer, Unplaced)
    return [slot.node for slot in answer]


def view_of(num_shards: int, s_per_work: list[float], bundle: Any = None, seed: int = 0, job: str = "j") -> Any:
    workers = worker_table(bundle or [(1.0, 0.0, 1e9)] * len(s_per_work), s_per_work)
    return round_view(workers, shard_table(np.full(num_shards, 10.0), np.ones(num_shards)), seed, job)


def test_fifo_ranks_by_time_then_id_and_skips_who_runs() -> None:
    jobs = tuple(JobView(name, at, Resources(cpu=1), 1, 2) for name, at in [("c", 2), ("b", 1), ("a", 2), ("r", 0)])
    snapshot = ClusterSnapshot(0, 5.0, 0, nodes_of(n=4), jobs, (Grant("r", 0, "n"),))
    assert [claim.job.id for claim in Fifo().rank(snapshot)] == ["b", "a", "c"]


def test_spread_takes_each_node_once_before_any_twice() -> None:
    nodes = nodes_of(small=2, big=8, middle=4)
    rows = rows_of(Spread(), claim_of(1, 5), nodes)
    assert sorted(rows[:3]) == [0, 1, 2]
    assert [nodes.ids[row] for row in rows[3:]] == [
        "big",
        "middle",
    ]  # 7/8 and 3/4 are left of them, 1/2 of small


def test_pack_fills_a_node_before_the_next() -> None:
    nodes = NodeTable.of(("a", "b", "c"), [[4.0, 0.0, 0.0]] * 3, [[4.0, 0, 0], [2.0, 0, 0], [3.0, 0, 0]])
    assert rows_of(Pack(), claim_of(1, 6), nodes) == [1, 1, 2, 2, 2, 0]


@pytest.mark.parametrize("place", [Spread(), Pack()])
def test_ties_follow_the_seed_and_the_id(place: Any) -> None:
    nodes = nodes_of(**{f"n{number}": 4 for number in range(20)})
    firsts = {rows_of(place, claim_of(1, 1), nodes, seed)[0] for seed in range(20)}
    assert len(firsts) > 5
    backwards = nodes_of(**{f"n{number}": 4 for number in reversed(range(20))})
    (one,), (two,) = rows_of(place, claim_of(1, 1), nodes, 3), rows_of(place, claim_of(1, 1), backwards, 3)
    assert nodes.ids[one] == backwards.ids[two]


def test_seeded_ties_do_not_change_between_releases() -> None:
    nodes = nodes_of(a=4, b=4, c=4, d=4)
    assert [rows_of(Spread(), claim_of(1, 1), nodes, seed) for seed in range(4)] == [[3], [2], [0], [0]]


def test_a_gang_that_does_not_fit_is_refused_on_what_is_left() -> None:
    answer = Spread().place(claim_of(4, 8, cpu=2.0), PlaceView(nodes_of(a=3, b=4)))
    assert isinstance(answer, Unplaced)
    assert str(answer).splitlines() == [
        "j: only 3 of 4 fit",
        "  - node a: cpu 2 requested, 1 free",
        "  - node b: cpu 2 requested, 0 free",
    ]


def test_no_nodes() -> None:
    answer = Spread().place(claim_of(1, 1), PlaceView(nodes_of()))
    assert str(answer) == "j: only 0 of 1 fit\n  - the cluster (no nodes): cpu 1 requested, 0 free"


def test_ten_thousand_nodes_take_a_hundred_workers_quickly() -> None:
    nodes = nodes_of(**{f"n{number}": 4 for number in range(10_000)})
    start = time.perf_counter()
    rows = rows_of(Spread(), claim_of(1, 100), nodes)
    assert len(set(rows)) == 100
    assert time.perf_counter() - start < 1.0


QUEUE = (
    JobView("first", 0.0, Resources(cpu=2), 2, 2),
    JobView("huge", 1.0, Resources(cpu=4), 1, 1),
    JobView("small", 2.0, Resources(cpu=1), 1, 9),
)


def test_fifo_lets_nobody_overtake() -> None:
    plan = Composed(Fifo(), Spread(), Equal()).plan(ClusterSnapshot(5, 9.0, 0, nodes_of(a=3, b=3), QUEUE))
    assert plan.version == 5
    assert sorted((g.job, g.worker) for g in plan.grants) == [("first", 0), ("first", 1)]
    assert [str(item) for item in plan.unplaced] == [
        "huge: only 0 of 1 fit\n  - node a: cpu 4 requested, 1 free\n  - node b: cpu 4 requested, 1 free",
        "small: only 0 of 1 fit\n  - waits behind job huge",
    ]


def test_composed_refuses_rows_that_are_no_node() -> None:
    class Stray(Spread):
        def place(self, claim: Claim, view: PlaceView, memo: Any = None) -> Any:
            return (Slot(-1),)

    snapshot = ClusterSnapshot(0, 0.0, 0, nodes_of(a=1), (JobView("j", 0.0, Resources(), 1, 1),))
    with pytest.raises(PolicyError, match="rows 0 to 0, but got"):
        Composed(Fifo(), Stray(), Equal()).plan(snapshot)


def test_equal() -> None:
    assert Equal().divide(view_of(7, [1, 9, 5])).worker_of.tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_round_robin() -> None:
    assert RoundRobin().divide(view_of(7, [1, 9, 5])).worker_of.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_random_is_keyed_by_seed_and_job() -> None:
    first = UniformRandom().divide(view_of(9000, [1, 1, 1])).worker_of
    counts = np.bincount(first)
    assert (abs(counts - 3000) < 5 * np.sqrt(9000 * 2 / 9)).all()
    for other in (view_of(9000, [1, 1, 1], seed=1), view_of(9000, [1, 1, 1], job="k")):
        assert (UniformRandom().divide(other).worker_of != first).any()


def test_random_does_not_change_between_releases() -> None:
    assert UniformRandom().divide(view_of(10, [1, 1, 1])).worker_of.tolist() == [0, 2, 2, 2, 2, 1, 2, 1, 2, 2]


def test_capacity_proportional() -> None:
    bundle = [(1.0, 0.0, 100.0), (3.0, 1.0, 100.0)]  # shares of cpu 1/4, gpu 0, memory 1/2: mean 1/4
    assert np.bincount(CapacityProportional().divide(view_of(8, [1, 1], bundle)).worker_of).tolist() == [2, 6]
    by_cpu = CapacityProportional(weights={"cpu": 1}).divide(view_of(8, [1, 1], bundle))
    assert np.bincount(by_cpu.worker_of).tolist() == [2, 6]
    by_memory = CapacityProportional(weights={"memory": 2.5}).divide(view_of(8, [1, 1], bundle))
    assert np.bincount(by_memory.worker_of).tolist() == [4, 4]


def test_capacity_without_the_resource_is_equal() -> None:
    view = view_of(6, [1, 1], [(1.0, 0.0, 100.0), (5.0, 0.0, 100.0)])
    assert np.bincount(CapacityProportional(weights={"gpu": 1}).divide(view).worker_of).tolist() == [3, 3]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"cpu": -1}, "weights.cpu must be a finite number of at least 0, but got cpu=-1"),
        ({"cpu": float("nan")}, "weights.cpu must be a finite number of at least 0, but got cpu=nan"),
        ({"cpu": "much"}, "but got cpu='much'"),
        ({"cpu": True}, "but got cpu=True"),
        ({"cpus": 1}, "weights must be of cpu, gpu, memory, but got 'cpus'"),
        ({"cpu": 0}, "one of the weights must be greater than 0, but got weights={'cpu': 0}"),
        ({}, "one of the weights must be greater than 0"),
        (3, "weights must be a mapping of cpu, gpu, memory to numbers, but got weights=3"),
    ],
)
def test_capacity_checks_its_options(weights: Any, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        CapacityProportional(weights=weights)
    assert message in str(caught.value)


def test_speed_proportional() -> None:
    answer = SpeedProportional().divide(view_of(12, [0.1, 0.2, np.nan]))  # speeds 10, 5, unmeasured: 7.5
    assert np.bincount(answer.worker_of).tolist() == [5, 3, 4]  # quotas 5.33, 2.67, 4


@pytest.mark.parametrize(
    ("s_per_work", "expected"),
    [
        ([np.nan, np.nan], [1, 1]),
        ([0.0, -1.0], [1, 1]),
        ([2.0, 4.0], [1, 0.5]),
        ([2.0, np.inf], [1, 0]),
        ([np.inf, np.nan], [1, 1]),
        ([2.0, 0.0, 4.0], [1, 0.75, 0.5]),
        ([], []),
    ],
)
def test_relative_speeds(s_per_work: list[float], expected: list[float]) -> None:
    assert relative_speeds(np.array(s_per_work, dtype=float)).tolist() == expected
