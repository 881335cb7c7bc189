"""Nodes on networks of different speed, and a model of 10 MB: what it is worth to know of it, and what is counted."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.lab_nodes import node_name, slow_nodes
from benchmarks.mixed.ours import gang_for, timed
from scheduler.job import Job
from scheduler.lab.lab import Lab, lab_up
from scheduler.preparation import Prepared, prepare
from scheduler.session import connect

MBIT_PER_S = (1000.0, 1000.0, 50.0)
PARTS = (0.4, 0.4, 0.4)
POLICIES = ("equal", "speed-proportional", "opt-perf", "adaptive", "adaptive-pull")
KNOWING = ("opt-perf", "adaptive", "adaptive-pull")
"""They count what a node takes to receive and to send; the others do not."""

HIDDEN = (1000, 1180)
ROWS, FEATURES, SHARDS, ROUNDS = 480, 60, 48, 6


def job_of(folder: Path) -> Prepared:
    """Return a job of gradient descent on a network of 1.24 million parameters, which are 10 MB."""
    random = np.random.default_rng(0)
    X = random.standard_normal((ROWS, FEATURES), dtype=np.float32)
    y = X @ random.standard_normal(FEATURES, dtype=np.float32)
    np.save(folder / "network.npy", np.column_stack([X, y]))
    spec = {
        "name": "network",
        "data": {"npy": str(folder / "network.npy")},
        "test_fraction": 0,
        "split": "contiguous",
        "model": {"objective": "squared", "hidden": list(HIDDEN)},
        "training": {"solver": "gradient-descent", "rounds": ROUNDS, "tolerance": 0.0, "learning_rate": 1e-6},
        "shards": SHARDS,
        "workers": {"count": len(PARTS), "bundle": {"cpu": 1, "memory": "400MiB"}},
        "output": str(folder / "out"),
    }
    return prepare(Job.model_validate(spec))


def measure(folder: Path, console: Console) -> dict[str, Any]:
    """Run every policy once, and read the counters of the nodes' interfaces before and after."""
    prepared = job_of(folder)
    rows = []
    plan = slow_nodes(PARTS, MBIT_PER_S)
    with lab_up(plan) as lab, connect(lab.address), gang_for(prepared) as gang:
        timed(gang, prepared.with_training(rounds=1), "equal")
        for policy in POLICIES:
            before = _counted(lab)
            run = timed(gang, prepared, policy)
            counted = _counted(lab) - before
            moved = run.result.bytes_moved
            reported = moved.parameters + moved.updates
            rows.append(
                {
                    "policy": policy,
                    "round_s": run.round_s,
                    "settled_round_s": statistics.median(run.round_s[1:]),
                    "whole_s": run.whole_s,
                    "bytes": asdict(moved),
                    "counted_bytes": counted,
                    "counted_over_reported": counted / reported,
                    "rows_by_worker": [worker.rows for worker in run.result.workers],
                    "sha256": run.sha256,
                }
            )
    console.print(table(rows))
    return {"mbit_per_s": MBIT_PER_S, "parameters": prepared.problem.num_parameters, "runs": rows}


def _counted(lab: Lab) -> int:
    return sum(sum(lab.bytes_moved(node_name(number))) for number in range(len(PARTS)))


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return the policies side by side."""
    view = Table("policy", title="1 Gbit/s, 1 Gbit/s, 50 Mbit/s; a model of 10 MB", title_justify="left")
    for column in ("knows", "round, s", "whole job, s", "MB reported", "MB counted", "counted / reported", "model"):
        view.add_column(column, justify="right")
    for row in rows:
        reported = row["bytes"]["parameters"] + row["bytes"]["updates"]
        view.add_row(
            row["policy"],
            "yes" if row["policy"] in KNOWING else "no",
            f"{row['settled_round_s']:.2f}",
            f"{row['whole_s']:.1f}",
            f"{reported / 1e6:.1f}",
            f"{row['counted_bytes'] / 1e6:.1f}",
            f"{row['counted_over_reported']:.3f}",
            row["sha256"][:8],
        )
    return view
