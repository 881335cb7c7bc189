"""Asynchronous modes beside synchronous rounds, with equal and with adaptive shares: seconds to the same loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.lab_nodes import slow_nodes
from benchmarks.mixed.ours import Timed, gang_for, timed, to_target_s
from benchmarks.mixed.problem import MixedProblem, job_of
from scheduler.lab.lab import lab_up
from scheduler.session import connect

PARTS = (0.8, 0.4, 0.2, 0.1)
SHARDS = 240
MODES: dict[str, Any] = {
    "synchronous": "synchronous",
    "ssp, 3 clocks": {"ssp": {"staleness": 3}},
    "asp": "asp",
    "backup, 1 worker": {"backup": {"drop": 1}},
}
POLICIES = ("equal", "adaptive")


def measure(problem: MixedProblem, rounds: int, console: Console) -> dict[str, Any]:
    """Run every mode under both policies; the target is what synchronous rounds measure after two thirds of them."""
    with lab_up(slow_nodes(PARTS)) as lab, connect(lab.address):
        first = job_of(problem, len(PARTS), rounds, SHARDS)
        with gang_for(first) as gang:
            timed(gang, first.with_training(rounds=1), "equal")
            runs = {
                (mode, policy): timed(gang, job_of(problem, len(PARTS), rounds, SHARDS, mode=spec), policy)
                for mode, spec in MODES.items()
                for policy in POLICIES
            }
    target = _losses(runs["synchronous", "equal"], first.solver)[2 * rounds // 3 - 1]
    rows = [_row(mode, run, first.solver, target) for (mode, _), run in runs.items()]
    console.print(table(rows))
    return {"target_loss": target, "runs": rows}


def _losses(run: Timed, solver: str) -> list[float]:
    return [report.loss for report in run.result.reports if report.stage == solver and report.loss is not None]


def _row(mode: str, run: Timed, solver: str, target: float) -> dict[str, Any]:
    losses, late = _losses(run, solver), run.result.staleness
    return {
        "mode": mode,
        "policy": run.policy,
        "round_s": run.round_s,
        "losses": losses,
        "to_target_s": to_target_s(run.round_s, losses, target),
        "final_loss": losses[-1],
        "staleness_max": None if late is None else late.max,
        "staleness_mean": None if late is None else late.mean,
        "clocks_behind": None if late is None else late.clocks,
        "bound": None if late is None else late.bound,
    }


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return modes and policies side by side."""
    view = Table("mode", "policy", title="seconds to the loss of synchronous rounds", title_justify="left")
    for column in ("to it, s", "pass, s", "last loss", "staleness, max", "mean", "clocks", "bound"):
        view.add_column(column, justify="right")
    for row in rows:
        reached, bound = row["to_target_s"], row["bound"]
        late = [row["staleness_max"], row["staleness_mean"], row["clocks_behind"]]
        view.add_row(
            row["mode"],
            row["policy"],
            "never" if reached is None else f"{reached:.1f}",
            f"{sum(row['round_s']) / len(row['round_s']):.2f}",
            f"{row['final_loss']:.4f}",
            *("" if value is None else f"{value:.3g}" for value in late),
            "" if bound is None else str(bound),
        )
    return view
