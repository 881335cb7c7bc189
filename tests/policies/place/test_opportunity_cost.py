"""Opportunity cost: the kit, by hand, against its formula spelled out, and on the trace."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from benchmarks import openb, public_data
from policies.composed import demand_of
from policies.feasibility import fits
from policies.interface import Claim, Demand, JobView, NodeTable, PlaceView, PolicyError, Resources, Slot, frozen
from policies.place.filling import UNITS, best_use, random_use
from policies.place.opportunity_cost import AtPrices, OpportunityCost, slot_prices
from policies.place.worth import Coming
from policies.strategies import job_views, node_tables
from policies.testing import PlaceConformance


class TestOpportunityCost(PlaceConformance):
    def policy(self) -> OpportunityCost:
        return OpportunityCost()


def claim(bundle: Resources, workers: int = 1, **more: object) -> Claim:
    return Claim(JobView("j", 0.0, bundle, workers, workers, **more), workers, workers)  # type: ignore[arg-type]


def mix(*bundles: Resources, weights: list[float] | None = None, models: list[str] | None = None) -> Demand:
    selectors = [{"model": (model,)} if model else {} for model in models or [""] * len(bundles)]
    return Demand(frozen([one.vector() for one in bundles]), frozen(weights or [1.0] * len(bundles)), tuple(selectors))


def table(*devices: list[float], cpu: list[float] | float = 100.0, models: list[str] | None = None) -> NodeTable:
    width, cpus = max(map(len, devices)), cpu if isinstance(cpu, list) else [cpu] * len(devices)
    free = [[one, sum(row), 1000.0] for one, row in zip(cpus, devices, strict=True)]
    return NodeTable.of(
        [f"n{number}" for number in range(len(devices))],
        [[100.0, len(row), 1000.0] for row in devices],
        free,
        device_free=[row + [0.0] * (width - len(row)) for row in devices],
        labels={"model": models} if models else {},
    )


def put(bundle: Resources, nodes: NodeTable, demand: Demand, workers: int = 1, **more: object) -> list[Slot]:
    answer = OpportunityCost().place(claim(bundle, workers, **more), PlaceView(nodes, 0, demand))
    assert isinstance(answer, tuple)
    return list(answer)


def scores(bundle: Resources, nodes: NodeTable, demand: Demand, rows: list[int] | None = None) -> list[float]:
    coming = Coming(demand, 200.0)
    policy = AtPrices(coming, slot_prices(coming, nodes))
    return policy.score(claim(bundle), nodes if rows is None else nodes.take(rows), PlaceView(nodes, 0)).tolist()


def gpu(part: float, cpu: float = 1.0) -> Resources:
    return Resources(cpu=cpu, gpu=part, memory=1.0)


@pytest.mark.parametrize(("part", "best"), [(0.35, 1), (0.65, 2)])
def test_a_part_goes_where_it_leaves_nothing_that_could_be_used(part: float, best: int) -> None:
    """.35 and .65 are to come, equally often: .35 fills up .35, although .65 and .5 have room as well."""
    nodes = table([0.5], [0.35], [0.65], [1.0])
    assert put(gpu(part), nodes, mix(gpu(0.35), gpu(0.65)))[0].node == best


def test_the_gpu_of_a_node_is_the_one_that_fits_best_too() -> None:
    assert put(gpu(0.35), table([1.0, 0.5, 0.65, 0.35]), mix(gpu(0.35), gpu(0.65))) == [Slot(0, (3,))]


def test_a_part_that_leaves_room_for_a_bundle_beats_one_that_leaves_a_sliver() -> None:
    """On .9 it leaves .5, for another half; on .8, .4, which nobody wants. The tightest fit would be the worse."""
    assert put(gpu(0.4), table([0.8], [0.9]), mix(gpu(0.5)))[0].node == 1


def test_who_needs_no_gpu_goes_where_cpu_is_to_spare() -> None:
    """A GPU goes with 10 CPUs. Both nodes have 2 free GPUs, but one has 25 CPUs: 8 fewer would strand a GPU there."""
    demand = mix(gpu(1.0, cpu=10.0), gpu(0.5, cpu=5.0))
    nodes = table([1.0, 1.0], [1.0, 1.0], cpu=[25.0, 60.0])
    assert put(Resources(cpu=8.0), nodes, demand)[0].node == 1
    assert put(Resources(cpu=8.0), table([0.0, 0.0], [1.0, 1.0], cpu=[9.0, 25.0]), demand)[0].node == 0


def test_many_cpus_go_where_they_are_and_few_where_few_are() -> None:
    demand = mix(gpu(1.0, cpu=4.0), gpu(1.0, cpu=16.0))
    nodes = table([1.0, 1.0], [1.0, 1.0], cpu=[20.0, 60.0])
    assert put(gpu(1.0, cpu=16.0), nodes, demand)[0].node == 1
    assert put(gpu(1.0, cpu=4.0), nodes, demand)[0].node == 0


def test_whole_nodes_are_kept_for_those_who_want_them() -> None:
    nodes = table([1.0] * 4, [1.0, 1.0, 1.0, 0.0], [1.0] * 4)
    assert put(gpu(1.0), nodes, mix(gpu(1.0), gpu(4.0)))[0].node == 1


def test_gpus_that_somebody_insists_on_are_kept_for_them() -> None:
    demand = mix(gpu(1.0), gpu(1.0), models=["", "rare"])
    nodes = table([1.0, 1.0], [1.0, 1.0], [1.0, 1.0], models=["rare", "", ""])
    assert {put(gpu(1.0), nodes, demand, seed)[0].node for seed in (1, 1)} <= {1, 2}
    assert put(gpu(1.0), nodes, demand, selector={"model": ("rare",)})[0].node == 0


def test_the_price_of_a_slot_is_what_it_serves_times_how_likely_it_is_needed() -> None:
    """Free are 12 GPUs, of which a bundle takes 2 on average: 6 are to come, half of them with 3 GPUs.

    With one slot left for those, it is needed unless none comes, with probability exp(-3); with two, unless one or
    none comes, (1 + 3) exp(-3). One GPU has its price nowhere.
    """
    of = Coming(mix(gpu(1.0), gpu(3.0)), 200.0).prices
    assert of(np.array([1]), 12.0) == pytest.approx([3 * (1 - math.exp(-3))])
    assert of(np.array([2]), 12.0) == pytest.approx([3 * (1 - 4 * math.exp(-3))])
    assert of(np.array([1000]), 12.0) == pytest.approx([0.0])
    assert of(np.array([1]), 0.0) == pytest.approx([0.0])


def test_bundles_with_as_many_gpus_compete_for_slots() -> None:
    """Two kinds of 3 GPUs, one with three quarters: each slot is priced as often as any of them comes."""
    alone = Coming(mix(gpu(1.0), gpu(3.0)), 200.0).prices(np.array([2]), 12.0)
    both = Coming(mix(gpu(1.0), gpu(3.0), gpu(3.0, cpu=9.0), weights=[4.0, 3.0, 1.0]), 200.0)
    assert both.prices(np.array([2, 2]), 12.0) == pytest.approx([0.75 * alone[0], 0.25 * alone[0]])


def test_slots_are_counted_by_every_resource_and_label() -> None:
    nodes = table([1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [1.0, 1.0, 0.5], cpu=[100.0, 1.5, 100.0], models=["a", "a", "b"])
    mine = Coming(mix(gpu(0.5), gpu(0.5), gpu(2.0), models=["", "a", ""]), 200.0)
    assert mine.choosy.tolist() == [1, 2]
    assert mine.on(nodes).slots(nodes.free, np.array([[2, 0], [2, 2], [2, 1]])).tolist() == [
        [[2, 1], [0, 0]],
        [[1, 1], [1, 1]],
        [[0, 1], [0, 0]],
    ]


def test_a_whole_node_is_given_up_where_there_are_many_and_kept_where_it_is_the_last() -> None:
    """A GPU goes with 10 CPUs, and this bundle with 12: on the used node that strands .2 GPUs, on a whole one none."""
    demand, bundle = mix(gpu(1.0, cpu=10.0), gpu(4.0, cpu=40.0), weights=[99.0, 1.0]), gpu(1.0, cpu=12.0)
    used, whole = [1.0, 1.0, 1.0, 0.0], [1.0] * 4
    assert put(bundle, table(used, *[whole] * 30, cpu=[30.0] + [50.0] * 30), demand)[0].node > 0
    last = mix(gpu(1.0, cpu=10.0), gpu(4.0, cpu=40.0))
    assert put(bundle, table(used, whole, cpu=[30.0, 50.0]), last)[0].node == 0


def test_what_is_stranded_by_hand() -> None:
    """All bundles need 10 CPUs a GPU and 1 of memory: of 4 free GPUs with 25 CPUs, 1.5 will lack some."""
    nodes = table([1.0] * 4, [1.0] * 4, cpu=[25.0, 41.0])
    worth = Coming(mix(Resources(cpu=10.0, gpu=1.0, memory=1.0)), 200.0).on(nodes)
    assert worth.stranded(nodes.free, np.array([4.0, 4.0])) == pytest.approx([1.5, 0.0])
    assert worth.stranded(nodes.free, np.zeros(2)).tolist() == [0.0, 0.0]


def test_without_a_mix_the_fullest_node_is_taken() -> None:
    nodes = table([1.0, 1.0], [1.0, 0.5], [1.0, 1.0], cpu=[50.0, 60.0, 90.0])
    assert put(gpu(0.5), nodes, Demand())[0].node == 1
    assert put(Resources(cpu=1.0), nodes, mix(Resources(cpu=1.0)))[0].node == 0


def test_a_gang_is_placed_on_what_its_first_workers_leave() -> None:
    nodes = table([0.35, 1.0], [0.35, 1.0])
    slots = put(gpu(0.35), nodes, mix(gpu(0.35), gpu(0.65)), workers=3)
    assert sorted(slots[:2]) == [Slot(0, (0,)), Slot(1, (0,))]
    assert slots[2].devices == (1,)


@given(st.permutations(range(3)))
def test_the_order_of_the_mix_does_not_matter(order: list[int]) -> None:
    demand = mix(gpu(0.5), gpu(1.0), gpu(4.0), weights=[3.0, 2.0, 1.0], models=["", "a", ""])
    turned = Demand(demand.bundles[order], demand.weights[order], tuple(demand.selectors[row] for row in order))
    nodes = table([1.0, 0.5], [0.5, 0.5], models=["a", "b"])
    assert Coming(turned, 200.0).key == Coming(demand, 200.0).key
    assert scores(gpu(0.5), nodes, turned) == scores(gpu(0.5), nodes, demand)


Free = tuple[list[float], list[float]]
"""CPU, GPU and memory of a node, and the parts of its GPUs."""


def admits(demand: Demand, one: int, nodes: NodeTable, row: int) -> bool:
    have = {label: values[row] for label, values in nodes.labels.items()}
    return all(have.get(label, "") in asked for label, asked in demand.selectors[one].items())


def fit_of(demand: Demand, one: int, free: Free) -> float:
    """Return how often a bundle of the mix fits on idle GPUs."""
    (cpu, gpus, memory), idle = demand.bundles[one], sum(part + 1e-6 >= 1 for part in free[1])
    fit = float(idle // max(gpus, 1.0))
    for amount, left in ((cpu, free[0][0]), (memory, free[0][2])):
        fit = min(fit, (left + 1e-6) // amount) if amount > 0 else fit
    return max(fit, 0.0)


def price_of(demand: Demand, one: int, nodes: NodeTable) -> float:
    """Return what a slot of a bundle of the mix is worth, by Littlewood's rule."""
    asks = [row for row in range(len(demand)) if demand.bundles[row, 1] > 0]
    total, gpus = sum(demand.weights[asks]), demand.bundles[:, 1]
    group = sum(
        demand.weights[row]
        for row in asks
        if max(gpus[row], 1.0) == max(gpus[one], 1.0) and demand.selectors[row] == demand.selectors[one]
    )
    coming = nodes.device_free.sum() / (demand.weights * gpus).sum() * group
    frees = ((nodes.free[row].tolist(), nodes.device_free[row].tolist()) for row in range(len(nodes)))
    slots = sum(fit_of(demand, one, free) for row, free in enumerate(frees) if admits(demand, one, nodes, row))
    likely = 1 - sum(math.exp(-coming) * coming**num / math.factorial(num) for num in range(int(slots)))
    return float(gpus[one] * demand.weights[one] / group * likely) if total else 0.0


