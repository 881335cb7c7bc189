"""What an autoscaler may add, and whether a job could have its workers then; who could not is told the limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import ClusterResourceConstraint
from service_cases import Service

from policies.feasibility import slots
from policies.interface import JobView, NodeTable, Resources
from scheduler.errors import UserError
from scheduler.ray_cluster import ray_resources
from scheduler.service.growth import Growth, NodeType, Space, num_fitting
from scheduler.service.records import State

ONE = Resources(cpu=1.0)
PLAIN = NodeType("plain", Resources(cpu=2.0), 3)
BIG = NodeType("big", Resources(4.0, 2.0, 8.0), 1, {"size": "big"})
GROWTH = Growth((PLAIN, BIG), 4)
HEAD = NodeTable.of(["head"], [[2.0, 0.0, 0.0]])


def job(name: str, least: int = 1, bundle: Resources = ONE, **more: Any) -> JobView:
    return JobView(name, 0.0, bundle, least, least, **more)


def fits(view: JobView, nodes: NodeTable, growth: Growth) -> bool:
    return num_fitting(view, nodes, growth) == view.min_workers


def test_nodes_that_are_there_count_among_their_type() -> None:
    there = NodeTable.of(
        ["head", "p1", "p2"],
        [[0.0, 0.0, 0.0]] + [[2.0, 0.0, 0.0]] * 2,
        labels={"ray.io/node-group": ["", "plain", "plain"]},
    )
    growth = Growth((PLAIN,), 10)
    assert fits(job("six", 6), there, growth)
    assert not fits(job("seven", 7), there, growth)


def test_gpus_of_several_nodes_do_not_make_one_bundle() -> None:
    assert fits(job("pair", 1, Resources(1.0, 2.0)), HEAD, GROWTH)
    assert not fits(job("triple", 1, Resources(1.0, 3.0)), HEAD, GROWTH)
    assert not fits(job("pairs", 2, Resources(1.0, 2.0)), HEAD, GROWTH)


def cluster(*types: str) -> NodeTable:
    """Return a head without anything, and nodes of these types."""
    kinds = {kind.name: kind for kind in GROWTH.types}
    return NodeTable.of(
        ["head", *(f"{name} {number}" for number, name in enumerate(types))],
        [[0.0, 0.0, 0.0], *(kinds[name].resources.vector() for name in types)],
        labels={"ray.io/node-group": ["head", *types]},
    )


def test_nodes_of_one_type_may_go_for_those_of_another() -> None:
    pair = job("pair", 1, Resources(1.0, 2.0))
    full = cluster("plain", "plain", "plain")
    assert fits(pair, full, GROWTH)
    assert not Space(full, GROWTH).take(pair, 1)  # not as long as they are there


def test_the_least_number_of_a_type_never_goes() -> None:
    pair, full = job("pair", 1, Resources(1.0, 2.0)), cluster("plain", "plain", "plain")
    for least, expected in ((2, True), (3, False)):
        always = NodeType("plain", Resources(cpu=2.0), 3, least=least)
        assert fits(pair, full, Growth((always, BIG), 4)) == expected


def test_nodes_of_no_type_stay_all_of_them() -> None:
    strangers = NodeTable.of(["head", "a", "b"], [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert fits(job("four", 4), strangers, Growth((PLAIN,), 4))
    assert not fits(job("five", 5), strangers, Growth((PLAIN,), 4))


def test_what_is_there_counts_whatever_the_file_says_of_its_type() -> None:
    smaller = Growth((NodeType("plain", Resources(cpu=1.0), 3),), 4)
    assert fits(job("six", 6), cluster("plain", "plain", "plain"), smaller)


def test_the_type_that_is_used_best_is_added_as_ray_does() -> None:
    small, large = NodeType("small", Resources(cpu=1.0), 5), NodeType("large", Resources(cpu=8.0), 2)
    for types in ((small, large), (large, small)):
        assert fits(job("eight", 8), cluster(), Growth(types, 2))
        assert num_fitting(job("two", 2), cluster(), Growth(types, 2)) == 1  # Ray takes a small one for each
        assert fits(job("seventeen", 17), cluster(), Growth(types, 4))
        assert num_fitting(job("eighteen", 18), cluster(), Growth(types, 4)) == 17
    gpus = NodeType("gpus", Resources(8.0, 4.0), 2)
    assert num_fitting(job("nine", 9), cluster(), Growth((gpus, small), 3)) == 2  # and no GPUs in vain


BUNDLES = st.builds(Resources, st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.0]))
TYPES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3)), max_size=3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(BUNDLES, st.integers(1, 12)), min_size=1, max_size=4), TYPES, st.integers(0, 8))
def test_no_more_nodes_are_counted_on_than_may_be_added(
    jobs: list[tuple[Resources, int]], types: list[tuple[int, int, int]], more: int
) -> None:
    kinds = tuple(NodeType(f"t{number}", Resources(cpu, gpu), most) for number, (cpu, gpu, most) in enumerate(types))
    space, taken = Space(HEAD, Growth(kinds, 1 + more)), np.zeros(3)
    for number, (bundle, least) in enumerate(jobs):
        view = job(str(number), least, bundle)
        found = space.num_fitting(view, least)
        assert space.take(view, least) == (found == least)
        taken += bundle.vector() * (least if found == least else 0)
    each = np.array([kind.resources.vector() for kind in kinds for _ in range(kind.most)] or [[0.0] * 3])
    room = HEAD.free.sum(axis=0) + np.sort(each, axis=0)[::-1][:more].sum(axis=0)
    assert (taken <= room + 1e-9).all()


@settings(max_examples=200, deadline=None)
@given(BUNDLES, st.integers(1, 12), TYPES)
def test_where_only_the_types_are_bounded_every_node_is_used(
    bundle: Resources, least: int, types: list[tuple[int, int, int]]
) -> None:
    kinds = tuple(NodeType(f"t{number}", Resources(cpu, gpu), most) for number, (cpu, gpu, most) in enumerate(types))
    all_of_them = [HEAD.capacity[0], *(kind.resources.vector() for kind in kinds for _ in range(kind.most))]
    everything = NodeTable.of([str(number) for number in range(len(all_of_them))], np.array(all_of_them))
    view = job("any", least, bundle)
    most = min(slots(view, everything).sum(), least)
    assert num_fitting(view, HEAD, Growth(kinds, 1 + sum(kind.most for kind in kinds))) == most


def ray_can(view: JobView, kinds: tuple[NodeType, ...], most: int) -> bool:
    """Ask Ray's autoscaler whether it could add nodes for a job's least workers to a cluster without any."""
    bundles = [ResourceRequestUtil.make(ray_resources(view.bundle))] * view.min_workers
    asked = ClusterResourceConstraint(resource_requests=ResourceRequestUtil.group_by_count(bundles))
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs={
            kind.name: NodeTypeConfig(kind.name, 0, kind.most, resources=ray_resources(kind.resources))
            for kind in kinds
        },
        max_num_nodes=most,
        cluster_resource_constraints=[asked],
    )
    return not ResourceDemandScheduler(None).schedule(request).infeasible_cluster_resource_constraints


@settings(max_examples=200, deadline=None)
@given(
    st.builds(Resources, st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.0, 0.0, 1.0, 2.0])),
    st.integers(1, 16),
    st.lists(st.tuples(st.integers(1, 8), st.integers(0, 3), st.integers(1, 3)), max_size=3),
    st.integers(1, 6),
)
def test_a_job_fits_if_rays_autoscaler_says_so(
    bundle: Resources, least: int, types: list[tuple[int, int, int]], most: int
) -> None:
    kinds = tuple(NodeType(f"t{number}", Resources(cpu, gpu), few) for number, (cpu, gpu, few) in enumerate(types))
    view = job("any", least, bundle)
    assert fits(view, NodeTable.of([], np.zeros((0, 3))), Growth(kinds, most)) == ray_can(view, kinds, most)


def test_who_can_never_fit_is_told_the_limits_and_the_type_that_comes_closest() -> None:
    service = Service()
    with pytest.raises(UserError) as told:
        service.submit("wide", cpu=8.0)
    assert "autoscaler" not in str(told.value)
    assert "or add nodes first" in str(told.value)
    types = (
        NodeType("tall", Resources(cpu=1.0, memory=2.0**50), 9),
        NodeType("wide", Resources(cpu=8.0, memory=2.0**40), 1),
    )
    service.registry.growth = lambda: Growth(types, 6)
    assert service.submit("wide", cpu=8.0).state is State.QUEUED
    with pytest.raises(UserError) as told:
        service.submit("wider", cpu=9.0)
    assert str(told.value) == (
        "job wider: only 0 of 1 fit\n"
        "  - node of type wide: cpu 9 requested, 8 free\n"
        "it can never have its workers on this cluster, whoever ends, and whatever its autoscaler may add (nodes at "
        "most: 9 of type tall, 1 of type wide; 6 in all, with the head): ask for fewer (--min-workers) or smaller "
        "ones (workers.bundle), or let it add more or larger nodes"
    )
    with pytest.raises(UserError, match="job pair: only 1 of 2 fit\nit can never"):
        service.submit("pair", 2, 2, cpu=8.0)
    with pytest.raises(UserError, match="only 1 of 2 fit"):
        service.registry.resize("wide", 2, 2, "ada", False, 0.0, service.cluster.observe())
    service.registry.growth = lambda: None  # it has an autoscaler, of which no more is known
    assert service.submit("wider", cpu=9.0).state is State.QUEUED
