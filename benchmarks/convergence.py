"""How fast each solver converges: rounds and seconds to a relative gap of the optimum, in one process, without Ray.

``make bench-convergence``, or ``python -m benchmarks.convergence --page docs/convergence.md``. Every solver that fits
the problem takes its own defaults. The rows are cut into shards in random order (iid), and sorted by the target, where
every shard sees a part of the targets only. Allocation does not change results, so rounds are the same on any cluster;
seconds are those of one process and one BLAS thread, with the rounds that measure a learning rate. Gaps are evaluated
untimed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from benchmarks import problems
from benchmarks.machine import facts
from benchmarks.reference import Reference
from scheduler.errors import UserError
from scheduler.job import Job
from scheduler.preparation import prepare
from workers.data.csv_source import CsvSource
from workers.data.rows import Rows
from workers.data.shard import Shard
from workers.exact_sum import NonFiniteError
from workers.sequential import rounds
from workers.solvers import SOLVERS
from workers.training import DivergedError, Training

GAPS = (1e-2, 1e-4, 1e-6)
NUM_SHARDS = 8
BEGIN, END = "<!-- convergence: begin -->", "<!-- convergence: end -->"


@dataclass(frozen=True, eq=False)
class Case:
    """A problem on standardised columns, in random order; ``y`` holds targets or class numbers."""

    name: str
    objective: str
    X: NDArray[Any]
    y: NDArray[Any]
    l2: float
    batch_size: int = 32

    def shards(self, by_target: bool) -> list[Shard]:
        """Return the rows cut into shards: as they are, or sorted by the target."""
        order = np.argsort(self.y, kind="stable") if by_target else np.arange(len(self.y))
        ends = np.arange(NUM_SHARDS + 1) * len(self.y) // NUM_SHARDS
        nothing = Rows(self.X[:0], self.y[:0])
        parts = [order[start:end] for start, end in pairwise(ends)]
        return [Shard(place, Rows(self.X[rows], self.y[rows]), nothing) for place, rows in enumerate(parts)]

    def training(self, solver: str, folder: Path, max_rounds: int) -> Training:
        """Return a job's training before its first round.

        Raises
        ------
        UserError
            If the solver does not fit the problem.
        """
        path = folder / "data.npz"
        if not path.exists():
            np.savez(path, X=self.X, y=self.y if self.objective == "squared" else self.y.astype(np.int64))
        job = {
            "name": "convergence",
            "data": {"npz": path},
            "test_fraction": 0,
            "model": {"objective": self.objective, "l2": self.l2},
            "training": {
                "solver": solver,
                "rounds": max_rounds,
                "tolerance": 0,
                "batch_size": self.batch_size,
                "standardise": False,
            },
            "shards": NUM_SHARDS,
            "output": folder / "output",
        }
        return prepare(Job(**job)).training()


@dataclass(frozen=True)
class Run:
    """Rounds and seconds of one solver to each of ``GAPS``, None where it was not reached."""

    case: str
    shards: str
    solver: str
    rounds: list[int | None]
    seconds: list[float | None]
    last_gap: float
    note: str = ""


def cases(names: list[str], rows: int) -> Iterator[Case]:
    """Yield the cases called ``names``; those whose data is absent are left out, with a message."""
    for name in names:
        case = MAKERS[name](rows)
        if case is None:
            print(f"{name}: skipped, its data is not under {problems.DATA} (set APPORTION_DATA)")
        else:
            yield case


def california(rows: int) -> Case | None:
    """Return California housing: rows with empty cells left out, text as columns of 0 and 1."""
    del rows
    path = problems.DATA / "tabular" / "california_housing.csv"
    if not path.is_file():
        return None
    source = CsvSource(path, "median_house_value", missing="drop", text="one-hot")
    info = source.describe("regression")
    read = source.read(np.arange(info.num_rows), info)
    return shuffled("California housing", "squared", read.X, read.y, 0.0)


def synthetic(rows: int) -> Case:
    """Return least squares on standard normal columns."""
    made = problems.least_squares(rows)
    return Case(f"synthetic {rows:,} x 50", "squared", made.X, made.y, made.l2, made.batch_size)


def census(rows: int) -> Case | None:
    """Return a9a."""
    del rows
    made = problems.a9a()
    return None if made is None else shuffled("a9a", "logistic", made.X, made.y, made.l2)


def digits(rows: int) -> Case:
    """Return scikit-learn's digits; the penalty keeps the optimum finite, as the classes can be separated."""
    del rows
    X, y = load_digits(return_X_y=True)
    return shuffled("digits", "softmax", X, y, 1e-3)


def shuffled(name: str, objective: str, X: NDArray[Any], y: NDArray[Any], l2: float) -> Case:
    """Return a case of standardised float64 columns in random order."""
    order = np.random.default_rng(0).permutation(len(y))
    X = np.asarray(X, dtype=np.float64)[order]
    scale = X.std(axis=0)
    return Case(
        name, objective, (X - X.mean(axis=0)) / np.where(scale > 0, scale, 1.0), np.asarray(y, float)[order], l2
    )


