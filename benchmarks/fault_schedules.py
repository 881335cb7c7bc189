"""Thousands of fault schedules, each played to its end: ``python -m benchmarks.fault_schedules``.

Workers are killed, hang, straggle and come back, several at once; the server dies in the middle of a round; messages
are lost, doubled, delayed and overtaken. All of it is drawn from the schedule's seed, and happens on a virtual clock to
the rounds, the store, the training and the watch that a live job has. What is learnt must have the bits of the
undisturbed job, each time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.fault_play import Play, Played
from benchmarks.machine import facts


def played(seeds: Sequence[int]) -> list[Played]:
    """Play schedules."""
    return [Play(seed).run() for seed in seeds]


def summary(plays: Sequence[Played]) -> dict[str, Any]:
    """Return the figures of schedules that were played."""
    kills = sum(play.kills for play in plays)
    needed = sum(play.case.num_updates() for play in plays)
    return {
        "schedules": len(plays),
        "differences": sum(not play.is_same for play in plays),
        "kills": kills,
        "kills_mid_round": sum(play.kills_mid_round for play in plays) / kills if kills else None,
        "server_restarts": sum(play.restarts for play in plays),
        "given_up_by_the_watch": sum(play.given_up for play in plays),
        "answers_refused": sum(play.refused for play in plays),
        "answers_to_an_earlier_team": sum(play.late for play in plays),
        "updates_needed": needed,
        "updates_computed": sum(play.num_updates for play in plays),
        "failed": [
            {"seed": play.seed, "balance": play.balance, "error": play.error or "another model"}
            for play in plays
            if not play.is_same
        ],
    }


def main(words: Sequence[str] | None = None) -> int:
    """Play, print the figures, and return 1 if a schedule came to another result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--schedules", type=int, default=10_000, metavar="N", help="how many (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure here")
    options = parser.parse_args(words)
    began_s = time.perf_counter()
    found = summary(played(range(options.first, options.first + options.schedules)))
    found["seconds"] = round(time.perf_counter() - began_s, 1)
    for name, value in found.items():
        print(f"{name:28} {value}")
    if options.json is not None:
        options.json.write_text(json.dumps({**found, "machine": facts()}, indent=2) + "\n")
    return 1 if found["differences"] else 0


if __name__ == "__main__":
    sys.exit(main())
