"""Fragmentation gradient descent: by hand, and against the definition spelled out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.composed import demand_of
from policies.feasibility import fits
from policies.interface import CPU, Claim, Demand, JobView, NodeTable, PlaceView, PolicyError, Resources, Slot, frozen
from policies.place.fgd import FragmentationGradientDescent
from policies.place.fragmentation import Mix
from policies.strategies import job_views, node_tables

PART = Resources(cpu=1.0, gpu=0.5)
WHOLE = Resources(cpu=2.0, gpu=1.0)
NO_GPU = Resources(cpu=1.0)
MIX = Demand(frozen([one.vector() for one in (PART, WHOLE, NO_GPU)]), frozen([5.0, 3.0, 2.0]), ({}, {}, {}))


def claim(bundle: Resources, **more: object) -> Claim:
    return Claim(JobView("j", 0.0, bundle, 1, 1, **more), 1, 1)  # type: ignore[arg-type]


def table(*devices: list[float], cpu: float = 4.0, labels: list[str] | None = None) -> NodeTable:
    free = [[cpu, sum(row), 100.0] for row in devices]
    ids = [f"n{number}" for number in range(len(devices))]
    more = {} if labels is None else {"model": labels}
    return NodeTable.of(ids, [[8.0, 2.0, 100.0]] * len(ids), free, device_free=devices, labels=more)


def scores(bundle: Resources, nodes: NodeTable, demand: Demand = MIX, **options: float) -> list[float]:
    policy = FragmentationGradientDescent(**options)
    return policy.score(claim(bundle), nodes, PlaceView(nodes, 0, demand)).tolist()


def sigmoid_100(decrease: float) -> int:
    return math.floor(100 / (1 + math.exp(-decrease)))


def test_a_small_node_by_hand() -> None:
    """Free are half a GPU and a whole one: 0 x .5 + .5 x .3 + 1.5 x .2 = .45 are of no use to the mix.

    Half a GPU on the half leaves 0 + 0 + 1 x .2 = .2; on the whole one, 0 + 1 x .3 + 1 x .2 = .5. A whole one leaves
    0 + .5 x .3 + .5 x .2 = .25. A bundle without GPUs changes nothing, until it takes the CPU that half GPUs need.
    """
    nodes = table([0.5, 1.0])
    assert scores(PART, nodes) == [sigmoid_100(0.45 - 0.2)] == [56]
    assert scores(WHOLE, nodes) == [sigmoid_100(0.45 - 0.25)] == [54]
    assert scores(NO_GPU, nodes) == [50]
    assert scores(Resources(cpu=2.5), nodes) == [sigmoid_100(0.45 - 0.5 * 0.0 - 1.5 * (0.3 + 0.2))] == [42]
    assert scores(Resources(cpu=4.0), nodes) == [sigmoid_100(0.45 - 1.5)] == [25]


def test_the_gpu_is_the_one_that_spoils_least_and_the_first_of_equals() -> None:
    policy = FragmentationGradientDescent()
    for devices, best in (([0.5, 1.0], 0), ([1.0, 0.5], 1), ([1.0, 1.0], 0), ([0.25, 1.0], 1)):
        nodes = table(devices)
        assert policy.place(claim(PART), PlaceView(nodes, 0, MIX)) == (Slot(0, (best,)),)
    assert policy.place(claim(WHOLE), PlaceView(table([0.5, 1.0]), 0, MIX)) == (Slot(0, (1,)),)


def test_it_goes_where_a_gpu_is_broken_already() -> None:
    nodes = table([1.0, 1.0], [0.5, 1.0], [0.5, 0.5])
    assert scores(PART, nodes) == [sigmoid_100(-0.5 * 0.3 + 0.5 * 0.2), 56, sigmoid_100(0.5 * 0.3 + 0.5 * 0.2)]
    assert FragmentationGradientDescent().place(claim(PART), PlaceView(nodes, 0, MIX)) in (
        (Slot(1, (0,)),),
        (Slot(2, (0,)),),
    )


def test_what_a_node_is_not_asked_for_is_of_no_use_there() -> None:
    """Of two equal nodes only one may have whole GPUs' bundles, so half GPUs go to the other."""
    demand = Demand(
        frozen([WHOLE.vector(), PART.vector()]), frozen([1.0, 1.0]), ({"model": ("big", "huge")}, {"model": ("x",)})
    )
    nodes = table([1.0, 1.0], [1.0, 1.0], [1.0, 1.0], labels=["big", "small", "x"])
    spoilt = sigmoid_100(-(0.5 * 0.5) + 0.5 * 0.5)  # .5 on the broken GPU no more for whole ones; .5 less for parts
    assert scores(PART, nodes, demand) == [spoilt, sigmoid_100(0.5), sigmoid_100(0.25)] == [50, 62, 56]


