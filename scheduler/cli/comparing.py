"""How a comparison goes on the command line: runs that are kept, a progress bar, and what is shown in the end."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from policies.interface import Policy
from scheduler import __version__
from scheduler.cli.arguments import print_json
from scheduler.report.comparison_text import comparison_csv, comparison_json, comparison_text
from scheduler.report.html import write_report
from scheduler.results.comparison import Comparison
from scheduler.results.outcome import RunOutcome
from scheduler.simulation.scenario import Scenario, facts
from scheduler.simulation.simulator import simulate
from scheduler.simulation.traces.trace_file import write_trace
from scheduler.stored_runs import Fact, StoredRuns
from workers.model import atomic_text


@dataclass(frozen=True)
class Contest:
    """What policies are compared on.

    Attributes
    ----------
    title
        Of the table and the report.
    doing
        What the progress bar says.
    facts
        What a run depends on beside policy and seed.
    run
        Runs the jobs under a policy, with a seed.
    """

    title: str
    doing: str
    facts: Mapping[str, Fact]
    run: Callable[[Policy, int], RunOutcome]


@dataclass(frozen=True)
class Wishes:
    """What is to become of the runs: where they are kept, which files are written, and whether JSON is printed."""

    runs: Path | None = None
    csv: Path | None = None
    html: Path | None = None
    as_json: bool = False


def simulated(scenario: Scenario, record: Path | None = None) -> Contest:
    """Return a scenario as a contest; the workload of its first seed is written as a trace if ``record`` says where."""
    if record is not None:
        write_trace(scenario.world(0).workload, record)
    world = lru_cache(maxsize=1)(scenario.world)  # all policies meet the same one
    title = f"{scenario.source} on {scenario.fleet.source} ({len(scenario.fleet)} nodes), simulated"
    return Contest(title, "simulating", facts(scenario), lambda policy, seed: simulate(world(seed), policy))


def compared(contest: Contest, policies: Sequence[Policy], seeds: int, console: Console, wishes: Wishes) -> None:
    """Run what is missing, with a progress bar, and print what came of it; if interrupted, of the runs till then.

    Raises
    ------
    KeyboardInterrupt
        After that, if it was interrupted.
    """
    folder = wishes.runs
    stored = None if folder is None else StoredRuns(folder, {**contest.facts, **_versions()}, policies)
    runs, whole = _runs(contest, policies, seeds, stored, console)
    if runs or whole:
        names = tuple(policy.name for policy in policies)
        comparison = Comparison(contest.title, names, tuple(range(seeds)), tuple(runs), _command(), _versions())
        _show(comparison, console, wishes)
    if not whole:
        _say_how_to_go_on(len(runs), seeds * len(policies), folder)
        raise KeyboardInterrupt


def _runs(
    contest: Contest, policies: Sequence[Policy], seeds: int, stored: StoredRuns | None, console: Console
) -> tuple[list[RunOutcome], bool]:
    """Return the runs that were stored and those that were missing, and whether these are all."""
    names = [policy.name for policy in policies]
    found = [] if stored is None else stored.found(names, range(seeds))
    for line in [] if stored is None else stored.trouble:
        console.print(f"{escape(line)}; it is run again", style="yellow", highlight=False)
    runs = {(run.policy, run.seed): run for run in found}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_interactive) as progress:
            task = progress.add_task(contest.doing, total=seeds * len(policies), completed=len(runs))
            for seed in range(seeds):  # in turns, so that a machine that drifts hits all alike
                for policy in [policy for policy in policies if (policy.name, seed) not in runs]:
                    run = runs[policy.name, seed] = contest.run(policy, seed)
                    if stored is not None:
                        stored.keep(run)
                    progress.advance(task)
    except KeyboardInterrupt:
        pass
    ordered = [runs[name, seed] for seed in range(seeds) for name in names if (name, seed) in runs]
    return ordered, len(ordered) == seeds * len(policies)


def _show(comparison: Comparison, console: Console, wishes: Wishes) -> None:
    """Write the files that were asked for, and print the rest."""
    if wishes.csv is not None:
        with atomic_text(wishes.csv) as file:
            file.write(comparison_csv(comparison))
    if wishes.html is not None:
        write_report(comparison, wishes.html)
    if wishes.as_json:
        print_json(comparison_json(comparison))
    else:
        console.print(comparison_text(comparison))


def _say_how_to_go_on(num_done: int, num_all: int, folder: Path | None) -> None:
    how = "with --runs FOLDER they would be kept, and the same command would go on from there"
    if folder is not None:
        how = f"they are in {folder}; the same command goes on from there:\n  {_command()}"
    Console(stderr=True).print(
        f"interrupted after {num_done} of {num_all} runs: {escape(how)}", highlight=False, soft_wrap=True
    )


def _command() -> str:
    return shlex.join(["apportion", *sys.argv[1:]])


def _versions() -> dict[str, str]:
    return {
        "apportion": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "ray": version("ray"),
        "scipy": version("scipy"),
        "processor": platform.processor() or platform.machine(),
    }
