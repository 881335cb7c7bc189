"""The tables of a report: the ranking, all measures, and the jobs of every run. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

from scheduler.report.comparison_text import SHOWN, estimates, heading, shown, told
from scheduler.report.html.drawing import brief
from scheduler.results.comparison import Comparison
from scheduler.results.measures import MEASURES
from scheduler.results.outcome import JobOutcome, RunOutcome, Status
from scheduler.results.statistics import Estimate, main_measure, ranking, ratio

MOST_ROWS = 20_000
"""Of jobs in the whole file; the means over seeds come first, then seed by seed."""

MOST_JOBS = 1000
"""Of a policy and seed."""

_NUMBER = ' class="number"'

Cell = tuple[str, float | None]
"""What is shown, and the number to sort by; None sorts as text."""

JOB_COLUMNS: dict[str, Callable[[JobOutcome], float]] = {
    "submitted, s": lambda job: job.submitted_s,
    "started, s": lambda job: job.started_s,
    "ended, s": lambda job: job.ended_s,
    "JCT, s": lambda job: job.jct_s,
    "slowdown, x": lambda job: job.jct_s / job.alone_s if job.alone_s > 0 else math.nan,
    "workers": lambda job: job.workers,
    "worker-seconds": lambda job: job.worker_s,
    "preemptions": lambda job: job.preemptions,
    "restarts": lambda job: job.restarts,
    "cost": lambda job: job.cost,
}


MOST_COLUMNS = 5
"""Of the ranking, beside what it is by; the other measures have a table of their own."""


def table(headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a table that can be sorted, in a box that scrolls by itself."""
    rows = list(rows)
    numbers = [any(row[column][1] is not None for row in rows) for column in range(len(headers))]
    heads = "".join(
        f'<th scope="col"{_NUMBER if number else ""}><button type="button">{escape(header)}</button></th>'
        for header, number in zip(headers, numbers, strict=True)
    )
    body = "".join("<tr>" + "".join(_cell(*cell) for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str, number: float | None) -> str:
    if number is None:
        return f"<td>{escape(text)}</td>"
    value = "" if math.isnan(number) else repr(float(number))
    return f'<td class="number" data-value="{value}">{escape(text)}</td>'


def ranking_table(comparison: Comparison) -> str:
    """Return the policies, the best first: what they are ranked by, how that compares to the first policy, and more."""
    measure = main_measure(comparison)
    found = {policy: estimates(comparison, policy) for policy in ranking(comparison, measure)}
    known = [name for name in told(list(found.values()), SHOWN) if name != measure]
    if measure == "makespan_s" and "jct_mean_s" in known:
        known.remove("jct_mean_s")  # one job: it is the same
    names = known[:MOST_COLUMNS]
    yardstick = comparison.policies[0] if comparison.policies else ""
    rows = []
    for policy, one in found.items():
        times = ratio(comparison, yardstick, policy, measure)
        interval = "" if math.isnan(times.low) or policy == yardstick else f" ({times.low:.2f} to {times.high:.2f})"
        compared = "-" if math.isnan(times.mean) else f"{times.mean:.3f}{interval}"
        cells = [(shown(one[name]), one[name].mean) for name in names]
        rows.append([(policy, None), (shown(one[measure]), one[measure].mean), (compared, times.mean), *cells])
    return table(["policy", heading(measure), f"x {yardstick}", *map(heading, names)], rows)


def measures_table(comparison: Comparison) -> str:
    """Return every measure that is defined and not 0, a row each, with its definition; the best is bold."""
    found = {policy: estimates(comparison, policy) for policy in ranking(comparison, main_measure(comparison))}
    heads = "".join(f'<th scope="col" class="number">{escape(policy)}</th>' for policy in found)
    rows = []
    for name in told(list(found.values())):
        one = MEASURES[name]
        best = _best([estimate[name] for estimate in found.values()], one.better)
        cells = "".join(
            f'<td class="number{" best" if estimate[name].mean == best else ""}">{escape(shown(estimate[name]))}</td>'
            for estimate in found.values()
        )
        what = f"{one.what} {one.better.capitalize()} is better." if one.better else one.what
        rows.append(f'<tr title="{escape(what)}"><th scope="row">{escape(heading(name))}</th>{cells}</tr>')
    head = f'<thead><tr><th scope="col">measure</th>{heads}</tr></thead>'
    return f'<div class="scroll whole"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


def _best(found: Sequence[Estimate], better: str) -> float:
    """Return the best mean; NaN, which is equal to none, where nothing is better or all are the same."""
    means = {one.mean for one in found if not math.isnan(one.mean)}
    if len(means) < 2 or not better:
        return math.nan
    return max(means) if better == "higher" else min(means)


def job_tables(comparison: Comparison) -> dict[str, Any]:
    """Return the jobs of each policy: means over the shared seeds where there are several, and every seed.

    ``rows`` have the job, how it ended, the numbers of ``columns`` (None where one is not known) and the reason.
    """
    runs = [comparison.of(policy) for policy in comparison.policies]
    several = len(comparison.shared) > 1
    tables = [(mine[0].policy, f"mean over {len(mine)} seeds", _means(mine)) for mine in runs if mine and several]
    by_seed = sorted(comparison.runs, key=lambda run: run.seed)
    tables += [(run.policy, f"seed {run.seed}", _rows(run)) for run in by_seed]
    kept: list[dict[str, Any]] = []
    num_rows = 0
    for policy, of, rows in tables:
        if num_rows + len(rows[:MOST_JOBS]) > MOST_ROWS and kept:
            break
        kept.append({"policy": policy, "of": of, "rows": rows[:MOST_JOBS]})
        num_rows += len(rows[:MOST_JOBS])
    most = max((len(rows) for _, _, rows in tables), default=0)
    said = [f"the first {MOST_JOBS:,} of {most:,} jobs"] if most > MOST_JOBS else []
    said += [f"{len(kept)} of {len(tables)} tables"] if len(kept) < len(tables) else []
    note = f"Shown: {', '.join(said)}; the rest would make this file too large." if said else ""
    return {"columns": ["job", "status", *JOB_COLUMNS, "why"], "tables": kept, "note": note}


def _rows(run: RunOutcome) -> list[list[Any]]:
    return [[job.id, job.status.value, *_numbers([job]), job.reason] for job in run.jobs]


def _means(runs: Sequence[RunOutcome]) -> list[list[Any]]:
    """Return each job's means over the runs in which a number is known, and in how many it finished."""
    by_job: dict[str, list[JobOutcome]] = {}
    for run in runs:
        for job in run.jobs:
            by_job.setdefault(job.id, []).append(job)
    rows: list[list[Any]] = []
    for name, jobs in by_job.items():
        num = sum(job.status is Status.FINISHED for job in jobs)
        status = Status.FINISHED.value if num == len(runs) else f"finished in {num} of {len(runs)}"
        rows.append([name, status, *_numbers(jobs), next((job.reason for job in jobs if job.reason), "")])
    return rows


def _numbers(jobs: Sequence[JobOutcome]) -> list[float | None]:
    found = []
    for of in JOB_COLUMNS.values():
        known = [value for job in jobs if math.isfinite(value := of(job))]
        found.append(math.fsum(known) / len(known) if known else math.nan)
    return brief(found)