def test_the_mix_is_cut_to_its_most_frequent_bundles() -> None:
    mix = Mix(MIX, 0.8)
    assert mix.bundles.tolist() == [[1.0, 0.5], [2.0, 1.0]]
    assert mix.weights.tolist() == [0.625, 0.375]
    assert len(Mix(MIX, 0.81).weights) == 3
    assert scores(PART, table([0.5, 1.0]), cover=0.5) == [sigmoid_100(0.0)] == [50]


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_weights_are_in_any_unit(unit: float) -> None:
    for cover, kept in ((0.8, 2), (0.81, 3)):
        assert len(Mix(Demand(MIX.bundles, MIX.weights * unit, MIX.selectors), cover).weights) == kept


def test_bundles_that_differ_in_memory_only_are_one_class_of_the_mix() -> None:
    bundles = frozen([[1.0, 1.0, memory] for memory in (1.0, 2.0, 3.0)])
    mix = Mix(Demand(bundles, frozen([1.0, 1.0, 2.0]), ({}, {}, {})), 1.0)
    assert (mix.bundles.tolist(), mix.weights.tolist()) == ([[1.0, 1.0]], [1.0])


def test_without_a_mix_all_nodes_are_alike() -> None:
    assert len(set(scores(PART, table([0.5, 1.0], [1.0, 1.0]), Demand()))) == 1


@given(st.permutations(range(3)))
def test_the_order_of_the_mix_does_not_matter(order: list[int]) -> None:
    turned = Demand(MIX.bundles[order], MIX.weights[order], ({}, {}, {}))
    assert Mix(turned, 0.95).key == Mix(MIX, 0.95).key


def fragmentation(nodes: NodeTable, row: int, cpu: float, devices: list[float], demand: Demand) -> float:
    """Return the GPUs of a node that a bundle drawn from ``demand`` can not use, as the paper defines it."""
    spoilt = 0.0
    for bundle, weight, selector in zip(demand.bundles, demand.weights, demand.selectors, strict=True):
        of_each, many = min(bundle[1], 1.0), max(bundle[1], 1.0)
        welcome = all(nodes.labels.get(key, ("",) * len(nodes))[row] in ok for key, ok in selector.items())
        fit = welcome and bundle[1] > 0 and cpu >= bundle[0] and sum(room >= of_each for room in devices) >= many
        spoilt += weight * sum(room for room in devices if not fit or room < of_each)
    return spoilt / demand.weights.sum()


@settings(max_examples=150, deadline=None)
@given(nodes=node_tables(), jobs=st.lists(job_views(), min_size=1, max_size=6))
def test_scores_are_those_of_the_definition(nodes: NodeTable, jobs: list[JobView]) -> None:
    demand = demand_of(tuple(jobs))
    policy, view, bundle = FragmentationGradientDescent(cover=1.0), PlaceView(nodes, 0, demand), jobs[0].bundle
    able = np.flatnonzero(fits(jobs[0], nodes)).tolist()
    for row in able:
        cpu, devices = float(nodes.free[row, CPU]), nodes.device_free[row].tolist()
        before, after = fragmentation(nodes, row, cpu, devices, demand), []
        for device, room in enumerate(devices if 0 < bundle.gpu < 1 else [1.0]):
            left = list(devices)
            if 0 < bundle.gpu < 1:
                left[device] -= bundle.gpu
            else:
                for idle in [number for number, free in enumerate(devices) if free == 1][: int(bundle.gpu)]:
                    left[idle] = 0.0
            if room >= min(bundle.gpu, 1.0):
                after.append(fragmentation(nodes, row, cpu - bundle.cpu, left, demand))
        best = 100 / (1 + math.exp(min(after) - before))
        found = float(policy.score(Claim(jobs[0], 1, 1), nodes.take([row]), view)[0])
        assert math.floor(best - 1e-6) <= found <= math.floor(best + 1e-6)


@pytest.mark.parametrize("cover", [0, -1, 1.01, math.nan, True, "most"])
def test_a_cover_that_cannot_be(cover: object) -> None:
    with pytest.raises(PolicyError, match="cover must be greater than 0 and at most 1, but got cover="):
        FragmentationGradientDescent(cover)  # type: ignore[arg-type]
