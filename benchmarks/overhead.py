"""What a round costs beside the textbook parameter server, and what a start costs beside bare Ray.

``make bench-overhead``, or ``python -m benchmarks.overhead --json overhead.json``. Both sides take turns in
one run on one cluster; medians over the turns of the ratio within a turn are what to quote.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray

from benchmarks import textbook
from policies.presets import resolve
from scheduler.job_file import load_job
from scheduler.observer import Observer
from scheduler.preparation import Prepared, prepare
from scheduler.runner import run_connected
from scheduler.session import connect

HOME = Path(__file__).resolve().parent.parent
WARM_UP, NUM_ROUNDS, NUM_WORKERS, NUM_PARAMETERS, ROWS = 200, 2000, 2, 50, 100
NUM_CPUS = 4


def write_job(folder: Path) -> Path:
    """Write a job of the textbook's size: two shards of 100 rows, 49 columns and an intercept."""
    random = np.random.default_rng(0)
    X = random.standard_normal((NUM_WORKERS * ROWS, NUM_PARAMETERS - 1))
    np.savez(folder / "tiny.npz", X=X, y=X @ random.standard_normal(NUM_PARAMETERS - 1))
    job = {
        "name": "tiny",
        "data": {"npz": "tiny.npz"},
        "test_fraction": 0,
        "model": {"objective": "squared"},
        "training": {
            "solver": "gradient-descent",
            "rounds": WARM_UP + NUM_ROUNDS,
            "tolerance": 0,
            "learning_rate": 0.01,
        },
        "shards": NUM_WORKERS,
        "workers": {"count": NUM_WORKERS, "bundle": {"cpu": 1, "memory": "16MiB"}},
        "output": str(folder / "output"),
    }
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(job), encoding="utf-8")
    return path


def our_milliseconds_per_round(prepared: Prepared) -> float:
    """Return the mean milliseconds of a round of ours, after the warm-up."""
    summary = run_connected(prepared, resolve("equal"), Observer()).summary
    return 1e3 * statistics.mean(summary.seconds_by_round[WARM_UP:])


def time_rounds(job: Path, turns: int) -> list[dict[str, float]]:
    """Return milliseconds a round of both sides, and their ratio, for every turn."""
    rows = []
    with connect("local", NUM_CPUS):
        prepared = prepare(load_job(job))
        for turn in range(turns):
            ours = our_milliseconds_per_round(prepared)
            peer = textbook.milliseconds_per_round(NUM_ROUNDS, NUM_WORKERS, NUM_PARAMETERS, ROWS)
            rows.append({"ours_ms": ours, "textbook_ms": peer, "ratio": ours / peer})
            print(f"round, turn {turn + 1}: ours {ours:.2f} ms, textbook {peer:.2f} ms, ratio {ours / peer:.2f}")
    return rows


def time_starts(job: Path, turns: int) -> list[dict[str, float]]:
    """Return whole-process seconds of a one-round run and of bare Ray with as many actors, for every turn."""
    ours = [sys.executable, "-m", "scheduler", "run", str(job), "--cpus", str(NUM_CPUS), "--json"]
    ours += ["--set", "training.rounds=1", "--set", "training.solver=exact"]
    peer = [sys.executable, "-m", "benchmarks.overhead", "--bare"]
    rows = []
    for turn in range(turns):
        row = {"ours_s": _seconds(ours), "bare_s": _seconds(peer)}
        row["more_s"] = row["ours_s"] - row["bare_s"]
        rows.append(row)
        print(f"start, turn {turn + 1}: ours {row['ours_s']:.2f} s, bare Ray {row['bare_s']:.2f} s")
    return rows


def _seconds(command: list[str]) -> float:
    started_s = time.perf_counter()
    subprocess.run(command, cwd=HOME, check=True, capture_output=True)
    return time.perf_counter() - started_s


def bare() -> None:
    """Start Ray and as many actors as a run has, and stop: the peer of ``time_starts``, in a process of its own."""
    ray.init(address="local", num_cpus=NUM_CPUS, log_to_driver=False)
    textbook.startup_seconds(NUM_WORKERS, NUM_PARAMETERS, ROWS)
    ray.shutdown()


def main() -> None:
    """Time both, print a table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5, help="turns of each side (default 5)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure here")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        bare()
        return
    with tempfile.TemporaryDirectory() as folder:
        job = write_job(Path(folder))
        starts = time_starts(job, arguments.turns)
        rounds = time_rounds(job, arguments.turns)
    figures: dict[str, Any] = {
        "round_ratio_median": statistics.median(row["ratio"] for row in rounds),
        "ours_ms_median": statistics.median(row["ours_ms"] for row in rounds),
        "textbook_ms_median": statistics.median(row["textbook_ms"] for row in rounds),
        "start_more_s_median": statistics.median(row["more_s"] for row in starts),
        "rounds": rounds,
        "starts": starts,
    }
    print(
        f"a round: {figures['ours_ms_median']:.2f} ms, textbook {figures['textbook_ms_median']:.2f} ms, "
        f"{figures['round_ratio_median']:.2f} of it (aim: at most 0.9)\n"
        f"a start: {figures['start_more_s_median']:+.2f} s beside bare Ray with as many actors (aim: at most +1)"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