def worth_of(demand: Demand, free: Free, nodes: NodeTable, row: int) -> float:
    """Return what is free on a node is worth, as ``docs/policies/opportunity-cost.md`` says, but bundle by bundle."""
    gpus, weights = demand.bundles[:, 1], demand.weights
    mine = [one for one in range(len(demand)) if gpus[one] > 0 and admits(demand, one, nodes, row)]
    asked: dict[int, float] = {}
    for one in mine:
        size = max(int(min(gpus[one], 1.0) * UNITS + 1e-6), 1)
        asked[size] = asked.get(size, 0.0) + weights[one] * max(gpus[one], 1.0)
    sizes, shares = np.array(sorted(asked), dtype=np.int64), np.array([asked[size] for size in sorted(asked)])
    of_part = (random_use(sizes, shares, 200.0) + best_use(sizes, shares)) / 2
    value = sum(of_part[int((part + 1e-6) * UNITS)] for part in free[1])
    idle, wanted = sum(free[1]), sum(weights[mine] * gpus[mine])
    for resource in (0, 2):
        needs = sum(weights[mine] * demand.bundles[mine, resource]) / wanted if mine else 0.0
        if idle > 1e-6 and needs > 1e-6:
            spread = sum(weights[mine] * (demand.bundles[mine, resource] - needs * gpus[mine]) ** 2) / wanted
            deviation = max(math.sqrt(spread * idle), 1e-9)
            z = (needs * idle - free[0][resource]) / deviation
            value -= deviation * (z * norm.cdf(z) + norm.pdf(z)) / needs
    choosy = [one for one in mine if gpus[one] > 1 or demand.selectors[one]]
    return float(value + sum(price_of(demand, one, nodes) * fit_of(demand, one, free) for one in choosy))


