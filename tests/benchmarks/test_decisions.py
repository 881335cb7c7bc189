"""The benchmark of decisions, on small cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import decision_cases, decisions, public_data
from policies.interface import GPU, Unplaced
from policies.presets import BALANCES, PLACES
from policies.referee import violations


@pytest.fixture(autouse=True)
def nothing_public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the cases be the rough mix, wherever the tests run."""
    monkeypatch.setattr(public_data, "DATA", tmp_path)


def test_clusters_of_any_size_are_in_use() -> None:
    nodes, pods, source = decision_cases.trace()
    assert "absent" in source
    used = decision_cases.in_use(nodes, pods)
    for number in (10, len(nodes), 3000):
        table = decision_cases.repeated(used, number)
        assert len(set(table.ids)) == len(table) == number
        assert 0.2 < table.free[:, GPU].sum() / table.capacity[:, GPU].sum() < 0.6
        assert np.allclose(table.device_free.sum(axis=1), table.free[:, GPU])


def test_pods_leave_where_too_many_gpus_are_in_use() -> None:
    nodes, pods, _ = decision_cases.trace()
    small = decision_cases.repeated(nodes, 5)
    cluster = decisions.Cluster(PLACES["best-fit"](), small, decisions.demand_of(pods), iter(range(10_000)).__next__)
    assert cluster.seconds(pods[:500]).tolist() == [1.0] * 500
    assert 0.1 < cluster.view().free[:, GPU].sum() / small.capacity[:, GPU].sum() < 0.5


def test_placements_and_balances_are_timed() -> None:
    names = {"fgd", "random"}
    rows = decisions.place_rows((20, 40), 1, names.__contains__)
    assert [(row["name"], row["size"]) for row in rows] == [(n, s) for n in PLACES if n in names for s in (20, 40)]
    assert all(0 < row["median_s"] <= row["p99_s"] for row in rows)
    assert decisions.place_table(rows).count("\n") == 3
    rows = decisions.balance_rows((1000, 2000), 2, {"equal", "random"}.__contains__)
    assert [row["size"] for row in rows] == [1000, 2000] * 2
    assert all(line.count("|") == 5 for line in decisions.whole_table(rows, "balance", "shards").splitlines())


def test_rounds_and_queues_are_ones_that_can_be_planned() -> None:
    view = decision_cases.round_of(2000, 20)
    answer = BALANCES["equal"]().divide(view)
    assert not isinstance(answer, Unplaced)
    assert violations(answer, view) == ()
    queue = decision_cases.queue_of(64)
    assert len({job.id for job in queue.jobs}) == 64
    assert all(job.rate(1, kind) > 0 for job in queue.jobs for kind in queue.nodes.kinds)


def test_the_exponent_is_the_slope_in_logarithms() -> None:
    rows = [{"size": size, "median_s": 1e-6 * size**1.5} for size in (100, 1000, 10_000)]
    assert abs(decisions.exponent(rows, "median_s") - 1.5) < 1e-9
    assert np.isnan(decisions.exponent(rows[:1], "median_s"))
