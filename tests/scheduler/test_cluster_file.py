"""Cluster files as fleets."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.interface import Resources
from scheduler.cluster_file import MEMORY_PER_CPU, read_fleet
from scheduler.errors import UserError

HERE = Path(__file__).resolve().parents[2]

GOOD = """\
max_workers: 5
head_node_type: head
available_node_types:
  head:
    resources: {CPU: 2}
  fast:
    resources: {CPU: 8, GPU: 2, memory: 1000}
    max_workers: 2
    labels: {apportion.dev/kind: big, apportion.dev/speed: "2", apportion.dev/mbit-per-s: "8", zone: a}
  rest:
    resources: {CPU: 1}
"""


def fleet_of(text: str, folder: Path) -> object:
    path = folder / "c.yaml"
    path.write_text(text)
    return read_fleet(path)


def refusal(text: str, folder: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        fleet_of(text, folder)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_every_type_gives_as_many_machines_as_it_may_have(tmp_path: Path) -> None:
    fleet = fleet_of(GOOD, tmp_path)
    assert [machine.id for machine in fleet.machines] == ["head-0", "fast-0", "fast-1", "rest-0", "rest-1", "rest-2"]
    head, fast = fleet.machines[:2]
    assert head.capacity == Resources(2.0, 0.0, 2 * MEMORY_PER_CPU)
    assert (head.kind, head.speed, head.s_per_byte) == ("head", 1.0, 0.0)
    assert fast.capacity == Resources(8.0, 2.0, 1000.0)
    assert (fast.kind, fast.speed, fast.s_per_byte, fast.labels["zone"]) == ("big", 2.0, 1e-6, "a")


def test_the_cluster_file_of_this_repository_is_a_fleet() -> None:
    fleet = read_fleet(HERE / "cluster.yaml")
    assert {machine.kind for machine in fleet.machines} >= {"m5.2xlarge", "g4dn.2xlarge"}
    assert all(machine.capacity.cpu > 0 for machine in fleet.machines)


def test_all_errors_are_told_at_once_with_line_and_field(tmp_path: Path) -> None:
    bad = GOOD.replace("CPU: 8", "CPU: -8").replace('"2"', '"quick"').replace("_type: head", "_type: haed")
    assert refusal(bad, tmp_path) == [
        "c.yaml:2: head_node_type: names no node type: head, fast, rest, got 'haed'",
        "c.yaml:7: available_node_types.fast.resources.CPU: must be a finite number of at least 0, got -8",
        "c.yaml:9: available_node_types.fast.labels.apportion.dev/speed: must be a finite number of at least 0.001 "
        "in quotes, got 'quick'",
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("head_node_type: head\n", ""), "c.yaml:1: head_node_type: is missing; a Ray cluster file has it"),
        (("max_workers: 5", "max_workers: -1"), "c.yaml:1: max_workers: must be greater than or equal to 0, got -1"),
        (("max_workers: 5", "max_workers: many"), "c.yaml:1: max_workers: must be a valid integer, got 'many'"),
        (("max_workers: 5", "max_workers: 300000"), "c.yaml:1: max_workers: must be at most 200,000, got 300000"),
        (("GPU: 2", "GPU: 2000"), "c.yaml:7: available_node_types.fast.resources.GPU: must be at most 1,024, got 2000"),
        (('"2"', "2"), "c.yaml:9: available_node_types.fast.labels.apportion.dev/speed: must be a text (quote "),
        (("    resources: {CPU: 1}", "    resources: 3"), "c.yaml:11: available_node_types.rest.resources: must be a "),
    ],
)
def test_what_is_wrong_is_named(change: tuple[str, str], expected: str, tmp_path: Path) -> None:
    (line,) = refusal(GOOD.replace(*change), tmp_path)
    assert line.startswith(expected)


def test_a_file_without_anything_to_compute_on_is_refused(tmp_path: Path) -> None:
    text = "max_workers: 3\nhead_node_type: h\navailable_node_types: {h: {resources: {CPU: 0}}}\n"
    assert "there is nothing to simulate" in refusal(text, tmp_path)[0]
