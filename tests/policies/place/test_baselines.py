"""The placements that fragmentation gradient descent is compared with, by hand."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from policies.feasibility import Room
from policies.interface import Claim, JobView, NodeTable, Place, PlaceView, PolicyError, Resources, Slot, Unplaced
from policies.place.best_fit import BestFit
from policies.place.dot_product import DotProduct
from policies.place.first_fit import FirstFit
from policies.place.gpu_clustering import GpuClustering
from policies.place.gpu_packing import GpuPacking
from policies.place.greedy import GreedyPlace
from policies.place.uniform_random import UniformNode

LEASES = {"parts": [0, 2, 0], "pairs": [0, 0, 0, 1], "both": [0, 1, 0, 1], "none": []}


def claim(job: str = "j", fewest: int = 1, most: int = 1, **bundle: float) -> Claim:
    return Claim(JobView(job, 0.0, Resources(**bundle), fewest, most), fewest, most)


def table(capacity: Any, devices: Any, cpus: Any = None, leases: Any = None) -> NodeTable:
    """Return nodes of (CPU, GPU) ``capacity``, with these free GPUs and CPUs."""
    width = max(len(row) for row in devices)
    padded = [[*row, *[0.0] * (width - len(row))] for row in devices]
    full = [[cpu, gpu, 100.0] for cpu, gpu in capacity]
    free = [[row[0] if cpus is None else cpus[n], sum(devices[n]), 100.0] for n, row in enumerate(full)]
    counts = None if leases is None else [[*row, *[0] * (10 - len(row))] for row in leases]
    ids = [f"n{n}" for n in range(len(full))]
    return NodeTable.of(ids, full, free, device_free=padded, gpu_leases=counts)


def scores(policy: GreedyPlace, asked: Claim, nodes: NodeTable) -> list[float]:
    return policy.score(asked, nodes, PlaceView(nodes)).tolist()


def node_of(policy: Place, asked: Claim, nodes: NodeTable, seed: int = 0) -> str:
    answer = policy.place(asked, PlaceView(nodes, seed))
    assert not isinstance(answer, Unplaced)
    return nodes.ids[answer[0].node]


THREE = table([(128, 8), (64, 2), (64, 0)], [[1.0] * 8, [0.5, 1.0], []], cpus=[100, 40, 64])
"""100 CPU and 8 GPU are free, 40 and 1.5, 64 and none; the largest node has 128 and 8."""


def test_best_fit_leaves_least_over() -> None:
    wanted = claim(cpu=8.0, gpu=0.5)
    # 92/128 and 7.5/8 are left: 100 (1 - (.71875 + .9375) / 2) = 17.2; then 32/128 and 1/8, 81.25
    assert scores(BestFit(), wanted, THREE)[:2] == [17.0, 81.0]
    assert scores(BestFit(), claim(cpu=8.0), THREE) == [14.0, 78.0, 78.0]
    assert scores(BestFit(cpu=64, gpu=2), wanted, THREE.take([1])) == [50.0]
    assert node_of(BestFit(), wanted, THREE) == "n1"


def test_dot_product_takes_the_smallest() -> None:
    # 100/128 x 8/128 + 8/8 x .5/8 = .111, half of it is lost: 94.4; then 40/128 x 8/128 + 1.5/8 x .5/8 = .031, 98.4
    assert scores(DotProduct(), claim(cpu=8.0, gpu=0.5), THREE)[:2] == [94.0, 98.0]
    assert scores(DotProduct(cpu=64, gpu=2), claim(cpu=32.0, gpu=1.0), THREE.take([1])) == [65.0]


def test_scores_that_differ_by_rounding_errors_only_are_equal() -> None:
    free = 0.1 + 0.2  # a little more than 0.3
    nodes = table([(1, 0)] * 2, [[], []], cpus=[free, 0.3])
    for policy in (BestFit(cpu=0.3), DotProduct(cpu=0.3)):
        one, two = scores(policy, claim(cpu=0.15), nodes)
        assert one == two


def test_gpu_packing_prefers_shared_gpus_then_used_nodes() -> None:
    devices = [[1.0] * 4, [0.39, 1.0, 1.0, 1.0], [0.85, 0.61, 1.0, 1.0], [0.2, 1.0, 1.0, 1.0]]
    nodes = table([(64, 4)] * 4, devices)
    # all idle: 33 - 4; the tightest shared GPU with room has .39, .61, none
    assert scores(GpuPacking(), claim(gpu=0.3), nodes) == [29.0, 97.0, 94.0, 49.0]
    assert scores(GpuPacking(), claim(gpu=1.0), nodes) == [29.0, 49.0, 49.0, 49.0]
    assert scores(GpuPacking(), claim(gpu=2.0), nodes) == [29.0, 48.0, 48.0, 48.0]
    assert scores(GpuPacking(), claim(cpu=1.0), nodes) == [0.0] * 4
    assert GpuPacking().place(claim(gpu=0.3), PlaceView(nodes)) == (Slot(1, (0,)),)


def test_gpu_clustering_puts_the_same_sizes_together() -> None:
    devices = [[0.5, 1.0], [0.0, 0.0], [0.5, 0.0], [1.0, 1.0]]
    nodes = table([(64, 2)] * 4, devices, leases=list(LEASES.values()))
    # 25 (1 - free / 2) on top: 6.25, 25, 18.75, 0
    assert scores(GpuClustering(), claim(gpu=0.5), nodes) == [75 + 6.0, 25.0, 50 + 18.0, 25.0]
    assert scores(GpuClustering(), claim(gpu=2.0), nodes) == [6.0, 75 + 25.0, 50 + 18.0, 25.0]
    assert scores(GpuClustering(), claim(gpu=1.0), nodes) == [6.0, 25.0, 18.0, 25.0]
    assert scores(GpuClustering(gpu=8), claim(gpu=1.0), nodes) == [20.0, 25.0, 23.0, 25 + 18.0]
    assert scores(GpuClustering(), claim(cpu=1.0), nodes) == [0.0] * 4


def test_first_fit_fills_one_node_after_the_other_in_an_order_of_the_seed() -> None:
    nodes = table([(2, 0)] * 8, [[]] * 8)
    answer = FirstFit().place(claim(most=16, cpu=1.0), PlaceView(nodes, seed=3))
    assert not isinstance(answer, Unplaced)
    rows = [slot.node for slot in answer]
    assert rows[::2] == rows[1::2]
    assert sorted(rows[::2]) == list(range(8))
    assert len({node_of(FirstFit(), claim(cpu=1.0), nodes, seed) for seed in range(40)}) > 4
    assert {node_of(FirstFit(), claim(f"j{n}", cpu=1.0), nodes, 3) for n in range(9)} == {nodes.ids[rows[0]]}


def test_random_draws_nodes_and_gpus_evenly() -> None:
    nodes = table([(9, 2)] * 3, [[1.0, 1.0], [0.25, 1.0], [0.5, 0.75]])
    drawn: Counter[Any] = Counter()
    for number in range(900):
        (slot,) = UniformNode().place(claim(f"j{number}", gpu=0.5), PlaceView(nodes))
        drawn[slot.node] += 1
        drawn[slot.node, slot.devices] += 1
    assert all(240 < drawn[node] < 360 for node in range(3))
    assert all(100 < drawn[node, (device,)] < 200 for node in (0, 2) for device in (0, 1))
    assert drawn[1, (1,)] == drawn[1]


def test_random_draws_anew_for_each_worker_and_seed() -> None:
    nodes = table([(9, 0)] * 20, [[]] * 20)
    answer = UniformNode().place(claim(fewest=20, most=20, cpu=1.0), PlaceView(nodes))
    assert len({slot.node for slot in answer}) > 8
    assert len({node_of(UniformNode(), claim(cpu=1.0), nodes, seed) for seed in range(20)}) > 8


def test_random_takes_the_first_whole_gpus() -> None:
    nodes = table([(9, 4)], [[0.5, 1.0, 1.0, 1.0]])
    assert UniformNode().place(claim(gpu=2.0), PlaceView(nodes)) == (Slot(0, (1, 2)),)


@pytest.mark.parametrize("policy", [BestFit(), GpuPacking(), GpuClustering(), UniformNode(), FirstFit(), DotProduct()])
def test_a_shared_gpu_is_never_overfilled(policy: GreedyPlace) -> None:
    room = Room(table([(64, 2)] * 2, [[1.0, 1.0], [1.0, 1.0]]))
    for number in range(12):  # three a GPU
        (slot,) = policy.place(claim(f"j{number}", gpu=0.3), PlaceView(room.view()))
        room.hold(Resources(gpu=0.3), slot.node, slot.devices)
    assert isinstance(policy.place(claim(gpu=0.3), PlaceView(room.view())), Unplaced)
    assert np.allclose(room.device_free, 0.1)


@pytest.mark.parametrize("kind", [BestFit, DotProduct, GpuClustering])
@pytest.mark.parametrize("value", [0, -8, math.nan, math.inf, True, "8"])
def test_a_largest_node_that_cannot_be(kind: Any, value: object) -> None:
    with pytest.raises(PolicyError, match="gpu must be a finite number greater than 0, but got gpu="):
        kind(gpu=value)
