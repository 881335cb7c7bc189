"""How fast models are learnt beside other programs: seconds an epoch, and seconds to a gap of 1e-4 of the optimum.

``make bench-learning``, or ``python -m benchmarks.learning --json learning.json``. The peers take turns in one run
on one machine; medians over the turns are what to quote. Only training is timed: the rows are in the memory of
whoever trains, the optimum is computed before, learning rates are searched before, and gaps are evaluated in between.
Two processes per peer at most; whoever takes more threads says so. Peers whose library is absent are skipped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import problems
from benchmarks.bandwidth import gigabytes_per_second
from benchmarks.machine import facts
from benchmarks.peers import PEERS, Goal, Limits, Peer, Point, Settings, follow
from benchmarks.problems import LearningProblem
from benchmarks.reference import Reference

NUM_CPUS = 4
TUNING = Limits(epochs=10, seconds=10.0)
"""How long each candidate of a search for settings may go on."""

QUICK_ROWS = 20_000


@dataclass(frozen=True)
class Turn:
    """What one peer did in one turn; ``seconds_to_gap`` is None where the gap was not reached."""

    seconds_per_epoch: float
    seconds_to_gap: float | None
    epochs: int
    gap: float


def turn_of(followed: Sequence[tuple[Point, float]], gap: float) -> Turn:
    """Return the figures of a training that was followed to its end."""
    point, last_gap = followed[-1]
    reached = last_gap <= gap
    return Turn(point.seconds / point.epochs, point.seconds if reached else None, point.epochs, last_gap)


def median_of(turns: Sequence[Turn]) -> dict[str, Any]:
    """Return the medians over the turns; no time to the gap unless it was reached every time."""
    to_gap = [turn.seconds_to_gap for turn in turns if turn.seconds_to_gap is not None]
    return {
        "seconds_per_epoch": statistics.median(turn.seconds_per_epoch for turn in turns),
        "seconds_to_gap": statistics.median(to_gap) if len(to_gap) == len(turns) else None,
        "epochs": statistics.median(turn.epochs for turn in turns),
        "gap": statistics.median(turn.gap for turn in turns),
        "turns": [asdict(turn) for turn in turns],
    }


def compare(
    problem: LearningProblem, peers: dict[str, Peer], gap: float, limits: Limits, repeats: int
) -> dict[str, Any]:
    """Return every peer's figures on a problem, or the reason why it is skipped."""
    reference = Reference(problem.objective, problem.X, problem.y, problem.l2)
    goal = Goal(reference, reference.minimise()[1], gap)
    rows: dict[str, Any] = {}
    for name, peer in peers.items():
        rows[name] = {"name": peer.name, "epoch": peer.epoch, "timed": peer.timed}
        reason = peer.unavailable(problem)
        if reason is not None:
            skip(rows[name], reason)
    tune(problem, peers, rows, goal)
    turns: dict[str, list[Turn]] = {name: [] for name in rows}
    for repeat in range(repeats):
        for name, row in rows.items():
            if "skipped" not in row:
                print(f"  turn {repeat + 1}, {row['name']}: ", end="", flush=True)
                take_turn(problem, peers[name], row, turns[name], goal, limits)
    for name, row in rows.items():
        if "skipped" not in row:
            row |= median_of(turns[name])  # noqa: PLW2901 - in place
    return {"problem": problem.name, "optimum": goal.optimum, "l2": problem.l2, "gap": gap, "peers": rows}


def skip(row: dict[str, Any], reason: str) -> None:
    """Leave a peer out from now on, and say why."""
    row["skipped"] = reason
    print(f"  {row['name']}: skipped, {reason}", flush=True)


def tune(problem: LearningProblem, peers: dict[str, Peer], rows: dict[str, Any], goal: Goal) -> None:
    """Put each peer's settings into its row; peers that take the same steps share a search."""
    found: dict[Peer, Settings] = {}
    for name, peer in peers.items():
        if "skipped" in rows[name]:
            continue
        tuner, started_s = peer.tuner(), time.perf_counter()
        if tuner not in found:
            found[tuner] = tuner.tune(problem, goal, TUNING)
        rows[name]["settings"] = dict(found[tuner])
        if found[tuner]:
            searched_s = time.perf_counter() - started_s
            print(f"  {peer.name}: {rows[name]['settings']} ({searched_s:.0f} s of search)", flush=True)