MAKERS = {"california": california, "synthetic": synthetic, "a9a": census, "digits": digits}


def converge(
    training: Training, shards: list[Shard], reference: Reference, optimum: float, limit_s: float
) -> dict[str, Any]:
    """Follow a training to the smallest gap or the limit, and return the fields of a ``Run`` that it determines."""
    solver = training.solver.name
    num_rounds: list[int | None] = [None] * len(GAPS)
    seconds: list[float | None] = [None] * len(GAPS)
    elapsed_s, gap, note = 0.0, float("inf"), ""
    reports = rounds(training, shards)
    while elapsed_s < limit_s:
        started_s = time.perf_counter()
        try:
            report = next(reports, None)
        except (DivergedError, NonFiniteError) as error:
            note = str(error)
            break
        elapsed_s += time.perf_counter() - started_s
        if report is None or (report.stage != solver and report.stage in SOLVERS) or report.stage == "evaluate":
            break
        if report.stage != solver:
            continue
        state = training.fused or training.state
        gap = (reference.value(state.parameters) - optimum) / abs(optimum)
        for place, aim in enumerate(GAPS):
            if gap <= aim and num_rounds[place] is None:
                num_rounds[place], seconds[place] = report.round, elapsed_s
        if num_rounds[-1] is not None:
            break
    return {"rounds": num_rounds, "seconds": seconds, "last_gap": gap, "note": note}


def measure(case: Case, limit_s: float, max_rounds: int) -> Iterator[Run]:
    """Yield the run of each solver that fits, on both kinds of shards."""
    reference = Reference(case.objective, case.X, case.y, case.l2)
    _, optimum = reference.minimise()
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(limits=1):
        for kind, by_target in (("iid", False), ("sorted", True)):
            shards = case.shards(by_target)
            for solver in SOLVERS:
                try:
                    training = case.training(solver, Path(folder), max_rounds)
                except UserError:
                    continue  # it does not fit the problem
                yield Run(case.name, kind, solver, **converge(training, shards, reference, optimum, limit_s))


def cells(run: Run) -> list[str]:
    """Return a run as the cells of a table."""
    pairs = zip(run.rounds, run.seconds, strict=True)
    reached = ["-" if number is None else f"{number} ({seconds:.2g} s)" for number, seconds in pairs]
    return [run.solver, run.shards, *reached, "diverged" if run.note else f"{max(run.last_gap, 0.0):.0e}"]


HEADINGS = ["solver", "shards", *(f"to {gap:g}" for gap in GAPS), "last gap"]


def table_of(name: str, runs: list[Run]) -> Table:
    """Return the runs of a case as a table for the terminal."""
    table = Table(*HEADINGS, title=f"{name}: rounds (seconds) to a relative gap")
    for run in runs:
        table.add_row(*cells(run))
    return table


def markdown(runs: dict[str, list[Run]], machine: dict[str, Any], options: argparse.Namespace) -> str:
    """Return all runs as Markdown, with what they were measured on and by."""
    limits = f"--rows {options.rows} --rounds {options.rounds} --limit {options.limit:g}"
    where = f"{machine['processor']}, {machine['logical_processors']} logical processors, load {machine['load_1_min']}"
    versions = f"Python {machine['python']}, NumPy {machine['versions']['numpy']}"
    lines = [
        f"Measured on {machine['date'][:10]} by `python -m benchmarks.convergence {limits}` ({where}; {versions})."
    ]
    for name, taken in runs.items():
        rows = [HEADINGS, ["---"] * len(HEADINGS), *(cells(run) for run in taken)]
        lines += ["", f"### {name}", "", *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines)


def write_page(path: Path, text: str) -> None:
    """Replace what lies between the markers of a page.

    Raises
    ------
    ValueError
        If the page has no markers.
    """
    page = path.read_text(encoding="utf-8")
    before, found, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{path} has no lines {BEGIN!r} and {END!r}: add them where the tables belong")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def parsed(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the synthetic case (default 2,000,000)")
    parser.add_argument("--rounds", type=int, default=500, help="at most this many rounds (default 500)")
    parser.add_argument("--limit", type=float, default=20.0, help="at most this many seconds each (default 20)")
    parser.add_argument("--page", type=Path, metavar="PATH", help="write the tables between the markers of this page")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure here")
    return parser.parse_args(words)


def main() -> None:
    """Measure, print tables, and write the page and JSON if asked."""
    arguments = parsed()
    machine, console, runs = facts(), Console(width=110), {}
    for case in cases(arguments.cases, arguments.rows):
        runs[case.name] = list(measure(case, arguments.limit, arguments.rounds))
        console.print(table_of(case.name, runs[case.name]))
        if arguments.page:  # a run takes long: keep what is there
            write_page(arguments.page, markdown(runs, machine, arguments))
    if arguments.json:
        figures = {"machine": machine, "runs": [asdict(run) for taken in runs.values() for run in taken]}
        arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
