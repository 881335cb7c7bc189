"""What a node's labels say of it, and how it reaches the policies."""

from __future__ import annotations

import warnings

import pytest

from policies.interface import Resources
from scheduler import node_labels
from scheduler.inventory import LogicalView, node_table
from scheduler.simulation.fleet import Machine


def view(node: str, labels: dict[str, str]) -> LogicalView:
    amounts = (4.0, 0.0, 1e9)
    return LogicalView(node, "10.0.0.1", False, amounts, amounts, labels)


def test_labels_reach_the_policies() -> None:
    labels = {"apportion.dev/kind": "m5", "apportion.dev/price-per-hour": "0.384", "apportion.dev/mbit-per-s": "2000"}
    table = node_table([view("a", labels), view("b", {"rack": "r1"})], {"b": "class"})
    assert table.kinds == ("m5", "")
    assert table.price_per_hour.tolist() == [0.384, 0.0]
    assert table.s_per_byte.tolist() == [8 / 2000e6, 0.0]
    assert table.labels["rack"] == ("", "r1")
    assert table.labels["apportion.dev/kind"] == ("m5", "")
    assert table.numeric_class == ("", "class")


def test_a_kind_is_our_hint_or_what_ray_knows() -> None:
    labels = {"ray.io/accelerator-type": "A100"}
    assert node_labels.kind(labels) == "A100"
    labels["ray.io/node-group"] = "gpu-workers"
    assert node_labels.kind(labels) == "gpu-workers"
    labels[node_labels.KIND] = "p4d"
    assert node_labels.kind(labels) == "p4d"
    assert node_labels.kind({}) == ""


@pytest.mark.parametrize("price", ["cheap", "-1", "nan", "inf", "1e999", ""])
def test_a_price_that_is_none_is_ignored_with_a_warning(price: str) -> None:
    expected = (
        f"node a: label apportion.dev/price-per-hour must be a finite number of at least 0, but got {price!r}; it"
    )
    with pytest.warns(UserWarning) as caught:
        table = node_table([view("a", {node_labels.PRICE_PER_HOUR: price})])
    assert table.price_per_hour.tolist() == [0.0]
    assert [str(warning.message).startswith(expected) for warning in caught] == [True]


@pytest.mark.parametrize("bandwidth", ["fast", "0", "-5", "nan", "inf"])
def test_a_bandwidth_that_is_none_is_ignored_with_a_warning(bandwidth: str) -> None:
    with pytest.warns(UserWarning, match=r"node a: label apportion.dev/mbit-per-s must be .* but got") as caught:
        assert node_labels.s_per_byte("a", {node_labels.MBIT_PER_S: bandwidth}) == 0.0
    assert len(caught) == 1


def test_a_latency_is_a_hint_to_simulations() -> None:
    machine = Machine.labelled("a", Resources(1.0, 0.0, 1e9), {node_labels.LATENCY_MS: "2.5"})
    assert machine.latency_s == 0.0025
    assert Machine.labelled("a", Resources(1.0, 0.0, 1e9), {}).latency_s == 0.0
    with pytest.warns(UserWarning, match="latency-ms must be a finite number of at least 0, but got 'far'"):
        assert node_labels.latency_s("a", {node_labels.LATENCY_MS: "far"}) == 0.0


def test_good_hints_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert node_labels.price_per_hour("a", {node_labels.PRICE_PER_HOUR: "0"}) == 0.0
        assert node_labels.s_per_byte("a", {node_labels.MBIT_PER_S: "0.5"}) == 8 / 0.5e6


def test_no_nodes() -> None:
    assert len(node_table([])) == 0
