"""``python -m benchmarks.fuzz``: broken files by the thousand, and what reading them did.

Allowed is success, or one clear message of the errors that end with exit code 2. All else is a finding: another
exception, a message that is empty or endless, over 10 s, over 500 MB, a process that dies, a file that appears.
Findings are kept, and ``--replay FILE`` runs one again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.fuzz import commands
from benchmarks.fuzz.cases import Case, drawn
from benchmarks.fuzz.judging import Child, Name, Verdict, guard, judged, warm_up
from benchmarks.fuzz.targets import TARGETS


@dataclass
class Tally:
    """What came of the cases of one kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    peak_mb: float = 0.0

    def add(self, verdict: Verdict) -> None:
        """Count a verdict."""
        self.outcomes[verdict.outcome] += 1
        self.slowest_s = max(self.slowest_s, verdict.took_s)
        self.peak_mb = max(self.peak_mb, verdict.peak_mb)


def run(names: Iterable[Name], num_processes: int = 2) -> Iterator[tuple[Name, Verdict]]:
    """Judge cases in processes of their own, and yield what came of each."""
    left = iter(names)
    warm_up(list(TARGETS))
    children = [Child() for _ in range(num_processes)]
    busy: dict[int, Name] = {}
    try:
        while True:
            for number, child in enumerate(children):
                if number not in busy and (name := next(left, None)) is not None:
                    busy[number] = name
                    child.begin(name)
            if not busy:
                return
            wait([children[number].connection for number in busy], timeout=1.0)
            for number in list(busy):
                verdict = children[number].answer(busy[number])
                if verdict is not None:
                    yield busy.pop(number), verdict
    finally:
        for child in children:
            child.end()


def names_of(kinds: list[str], num: int, seed: int) -> Iterator[Name]:
    """Return cases, kind after kind in turn."""
    return ((kinds[number % len(kinds)], seed, number) for number in range(num))


def main() -> None:
    """Run cases, show a table, and end with 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(TARGETS), help="kinds, with commas between them")
    parser.add_argument("--commands", action="store_true", help="run the real command for each case (a second or two)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--findings", type=Path, default=Path("runs/fuzz"), help="where findings are kept")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--replay", type=Path, help="run one finding again, in this process")
    options = parser.parse_args()
    console = Console()
    if options.replay:
        guard()
        verdict = judged(Case.load(options.replay))
        console.print(f"{verdict.outcome} {verdict.where}\n{verdict.told}", markup=False, highlight=False)
        sys.exit(verdict.outcome == "finding")
    kinds = options.only.split(",")
    judging = run(names_of(kinds, options.cases, options.seed), options.processes)
    if options.commands:
        kinds, judging = list(commands.KINDS), _commanded(options.cases, options.seed, options.processes)
    tallies, places = {kind: Tally() for kind in kinds}, Counter[str]()
    began_s = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("fuzzing", total=options.cases)
        for name, verdict in judging:
            tallies[name[0]].add(verdict)
            progress.advance(task)
            if verdict.outcome == "finding":
                places[verdict.where] += 1
                if places[verdict.where] <= 3:
                    path = _keep(options.findings, drawn(*name), verdict, sum(places.values()))
                    progress.console.print(f"{verdict.where}: --replay {path}", markup=False, highlight=False)
    console.print(_table(tallies))
    for where, times in places.most_common():
        console.print(f"{times:7,}  {where}", markup=False, highlight=False)
    if options.json:
        _write(options.json, options, tallies, places, time.perf_counter() - began_s)
    sys.exit(bool(places))


def _commanded(num: int, seed: int, num_processes: int) -> Iterator[tuple[Name, Verdict]]:
    names = list(names_of(list(commands.KINDS), num, seed))
    with ThreadPoolExecutor(num_processes) as pool:
        yield from zip(names, pool.map(lambda name: commands.run_command(drawn(*name)), names), strict=True)


def _keep(folder: Path, case: Case, verdict: Verdict, number: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{case.kind}-{number}.zip"
    case.save(path)
    path.with_suffix(".txt").write_text(f"{verdict.where}\n{verdict.told}\n", encoding="utf-8", errors="replace")
    return path


def _table(tallies: dict[str, Tally]) -> Table:
    table = Table("kind", *(("cases", "accepted", "refused", "findings", "slowest s", "peak MB")))
    for kind, one in tallies.items():
        counts = (one.outcomes.total(), *(one.outcomes[name] for name in ("accepted", "refused", "finding")))
        table.add_row(kind, *(f"{count:,}" for count in counts), f"{one.slowest_s:.2f}", f"{one.peak_mb:.0f}")
    total = sum((one.outcomes for one in tallies.values()), Counter[str]())
    counts = (total.total(), *(total[name] for name in ("accepted", "refused", "finding")))
    slowest_s, peak_mb = (max(getattr(one, name) for one in tallies.values()) for name in ("slowest_s", "peak_mb"))
    table.add_row("all", *(f"{count:,}" for count in counts), f"{slowest_s:.2f}", f"{peak_mb:.0f}", style="bold")
    return table


def _write(
    path: Path, options: argparse.Namespace, tallies: dict[str, Tally], places: Counter[str], took_s: float
) -> None:
    told = {
        "cases": options.cases,
        "seed": options.seed,
        "seconds": took_s,
        "kinds": {
            kind: {**one.outcomes, "slowest_s": one.slowest_s, "peak_mb": one.peak_mb} for kind, one in tallies.items()
        },
        "findings": dict(places),
    }
    path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
