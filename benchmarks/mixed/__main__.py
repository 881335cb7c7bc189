"""A mixed cluster at the speed of its hardware: ``python -m benchmarks.mixed``.

Real raylets on this machine, each held to a part of a processor and of a network. Needs root and Linux (the lab), and a
machine that is doing nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.machine import facts
from benchmarks.mixed import bandwidth, speeds, staleness, stragglers
from benchmarks.mixed import problem as mixed
from scheduler.lab.isolation import cannot_isolate

ROWS = 1_000_000
CHAPTERS = ("speeds", "slowing", "bandwidth", "stragglers", "staleness")


def run(chapters: list[str], rounds: int, turns: int, peers: bool, console: Console) -> dict[str, Any]:
    """Measure these chapters."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        problem = mixed.make(Path(name), ROWS)
        if "speeds" in chapters:
            found["speeds"] = [
                speeds.measure(layout, problem, rounds, turns, peers and layout == speeds.PEERS_ON, console)
                for layout in speeds.LAYOUTS
            ]
        if "slowing" in chapters:
            found["slowing"] = speeds.measure_slowing(problem, rounds, console)
        if "bandwidth" in chapters:
            found["bandwidth"] = bandwidth.measure(Path(name), console)
        if "stragglers" in chapters:
            found["stragglers"] = stragglers.measure(problem, console)
        if "staleness" in chapters:
            found["staleness"] = staleness.measure(problem, rounds, console)
    return found


def one_model_each(found: dict[str, Any]) -> bool:
    """Say whether the synchronous runs of each job, under whatever policy, have brought the same model."""
    jobs = [rows for layout in found.get("speeds", []) for rows in layout["turns"]]
    jobs += [found[name]["runs"] for name in ("slowing", "bandwidth") if name in found]
    stragglers_rows = found.get("stragglers", {})
    jobs += list(stragglers_rows.values()) if isinstance(stragglers_rows, dict) else []
    return all(len({row["sha256"] for row in rows}) == 1 for rows in jobs)


def main() -> None:
    """Measure, print tables, and write JSON if asked."""
    parser = argparse.ArgumentParser(prog="benchmarks.mixed", description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", help=f"of {', '.join(CHAPTERS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=12, help="of each run (default 12)")
    parser.add_argument("--turns", type=int, default=1, help="of all policies on each layout (default 1)")
    parser.add_argument("--no-peers", action="store_true", help="leave Ray Train out")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure here")
    arguments = parser.parse_args()
    if unknown := set(arguments.chapters) - set(CHAPTERS):
        parser.error(f"unknown chapters: {', '.join(sorted(unknown))}; the choices are {', '.join(CHAPTERS)}")
    if reason := cannot_isolate():
        sys.exit(f"left out: {reason}")
    console = Console(width=None if sys.stdout.isatty() else 120)
    chosen = arguments.chapters or list(CHAPTERS)
    found = run(chosen, arguments.rounds, arguments.turns, not arguments.no_peers, console)
    same = one_model_each(found)
    console.print(f"one model a job, whatever the policy: {'yes' if same else 'NO'}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": facts(), **found}, indent=2), encoding="utf-8")
    if not same:
        sys.exit(1)


if __name__ == "__main__":
    main()
