"""Kill parts of real runs with ``kill -9`` at random moments, and compare the models' bits.

``make bench-chaos``, or ``python -m benchmarks.chaos --kills 200 --seed 0 --json chaos.json``, some 25 minutes. A Ray
cluster of its own has a head and three nodes. Jobs of several solvers and policies run there, each by ``apportion run``
in a process of its own, while these are killed:

- ``worker``, ``server``: the process of one of the job's actors;
- ``node``: a raylet with all that is on it; another node joins in its place;
- ``driver``: the process of ``apportion run``; ``apportion resume`` goes on, more often than not with another policy
  and another number of workers;
- ``service``: the process of the scheduler service, in whose queue all of these runs are; Ray starts it again;
- ``several``: two of these at once, or shortly after each other.

Every run must end with the hash of the same training in one process. The seed decides what is killed in which run and
how long it waits; at which instruction a process dies no seed can say. Ends with 1 if a hash differs or a run fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from benchmarks.chaos.disturbing import Disturbance, Disturbed, figures, plan
from benchmarks.chaos.jobs import SHAPES, Shape
from benchmarks.chaos.killing import WEIGHTS
from benchmarks.chaos.raylets import Raylets, raylets, with_tokens
from benchmarks.chaos.table import summary_rows, summary_table
from benchmarks.machine import facts
from scheduler.service.client import the_service

NUM_NODES = 3
KILLS_A_RUN = 10


class Chaos:
    """Plays runs until there were as many kills as wanted."""

    def __init__(self, cluster: Raylets, folder: Path, kinds: list[str], seed: int) -> None:
        self._cluster, self._folder, self._kinds, self._seed = cluster, folder, kinds, seed
        self._undisturbed: dict[str, str] = {}
        self.runs: list[Disturbed] = []
        self.calm: list[Disturbed] = []

    def expected(self, shape: Shape) -> str:
        """Return the hash of a job: from this process, and the same from a run that nobody disturbs."""
        if shape.name not in self._undisturbed:
            found = self._undisturbed[shape.name] = shape.undisturbed(self._folder, shape.rounds)
            number = -1 - len(self.calm)
            self.calm.append(Disturbance(self._cluster, shape, self._folder, number, found, [], "").play())
        return self._undisturbed[shape.name]

    def play(self, shapes: tuple[Shape, ...], progress: Progress, note: Callable[[], None]) -> None:
        """Disturb jobs in turn until all kills are done, or ten runs have failed; ``note`` is called after each."""
        task = progress.add_task("kills", total=len(self._kinds))
        while self._kinds and sum(bool(run.failure) for run in self.runs) < 10:
            number = len(self.runs)
            shape = shapes[number % len(shapes)]
            expected = self.expected(shape)
            kinds, self._kinds = self._kinds[:KILLS_A_RUN], self._kinds[KILLS_A_RUN:]
            disturbance = Disturbance(
                self._cluster, shape, self._folder, number, expected, kinds, f"{self._seed}/{number}"
            )
            result = disturbance.play()
            self._kinds += disturbance.kinds_left
            self.runs.append(result)
            note()
            progress.update(task, advance=len(result.kills), description=f"run {number}: {shape.name}")
            verdict = "same" if result.is_same else "DIFFERENT"
            told = result.failure or verdict
            progress.console.print(
                f"run {number} {shape.name}: {len(result.kills)} kills, {result.seconds:.0f} s, {told}", highlight=False
            )


def report(chaos: Chaos, seed: int) -> dict[str, Any]:
    """Return all figures as plain values."""
    kills = [kill for run in chaos.runs for kill in run.kills]
    return {
        "facts": facts(),
        "seed": seed,
        "table": summary_rows(chaos.runs),
        "undisturbed": [figures(run) for run in chaos.calm],
        "runs": [figures(run) for run in chaos.runs],
        "kills": [{"seed": seed, **kill.as_json()} for kill in kills],
    }


def write(chaos: Chaos, seed: int, path: Path | None) -> None:
    """Write all figures, if asked."""
    if path is not None:
        path.write_text(json.dumps(report(chaos, seed), indent=2), encoding="utf-8")


def main() -> None:
    """Play, print the table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="decides what is killed in which run (default 0)")
    parser.add_argument("--only", default=",".join(WEIGHTS), help=f"kinds of victims (default {','.join(WEIGHTS)})")
    parser.add_argument("--jobs", default=",".join(shape.name for shape in SHAPES), help="jobs (default all)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every kill and every run here")
    arguments = parser.parse_args()
    with_tokens()
    only = arguments.only.split(",")
    if unknown := set(only) - WEIGHTS.keys():
        parser.error(f"--only: no kind of victim: {', '.join(unknown)}; there are {', '.join(WEIGHTS)}")
    kinds = plan(arguments.kills, {kind: WEIGHTS[kind] for kind in only}, arguments.seed)
    shapes = tuple(shape for shape in SHAPES if shape.name in arguments.jobs.split(","))
    console = Console(width=None if sys.stdout.isatty() else 120)
    with tempfile.TemporaryDirectory() as folder, raylets(NUM_NODES) as cluster, Progress(console=console) as progress:
        the_service()  # whoever runs a job on a cluster that has one waits in its queue
        chaos = Chaos(cluster, Path(folder), kinds, arguments.seed)
        chaos.play(shapes, progress, lambda: write(chaos, arguments.seed, arguments.json))
    console.print(summary_table(chaos.runs))
    everyone = [*chaos.calm, *chaos.runs]
    bad = [run for run in everyone if run.failure or not run.is_same]
    print(f"{len(everyone)} runs, {len(bad)} failed or ended with other bits")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
