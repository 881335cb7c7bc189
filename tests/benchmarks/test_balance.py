"""The benchmark of balances at small size, and the two jobs beside their published figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import balance
from policies.balance.adaptive import Adaptive
from policies.balance.adaptive_pull import AdaptivePull
from policies.balance.equal import Equal
from policies.balance.pull import Pull
from policies.presets import BALANCES


def test_every_policy_is_at_or_above_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(balance, "MINI_BATCHES", tmp_path / "absent")
    path = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["balance", "--clusters", "8", "--json", str(path)])
    balance.main()
    assert "job_1: skipped" in capsys.readouterr().out
    figures = json.loads(path.read_text(encoding="utf-8"))
    for table in ("ample", "tight", "changed"):
        assert figures[table].keys() == BALANCES.keys()
        for name, row in figures[table].items():
            assert row["median"] >= 1 - 1e-9 or (table == "tight" and "pull" in name)  # it need not hold all at once
            assert row["median"] <= row["p99"] <= row["max"]
    assert figures["ample"]["lpt"]["max"] < 1.2 < figures["ample"]["equal"]["median"]
    assert figures["changed"]["equal"]["moved_mean"] == 0.0


def test_a_trace_lacks_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ["0,0,9,1,5", "1,1,9,1,6", "2,0,9,11,5", "3,0,9,21,7", "4,1,9,21,"]
    (tmp_path / "job_1_norm.csv").write_text("\n".join([",worker,gpu,time,batch_time_norm", *rows, "5,1,9,11,8"]))
    monkeypatch.setattr(balance, "MINI_BATCHES", tmp_path)
    assert balance.trace(1).tolist() == [[5.0, 6.0], [5.0, 8.0]]


def test_a_replay_by_hand() -> None:
    seconds = np.array([[32.0, 64.0], [32.0, 64.0]])  # 1 and 2 seconds a shard, 64 shards
    assert balance.replay(Equal(), seconds) == 128.0
    assert balance.replay(Adaptive(), seconds) == 64.0 + 43.0  # nothing is known at first, then 43 to 21
    assert balance.replay(AdaptivePull(), seconds) == 48.0 + 43.0  # at first 24 each; the fast one takes the other 16


@pytest.mark.parametrize("job", [1, 2])
def test_the_jobs_with_stragglers(job: int) -> None:
    if not balance.MINI_BATCHES.is_dir():
        pytest.skip(f"public data is absent: {balance.MINI_BATCHES} (set APPORTION_DATA)")
    seconds = balance.trace(job)
    equal_s = float(seconds.max(axis=1).sum())
    ideal = equal_s / float((seconds.shape[1] / (1 / seconds).sum(axis=1)).sum())
    assert ideal == pytest.approx(balance.PUBLISHED[job]["ideal"], abs=0.005)
    assert balance.replay(Equal(), seconds) == pytest.approx(equal_s)
    pulled = equal_s / balance.replay(Pull(), seconds)
    assert pulled == pytest.approx(balance.PUBLISHED[job]["pull, 32 chunks a worker"], abs=0.005)
    assert equal_s / balance.replay(AdaptivePull(), seconds) > 0.98 * ideal
