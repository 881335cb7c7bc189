"""The replay of the OpenB trace: on made pods, and one order of arrival of the published ones in a wide band."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import openb, openb_trace, public_data
from policies.composed import demand_of
from policies.interface import GPU, JobView, NodeTable, Resources
from scheduler.simulation.traces.openb import arrivals

NODES = NodeTable.of(["a", "b"], [[8.0, 2.0, 100.0]] * 2)
PODS = tuple(
    JobView(f"p{n}", 0.0, Resources(1.0, gpu), 1, 1) for n, gpu in enumerate([0.0, 0.5, 0.5, 1.0, 1.0, 2.0] * 50)
)


@pytest.fixture
def trace(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if not (data_folder / "openb").is_dir():
        pytest.skip(f"the OpenB trace is absent: {data_folder / 'openb'} (set APPORTION_DATA)")
    monkeypatch.setattr(public_data, "DATA", data_folder)
    return data_folder


@pytest.mark.parametrize("policy", ["fgd", "best-fit", "random"])
def test_the_default_pods_come_out_as_published(trace: Path, policy: str) -> None:
    figures = openb.measure(policy, seeds=1)
    for load, found in enumerate(figures.allocated):
        mean, _ = openb.PUBLISHED[policy][load]
        assert abs(found[0] - mean) < 1.5


def test_the_trace_is_the_published_one(trace: Path) -> None:
    nodes, pods = openb_trace.read_nodes(), openb_trace.read_pods()
    assert (len(nodes), nodes.capacity[:, GPU].sum(), len(pods)) == (1213, 6212, 8152)
    assert {pod.min_workers for pod in pods} == {1}


def test_all_pods_arrive_in_an_order_of_the_seed_and_then_more() -> None:
    asked = sum(pod.bundle.gpu for pod in PODS)
    for seed in (0, 1):
        jobs = arrivals(PODS, asked + 10, seed)
        assert sorted(job.id for job in jobs[: len(PODS)]) == sorted(pod.id for pod in PODS)
        assert len({job.id for job in jobs}) == len(jobs) > len(PODS)
        assert asked + 10 <= sum(job.bundle.gpu for job in jobs) < asked + 12
        assert jobs == arrivals(PODS, asked + 10, seed)
    assert arrivals(PODS, 0, 0) != arrivals(PODS, 0, 1)


def test_a_variant_asks_for_as_many_gpus_of_other_sizes() -> None:
    asked = sum(pod.bundle.gpu for pod in PODS)
    pods = openb_trace.resampled(PODS * 20, 0.8, lambda pod: pod.bundle.gpu == 2)
    total = sum(pod.bundle.gpu for pod in pods)
    assert abs(total - 20 * asked) <= 2
    assert abs(sum(pod.bundle.gpu for pod in pods if pod.bundle.gpu == 2) / total - 0.8) < 0.04
    assert abs(sum(pod.bundle.gpu == 0 for pod in pods) - 20 * 50) < 150


def test_a_replay_counts_what_arrived_and_what_was_placed() -> None:
    jobs = [JobView(f"j{n}", 0.0, Resources(1.0, gpu), 1, 1) for n, gpu in enumerate((2.0, 1.0, 2.0, 0.5, 0.5, 0.5))]
    done = openb_trace.replay(openb.place_of("first-fit"), NODES, jobs, seed=0)
    assert (done.arrived * 4).tolist() == [2, 3, 5, 5.5, 6, 6.5]
    assert (done.allocated * 4).tolist() == [2, 3, 3, 3.5, 4, 4]
    assert done.refused == 2
    assert (done.allocated_at(0.5), done.allocated_at(1.0), done.allocated_at(1.3)) == (0.5, 0.75, 0.875)


def test_what_a_policy_sees_is_the_mix_that_was_given() -> None:
    mix = demand_of(PODS)
    assert np.isclose(mix.weights.sum(), len(PODS))
    done = [openb_trace.replay(openb.place_of("fgd"), NODES, PODS, 0, demand) for demand in (mix, None)]
    assert np.array_equal(done[0].allocated, done[1].allocated)


def test_the_table_says_whether_a_mean_is_within_two_published_deviations() -> None:
    found = [
        openb.Figures("fgd", ([95.0, 95.2], [95.3, 95.5])),
        openb.Figures("best-fit", ([90.0, 90.0], [93.0, 93.0])),
        openb.Figures("spread", ([50.0], [50.0])),
    ]
    rows = [line.strip("| ").split(" | ") for line in openb.table(found, None).splitlines()[2:]]
    assert rows[0] == ["fgd", "95.10 ± 0.14", "95.23 ± 0.10", "95.40 ± 0.14", "95.39 ± 0.08", "yes"]
    assert [row[-1] for row in rows] == ["yes", "no", "-"]
    assert "yes" not in openb.table(found, "multi-gpu")


def test_absent_data_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_data, "DATA", tmp_path)
    with pytest.raises(public_data.AbsentDataError, match=r"kubernetes-scheduler-simulator.* APPORTION_DATA"):
        openb_trace.read_pods()