@settings(max_examples=100, deadline=None)
@given(nodes=node_tables(), jobs=st.lists(job_views(), min_size=1, max_size=5))
def test_scores_are_those_of_the_formula(nodes: NodeTable, jobs: list[JobView]) -> None:
    demand, bundle = demand_of(tuple(jobs)), jobs[0].bundle
    for row in np.flatnonzero(fits(jobs[0], nodes)).tolist():
        devices, left = nodes.device_free[row].tolist(), (nodes.free[row] - bundle.vector()).tolist()
        before, after = worth_of(demand, (nodes.free[row].tolist(), devices), nodes, row), []
        for device, room in enumerate(devices if 0 < bundle.gpu < 1 else [1.0]):
            rest = list(devices)
            if 0 < bundle.gpu < 1:
                rest[device] -= bundle.gpu
            else:
                for idle in [number for number, part in enumerate(devices) if part + 1e-6 >= 1][: int(bundle.gpu)]:
                    rest[idle] = 0.0
            if room + 1e-6 >= min(bundle.gpu, 1.0):
                after.append(worth_of(demand, (left, rest), nodes, row))
        (score,) = scores(bundle, nodes, demand, [row])
        one = nodes.take([row])
        whole = 0.0 if bundle.gpu < 1 else Coming(demand, 200.0).on(one).of_parts(np.ones((1, 1))).item()
        assert score == pytest.approx(max(after) - before + int(bundle.gpu) * whole, abs=1e-6)


@pytest.mark.parametrize("offers", [0, -1, math.inf, math.nan, True, "many"])
def test_offers_that_cannot_be(offers: object) -> None:
    with pytest.raises(PolicyError, match="offers must be a finite number greater than 0, but got offers="):
        OpportunityCost(offers)  # type: ignore[arg-type]


def test_it_is_above_fgd_on_the_trace(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (data_folder / "openb").is_dir():
        pytest.skip(f"the OpenB trace is absent: {data_folder / 'openb'} (set APPORTION_DATA)")
    monkeypatch.setattr(public_data, "DATA", data_folder)
    found = openb.measure("opportunity-cost", seeds=1)
    for (allocated,), (published, _) in zip(found.allocated, openb.PUBLISHED["fgd"], strict=True):
        assert allocated > published + 0.7