def take_turn(
    problem: LearningProblem, peer: Peer, row: dict[str, Any], turns: list[Turn], goal: Goal, limits: Limits
) -> None:
    """Let a peer train once, and keep its figures; one that fails is skipped from then on."""
    try:
        turn = turn_of(follow(peer, problem, row["settings"], goal, limits), goal.gap)
    except Exception as error:  # noqa: BLE001 - that a peer fails is a result, and the others go on
        skip(row, f"failed: {type(error).__name__}: {error}")
        return
    turns.append(turn)
    if turn.seconds_to_gap is None:
        print(f"gap {turn.gap:.1e} after {turn.epochs} epochs")
    else:
        print(f"{turn.seconds_to_gap:.3f} s to the gap, {turn.epochs} epochs")


def table_of(result: dict[str, Any]) -> Table:
    """Return the figures of one problem as a table, the fastest first."""
    title = f"{result['problem']}: medians, to a relative gap of {result['gap']:g}"
    table = Table("peer", "s an epoch", "epoch", "epochs", "s to the gap", "gap", title=title)
    rows = [row for row in result["peers"].values() if "skipped" not in row]
    for row in sorted(rows, key=lambda row: (row["seconds_to_gap"] is None, row["seconds_to_gap"] or row["gap"])):
        to_gap = "not reached" if row["seconds_to_gap"] is None else f"{row['seconds_to_gap']:.3f}"
        numbers = (f"{row['seconds_per_epoch']:.4f}", row["epoch"], f"{row['epochs']:g}", to_gap, f"{row['gap']:.1e}")
        table.add_row(row["name"], *numbers)
    return table


def memory_rates(array_bytes: int) -> dict[str, float]:
    """Return the GB/s that one process, and two together, read from memory; of this moment, as machines are shared."""
    rates = {str(processes): gigabytes_per_second(processes, array_bytes) for processes in (1, 2)}
    print(f"  memory: {rates['1']:.1f} GB/s for one process, {rates['2']:.1f} GB/s for two together", flush=True)
    return rates


def connected(stack: ExitStack) -> None:
    """Start Ray for all who need it, until the stack is left."""
    from scheduler.session import connect

    stack.enter_context(connect("local", NUM_CPUS))


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run what was asked for, and return all figures."""
    console = Console(width=110)
    figures: dict[str, Any] = {"machine": facts(), "problems": []}
    peers = {name: PEERS[name] for name in arguments.peers}
    limits = Limits(arguments.epochs, arguments.limit)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if any(peer.needs_ray for peer in peers.values()):
            connected(stack)
        for problem in problems.chosen(arguments.problems, arguments.rows):
            if isinstance(problem, str):
                print(problem)
                continue
            print(problem.name, flush=True)
            saved = problem.saved(folder / str(len(figures["problems"])))
            memory = memory_rates(arguments.array_bytes)
            result = compare(saved, peers, arguments.gap, limits, arguments.repeats) | {"bandwidth_gb_per_s": memory}
            figures["problems"].append(result)
            console.print(table_of(result))
            if arguments.json:  # a run takes long: keep what is there
                arguments.json.write_text(json.dumps(figures, indent=2, default=str), encoding="utf-8")
    return figures


def parsed(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", nargs="+", choices=problems.NAMES, help="default: all but the 10 M")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--repeats", type=int, default=3, help="turns of each peer (default 3)")
    parser.add_argument("--rows", type=int, help="rows of the synthetic problems, instead of their own number")
    parser.add_argument("--gap", type=float, default=1e-4, help="relative gap to the optimum (default 1e-4)")
    parser.add_argument("--epochs", type=int, default=60, help="give up after so many (default 60)")
    parser.add_argument(
        "--limit", type=float, default=60.0, help="give up after so many seconds of training (default 60)"
    )
    parser.add_argument("--quick", action="store_true", help="least squares on few rows, one turn")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure here")
    parser.set_defaults(array_bytes=400_000_000)
    arguments = parser.parse_args(words)
    quick, usual = ["least-squares"], ["least-squares", "logistic", "a9a"]
    arguments.problems = arguments.problems or (quick if arguments.quick else usual)
    if arguments.quick:
        arguments.rows, arguments.repeats, arguments.epochs = arguments.rows or QUICK_ROWS, 1, 10
    return arguments


def main() -> None:
    """Compare, print tables, and write JSON if asked."""
    run(parsed())


if __name__ == "__main__":
    main()
