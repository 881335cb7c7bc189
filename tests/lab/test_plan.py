"""What a lab is to be, from a cluster file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.cluster_file import ClusterFile, NodeType, read_cluster_file
from scheduler.errors import UserError
from scheduler.lab.plan import LAB_NODE, LEAST_PROCESSORS, MEMORY_BYTES, plan_lab, usable_processors

CLUSTER = Path(__file__).resolve().parents[2] / "cluster.yaml"


def file_of(**types: NodeType) -> ClusterFile:
    return ClusterFile(
        available_node_types={"head": NodeType(resources={"CPU": 0.0}), **types}, head_node_type="head", max_workers=9
    )


def test_there_is_one_node_of_each_type_that_may_have_any() -> None:
    plan = plan_lab(read_cluster_file(CLUSTER), {}, 2.0)
    assert (plan.head.name, plan.head.cpus, plan.head.number) == ("head-0", 0, 0)
    assert [node.name for node in plan.nodes] == ["cpu-0", "gpu-0", "high-memory-0", "spot-0"]
    assert [(node.cpus, node.gpus, node.mbit_per_s) for node in plan.nodes[:2]] == [(8, 0, 2500.0), (8, 1, 10000.0)]
    assert plan.unit == 2.0 / 32
    assert all(node.processors == 0.5 and node.memory_bytes == MEMORY_BYTES for node in plan.nodes)


def test_more_are_there_if_they_are_always_there_and_counts_say_otherwise() -> None:
    file = file_of(
        a=NodeType(resources={"CPU": 1.0}, min_workers=2),
        b=NodeType(resources={"CPU": 1.0}, max_workers=0),
        c=NodeType(resources={"CPU": 1.0}),
    )
    assert [node.name for node in plan_lab(file, {}, 9.0).nodes] == ["a-0", "a-1", "c-0"]
    assert [node.name for node in plan_lab(file, {"a": 0, "b": 2}, 9.0).nodes] == ["b-0", "b-1", "c-0"]


def test_a_head_that_may_be_a_worker_too_begins_with_the_next_number() -> None:
    plan = plan_lab(file_of(), {"head": 2}, 1.0)
    assert (plan.head.name, [node.name for node in plan.nodes]) == ("head-0", ["head-1", "head-2"])


def test_a_node_has_what_its_type_declares() -> None:
    labels = {"apportion.dev/latency-ms": "5", "apportion.dev/mbit-per-s": "80", "zone": "a"}
    resources = {"CPU": 2.0, "GPU": 1.0, "memory": 1e9, "object_store_memory": 1e8, "disk": 1.5}
    (node,) = plan_lab(file_of(a=NodeType(resources=resources, labels=labels)), {"a": 1}, 9.0).nodes
    assert (node.cpus, node.gpus, node.memory_bytes, node.object_store_bytes) == (2, 1, 10**9, 10**8)
    assert (node.resources, node.mbit_per_s, node.latency_ms) == ({"disk": 1.5}, 80.0, 5.0)
    assert node.labels == labels | {"apportion.dev/kind": "a", LAB_NODE: "a-0"}


speeds = st.floats(0.01, 10.0).map(lambda speed: f"{speed:g}")
shapes = st.lists(st.tuples(st.integers(0, 64), speeds, st.integers(0, 8)), min_size=1, max_size=6)


@given(shapes=shapes.filter(lambda found: any(count for *_, count in found)), processors=st.floats(0.5, 64.0))
def test_nodes_share_the_processors_in_proportion(shapes: list[tuple[int, str, int]], processors: float) -> None:
    types = {
        f"t{number}": NodeType(resources={"CPU": float(cpu)}, labels={"apportion.dev/speed": speed})
        for number, (cpu, speed, _) in enumerate(shapes)
    }
    plan = plan_lab(file_of(**types), {f"t{number}": count for number, (*_, count) in enumerate(shapes)}, processors)
    ideal = [node.cpus * float(node.labels["apportion.dev/speed"]) for node in plan.nodes]
    assert 0 < plan.unit <= 1
    assert plan.unit == 1 or sum(ideal) * plan.unit == pytest.approx(processors)
    for node, wanted in zip(plan.nodes, ideal, strict=True):
        assert node.processors == pytest.approx(max(LEAST_PROCESSORS, wanted * plan.unit))
    placed = plan.at("10.213.7")
    assert len({node.address for node in (placed.head, *placed.nodes)}) == len(plan.nodes) + 1
    assert (placed.head.address, placed.nodes[0].address) == ("10.213.7.1", "10.213.7.2")


@given(processors=st.integers(1, 512))
def test_some_of_a_processor_is_left_to_head_and_driver(processors: int) -> None:
    assert 0.7 * processors <= usable_processors(processors) < processors


def test_all_that_is_wrong_is_told_at_once() -> None:
    file = file_of(cpu=NodeType(resources={"CPU": 1.5, "GPU": 0.5}))
    with pytest.raises(UserError) as caught:
        plan_lab(file, {"cpx": 1, "cpu": -1}, 1.0)
    assert str(caught.value).splitlines() == [
        "--nodes: unknown node type 'cpx'. Did you mean 'cpu'? The choices are head, cpu.",
        "--nodes: there must be at least 0 nodes of type 'cpu', got -1",
        "node type 'cpu': CPU must be a whole number to start it here, got 1.5",
        "node type 'cpu': GPU must be a whole number to start it here, got 0.5",
    ]


@pytest.mark.parametrize("count", [0, 100])
def test_a_lab_has_some_nodes_and_not_too_many(count: int) -> None:
    with pytest.raises(UserError, match=f"from 1 to 99 nodes beside its head, but this one would have {count}"):
        plan_lab(file_of(cpu=NodeType(resources={"CPU": 1.0})), {"cpu": count}, 1.0)
