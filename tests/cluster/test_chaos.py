"""Parts of real runs are killed at random moments, on nodes of their own: the short version of two benchmarks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="victims are found by the titles that processes have on Linux"),
]
HOME = Path(__file__).resolve().parents[2]


def played(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """Run a benchmark in a process of its own, and return its report."""
    path = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", *arguments, "--json", str(path)],
        cwd=HOME,
        env={**os.environ, "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-10_000:]
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_twenty_kills_change_no_bit(tmp_path: Path) -> None:
    report = played(tmp_path, "benchmarks.chaos", "--kills", "20", "--jobs", "layers,local")
    kills = report["kills"]
    assert len(kills) == 20
    assert {kill["kind"] for kill in kills} == {"worker", "server", "node", "driver", "service", "several"}
    assert all(kill["pids"] and kill["victims"] for kill in kills)
    for run in [*report["runs"], *report["undisturbed"]]:
        assert run["failure"] == ""
        assert run["found"] == run["expected"]


def test_a_thousand_rounds_leave_nothing_behind(tmp_path: Path) -> None:
    report = played(tmp_path, "benchmarks.soak", "--rounds", "1000", "--kill-every", "200")
    assert report["failure"] is None
    assert report["kills"] >= 3
    left = {one["what"]: one["value"] for one in report["findings"] if one["what"].endswith(("left", "object stores"))}
    assert len(left) == 5
    assert not any(left.values()), left
