"""The figures of a chaos run, by what was killed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.chaos.disturbing import Disturbed
from benchmarks.chaos.killing import WEIGHTS


def summary_rows(runs: Sequence[Disturbed]) -> list[dict[str, Any]]:
    """Return a row for every kind of victim, and one for all; a difference counts for every kind that its run had."""
    return [row for kind in (*WEIGHTS, "all") if (row := _row(kind, runs))["kills"]]


def _row(kind: str, runs: Sequence[Disturbed]) -> dict[str, Any]:
    kills = [kill for run in runs for kill in run.kills if kind in (kill.kind, "all")]
    recovered_s = [kill.recovered_s for kill in kills if kill.recovered_s is not None]
    touched = [run for run in runs if any(kind in (kill.kind, "all") for kill in run.kills)]
    p50, p99 = np.percentile(recovered_s, [50, 99]).tolist() if recovered_s else (None, None)
    return {
        "kind": kind,
        "kills": len(kills),
        "processes": sum(len(kill.pids) for kill in kills),
        "mid_round": sum(kill.mid_round for kill in kills) / len(kills) if kills else None,
        "recovery_p50_s": p50,
        "recovery_p99_s": p99,
        "rounds_again_mean": float(np.mean([kill.rounds_again for kill in kills])) if kills else None,
        "shards_again_mean": float(np.mean([kill.shards_again for kill in kills])) if kills else None,
        "differences": sum(not run.failure and not run.is_same for run in touched),
        "failed": sum(bool(run.failure) for run in touched),
    }


def summary_table(runs: Sequence[Disturbed]) -> Table:
    """Return the rows as a table."""
    table = Table(title="kill -9, by victim", title_justify="left", title_style="")
    table.add_column("victim")
    heads = (
        "kills",
        "processes",
        "mid-round",
        "recovery p50",
        "p99",
        "rounds again",
        "shards again",
        "differ",
        "failed",
    )
    for head in heads:
        table.add_column(head, justify="right")
    for row in summary_rows(runs):
        p50, p99 = (_seconds(row[name]) for name in ("recovery_p50_s", "recovery_p99_s"))
        again = (f"{row[name]:.1f}" for name in ("rounds_again_mean", "shards_again_mean"))
        counts = (str(row["kills"]), str(row["processes"]), f"{row['mid_round']:.0%}")
        table.add_row(row["kind"], *counts, p50, p99, *again, str(row["differences"]), str(row["failed"]))
    return table


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
