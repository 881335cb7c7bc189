"""Nodes of different speed, and one that slows down: seconds a round, against the bound and against Ray Train."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.lab_nodes import node_name, slow_nodes
from benchmarks.mixed import ray_train
from benchmarks.mixed.ours import Rounds, Timed, bound_s, gang_for, speeds, timed, to_target_s
from benchmarks.mixed.problem import MixedProblem, job_of, objectives
from scheduler.lab.lab import Lab, lab_up
from scheduler.preparation import Prepared
from scheduler.session import connect

LAYOUTS = {"80/40/20/10": (0.8, 0.4, 0.2, 0.1), "50/50/50/5": (0.5, 0.5, 0.5, 0.05)}
PEERS_ON = "80/40/20/10"
POLICIES = ("speed-proportional", "equal", "capacity-proportional", "adaptive", "pull", "adaptive-pull")
"""The first one's hand-out stays as it is, and all of its workers are busy all the time: it tells the speeds."""

SLOWING = ("speed-proportional", "equal", "adaptive", "pull", "adaptive-pull")
SLOW_PARTS = (0.4, 0.4, 0.4, 0.4)
SLOWED_TO = 0.25
SHARDS = 240
COUNTS_FROM = 3
"""Rounds that a policy may take to find its hand-out."""

PEER_LIMIT_S = 90.0


def rows_of(
    runs: Sequence[Timed], solver: str, told: Timed, values: Sequence[float], target: float
) -> list[dict[str, Any]]:
    """Return a row for each run, beside the bound that the run ``told`` sets."""
    rows_per_s = speeds(told, solver)
    bound_round_s, bound_whole_s = told.rows.sum() / rows_per_s.sum(), bound_s(told)
    found = []
    for run in runs:
        settled_s = statistics.median(run.round_s[COUNTS_FROM:])
        found.append(
            {
                "policy": run.policy,
                "round_s": run.round_s,
                "settled_round_s": settled_s,
                "settled_over_bound": settled_s / bound_round_s,
                "whole_s": run.whole_s,
                "whole_over_bound": run.whole_s / bound_whole_s,
                "to_target_s": to_target_s(run.round_s, values, target),
                "copies": run.result.num_copies,
                "bytes": asdict(run.result.bytes_moved),
                "sha256": run.sha256,
            }
        )
    return found


def measure(
    layout: str, problem: MixedProblem, rounds: int, turns: int, peers: bool, console: Console
) -> dict[str, Any]:
    """Run all policies in turns on one lab, then Ray Train."""
    parts = LAYOUTS[layout]
    with lab_up(slow_nodes(parts)) as lab, connect(lab.address):
        prepared = job_of(problem, len(parts), rounds, SHARDS)
        values = objectives(problem, prepared)
        found: dict[str, Any] = {"layout": layout, "objectives": values, "target": problem.target, "turns": []}
        with gang_for(prepared) as gang:
            timed(gang, prepared.with_training(rounds=1), "equal")  # files are in memory then, and modules imported
            for turn in range(turns):
                runs = [timed(gang, prepared, policy) for policy in POLICIES]
                rows = rows_of(runs, prepared.solver, runs[0], values, problem.target)
                found["turns"].append(rows)
                console.print(table(f"{layout} % of a processor, turn {turn + 1}", rows))
        if peers:
            found["peers"] = [
                asdict(ray_train.fit(problem, len(parts), way, rounds, PEER_LIMIT_S)) for way in ray_train.WAYS
            ]
            console.print(peer_table(layout, found, problem.target))
    return found


def measure_slowing(problem: MixedProblem, rounds: int, console: Console) -> dict[str, Any]:
    """Let a node become slow in the middle of a job, under every policy."""
    half = rounds // 2
    with lab_up(slow_nodes(SLOW_PARTS)) as lab, connect(lab.address):
        prepared = job_of(problem, len(SLOW_PARTS), rounds, SHARDS)
        with gang_for(prepared) as gang:
            timed(gang, prepared.with_training(rounds=1), "equal")
            runs = [_slowed(lab, gang, prepared, policy, half) for policy in SLOWING]
    told = runs[0]
    before, after = speeds(told, prepared.solver, slice(0, half)), speeds(told, prepared.solver, slice(half + 1, None))
    rows = float(told.rows.sum())
    bounds = [rows / before.sum()] * half + [rows / after.sum()] * (rounds - half)
    found = [
        {
            "policy": run.policy,
            "round_s": run.round_s,
            "rounds_s": sum(run.round_s),
            "over_bound": sum(run.round_s) / sum(bounds),
            "copies": run.result.num_copies,
            "sha256": run.sha256,
        }
        for run in runs
    ]
    view = Table("policy", title="one of four equal nodes slows to a quarter in the middle", title_justify="left")
    for column in ("all rounds, s", "over the bound", "copies", "model"):
        view.add_column(column, justify="right")
    for row in found:
        view.add_row(
            row["policy"], f"{row['rounds_s']:.1f}", f"{row['over_bound']:.2f}", str(row["copies"]), row["sha256"][:8]
        )
    console.print(view)
    return {"bound_round_s": bounds, "runs": found}


def _slowed(lab: Lab, gang: Any, prepared: Prepared, policy: str, half: int) -> Timed:
    lab.slow(node_name(0), 1.0)
    return timed(gang, prepared, policy, Rounds(prepared.solver, half, lambda: lab.slow(node_name(0), SLOWED_TO)))


def table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    """Return the policies of a turn side by side."""
    view = Table("policy", title=title, title_justify="left")
    columns = ("round after 3, s", "over the bound", "whole job, s", "over the bound", "to the target, s", "model")
    for column in columns:
        view.add_column(column, justify="right")
    for row in rows:
        reached = row["to_target_s"]
        view.add_row(
            row["policy"],
            f"{row['settled_round_s']:.2f}",
            f"{row['settled_over_bound']:.2f}",
            f"{row['whole_s']:.1f}",
            f"{row['whole_over_bound']:.2f}",
            "never" if reached is None else f"{reached:.1f}",
            row["sha256"][:8],
        )
    return view


def peer_table(layout: str, found: dict[str, Any], target: float) -> Table:
    """Return Ray Train's seconds to the target beside ours."""
    ours = {}
    for rows in found["turns"]:
        for row in rows:
            ours.setdefault(row["policy"], []).append(row["to_target_s"] or np.nan)
    mine = statistics.median(ours["adaptive-pull"])
    view = Table("Ray Train, equal shards", title=f"{layout} %: seconds to the target", title_justify="left")
    for column in ("seconds", "reached", "adaptive-pull, s", "times as long"):
        view.add_column(column, justify="right")
    for peer in found["peers"]:
        seconds, reached = sum(peer["look_s"]), peer["objectives"][-1] <= target
        more = "" if reached else "over "
        view.add_row(
            peer["way"],
            f"{more}{seconds:.1f}",
            "yes" if reached else "no",
            f"{mine:.1f}",
            f"{more}{seconds / mine:.1f}",
        )
    return view
