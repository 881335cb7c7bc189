"""How nodes are held: quotas, budgets, queues, and the commands that start them."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.cluster_file import ClusterFile, NodeType
from scheduler.lab import raylets
from scheduler.lab.budget import BURST_S, Budget
from scheduler.lab.groups import LEAST_QUOTA_US, MOST_PERIOD_US, PERIOD_US, quota
from scheduler.lab.plan import plan_lab
from scheduler.lab.shaping import DELAY, RATE, free_subnet, queues


@given(processors=st.floats(0.01, 256.0))
def test_a_quota_is_what_was_wanted_and_the_kernel_takes_it(processors: float) -> None:
    quota_us, period_us = quota(processors)
    assert quota_us >= LEAST_QUOTA_US and PERIOD_US <= period_us <= MOST_PERIOD_US
    assert quota_us / period_us == pytest.approx(processors, rel=1e-3)


@given(
    processors=st.floats(0.05, 4.0),
    wishes=st.lists(st.floats(0.0, 8.0), min_size=1, max_size=300),
    period_s=st.sampled_from([0.01, 0.03, 0.1]),
)
def test_a_budget_is_never_overdrawn_by_more_than_a_period(
    processors: float, wishes: list[float], period_s: float
) -> None:
    """Processes that want any number of processors get no more than they may, beside one burst and one period."""
    budget, used_s = Budget(), 0.0
    for wish in wishes:
        now_s = wish * period_s if budget.may_run else 0.0
        used_s += now_s
        budget = budget.after(period_s, processors, now_s)
    allowed_s = len(wishes) * period_s * processors
    assert used_s <= allowed_s + BURST_S * processors + max(wishes) * period_s + 1e-9


@given(processors=st.floats(0.05, 1.0), wish=st.floats(1.0, 8.0))
def test_whoever_wants_more_gets_all_it_may(processors: float, wish: float) -> None:
    budget, used_s, periods, period_s = Budget(), 0.0, 1000, 0.03
    for _ in range(periods):
        now_s = wish * period_s if budget.may_run else 0.0
        used_s += now_s
        budget = budget.after(period_s, processors, now_s)
    assert used_s >= processors * period_s * periods - wish * period_s


def test_packets_are_delayed_then_wait_for_their_turn() -> None:
    assert queues(8.0, 5.0, (RATE, DELAY)) == [
        ["root", "handle", "1:", "netem", "delay", "5ms", "limit", "20000"],
        ["parent", "1:1", "handle", "2:", "tbf", "rate", "8000000bit", "burst", "10000", "limit", "70000"],
    ]
    assert queues(800.0, 0.0, (RATE, DELAY)) == [
        ["root", "handle", "2:", "tbf", "rate", "800000000bit", "burst", "200000", "limit", "5200000"]
    ]


def test_what_is_not_wanted_or_not_known_is_left_out() -> None:
    assert queues(0.0, 0.0, (RATE, DELAY)) == []
    assert queues(8.0, 5.0, ()) == []
    assert [words[:4] for words in queues(8.0, 5.0, (RATE,))] == [["root", "handle", "2:", "tbf"]]


@given(used=st.lists(st.tuples(st.integers(0, 255), st.integers(16, 32)), max_size=40))
def test_a_free_subnet_overlaps_none(used: list[tuple[int, int]]) -> None:
    networks = [IPv4Network(f"10.213.{number}.0/{length}", strict=False) for number, length in used]
    found = free_subnet(networks)
    free = [n for n in range(256) if not any(IPv4Network(f"10.213.{n}.0/24").overlaps(one) for one in networks)]
    assert found == (f"10.213.{free[0]}" if free else None)


def test_nodes_are_started_as_clients_of_this_lab_alone() -> None:
    file = ClusterFile(
        available_node_types={
            "head": NodeType(resources={"CPU": 0.0}),
            "gpu": NodeType(resources={"CPU": 2.0, "GPU": 1.0, "disk": 3.0}, labels={"zone": "a"}),
        },
        head_node_type="head",
    )
    (node,) = plan_lab(file, {}, 2.0).at("10.213.0").nodes
    command = raylets.node_command(node, "10.213.0.1:6379", Path("folder"))
    assert {
        "--address=10.213.0.1:6379",
        "--node-ip-address=10.213.0.2",
        "--num-cpus=2",
        "--num-gpus=1",
        '--resources={"disk": 3.0}',
        "--labels=apportion.dev/kind=gpu,zone=a,apportion.dev/lab-node=gpu-0",
    } < set(command)
    own = {"PATH": "/bin", "RAY_ADDRESS": "other:1", "RAY_AUTH_TOKEN": "other", "RAY_AUTH_TOKEN_PATH": "other"}
    assert raylets.node_environment(own, Path("token"), {"APPORTION_LAB": "x/gpu-0"}) == {
        "PATH": "/bin",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "APPORTION_LAB": "x/gpu-0",
    }
