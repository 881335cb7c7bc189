"""A comparison for the terminal and for scripts: tables, small plots, JSON and CSV."""

from __future__ import annotations

import csv
import io
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import TextWrapper, fill
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from scheduler.results.comparison import Comparison
from scheduler.results.measures import MEASURES
from scheduler.results.outcome import RunOutcome, Status
from scheduler.results.statistics import Estimate, main_measure, over_seeds, ranking, ratio, verdicts

SHOWN = (
    "makespan_s",
    "jct_mean_s",
    "queueing_s",
    "unfairness_worst",
    "round_s",
    "imbalance",
    "barrier_idle",
    "cpu_utilisation",
    "gpu_utilisation",
    "gap_to_bound",
    "cost",
    "unfinished_jobs",
)
"""The measures of the terminal's table, where they are defined and not all 0; the rest is in JSON, CSV and HTML."""

SPARKS = "▁▂▃▄▅▆▇█"
WIDTH = 36
ROUNDING = 1e-12
"""A narrower interval, as a part of its mean, is one of equal values that were added up."""

MOST_LETTERS = 24
"""Of a policy's name in one line."""

MOST_JOBS = 20


def comparison_text(comparison: Comparison) -> RenderableType:
    """Return the ranking, the verdicts, a bar for each policy, and the first run that left jobs unfinished."""
    measure = main_measure(comparison)
    ranked = ranking(comparison, measure)
    parts: list[RenderableType]
    if len(ranked) == 1:
        parts = [_title(comparison), Text(f"policy {ranked[0]}"), _all_measures(comparison, ranked[0])]
    else:
        parts = [_title(comparison), _Fitted(lambda console, width: _ranking(comparison, measure, console, width))]
        parts += [Text(""), _Fitted(lambda _, width: _wrapped(verdicts(comparison), width))]
        parts += [Text(f"\n{measure}"), _bars(comparison, ranked, measure)]
    runs = [runs[0] for policy in ranked if (runs := comparison.of(policy))]
    if any(run.uses for run in runs):
        parts += [Text(f"\nCPU and GPU in use over time, seed {runs[0].seed}"), _sparklines(runs)]
    if models := comparison.models():
        parts.append(Text(f"\n{_same_bits(models)}"))
    for run in [run for run in runs if any(job.status is not Status.FINISHED for job in run.jobs)][:1]:
        parts += [Text(f"\nNot finished under {run.policy}, seed {run.seed}"), _trouble(run)]
    return Group(*parts)


def _same_bits(models: Mapping[str, frozenset[str]]) -> str:
    """Say whether every run of a job has trained the same model."""
    differ = sorted(name for name, hashes in models.items() if len(hashes) > 1)
    if differ:
        return f"THE MODELS DIFFER from run to run: {', '.join(differ)}"
    shown = ", ".join(f"{name} {next(iter(hashes))[:16]}" for name, hashes in list(models.items())[:3])
    more = f" and {len(models) - 3} more" if len(models) > 3 else ""
    return f"the same model in every run: {shown}{more}"


@dataclass(frozen=True)
class _Fitted:
    """What is made for the width that there is."""

    made: Callable[[Console, int], RenderableType]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.made(console, options.max_width)


def _wrapped(lines: Sequence[str], width: int) -> Text:
    """Return a list with hanging lines; a number stays with its unit."""
    wrap = TextWrapper(width, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
    found = [wrap.fill(line.replace(" %", "\u00a0%")).replace("\u00a0", " ") for line in lines]
    return Text("\n".join(found), no_wrap=True)


def _name(policy: str) -> str:
    """Return a policy's name for a narrow column: a long one has a line for each of its parts."""
    return escape(policy if len(policy) <= MOST_LETTERS else policy.replace("+", "+\n"))


def estimates(comparison: Comparison, policy: str) -> dict[str, Estimate]:
    """Return every measure of a policy over its seeds."""
    return {name: over_seeds(comparison, policy, name) for name in MEASURES}


def told(found: Sequence[Mapping[str, Estimate]], names: Iterable[str] = MEASURES) -> list[str]:
    """Return those of the measures that are defined and not 0 for some policy."""
    return [name for name in names if any(one[name].mean and not math.isnan(one[name].mean) for one in found)]


def _title(comparison: Comparison) -> Text:
    return Text(f"{comparison.title}, {comparison.extent}")


def _all_measures(comparison: Comparison, policy: str) -> Table:
    """Return every measure that is defined and not 0, of one policy."""
    table = Table(header_style="bold")
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_column("unit")
    found = estimates(comparison, policy)
    for name in told([found]):
        table.add_row(name, shown(found[name]), MEASURES[name].unit)
    return table


def _ranking(comparison: Comparison, measure: str, console: Console, width: int) -> Table:
    """Return the policies, the best first, with as many measures as the width has room for."""
    found = {policy: estimates(comparison, policy) for policy in ranking(comparison, measure)}
    names = _columns(found, measure)
    wide = console.options.update(max_width=10_000)
    for num in range(len(names), 0, -1):
        table = _ranked(comparison, found, measure, names[:num])
        if console.measure(table, options=wide).maximum <= width:
            break
    return table


def _ranked(
    comparison: Comparison, found: Mapping[str, Mapping[str, Estimate]], measure: str, names: Sequence[str]
) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("policy", overflow="fold")
    yardstick = comparison.policies[0]
    ratios = [ratio(comparison, yardstick, policy, measure).mean for policy in found]
    columns = [(heading(name), [shown(one[name]) for one in found.values()]) for name in names]
    times = ["-" if math.isnan(one) else f"{one:.3f}" for one in ratios]
    columns.insert(1, (f"x {yardstick if len(yardstick) <= MOST_LETTERS else 'the first'}", times))
    for title, cells in columns:
        room = max(map(len, (*cells, *title.split())))
        table.add_column(escape(fill(title, room, break_on_hyphens=False)), justify="right", no_wrap=True)
    for policy, *cells in zip(found, *(cells for _, cells in columns), strict=True):
        table.add_row(_name(policy), *cells)
    return table


def heading(name: str) -> str:
    """Return a measure's name and unit as tables have them."""
    unit = f", {MEASURES[name].unit}" if MEASURES[name].unit else ""
    return f"{name.removesuffix('_s').replace('_', ' ')}{unit}"


def _columns(found: Mapping[str, Mapping[str, Estimate]], measure: str) -> list[str]:
    """Return what may be shown: first what is ranked by, then what differs between policies, then what is not 0."""
    known = told(list(found.values()), SHOWN)
    same = {name: len({shown(one[name]) for one in found.values()}) == 1 for name in known}
    if measure == "makespan_s" and "jct_mean_s" in known:
        known.remove("jct_mean_s")  # one job: it is the same
    return sorted({*known, measure}, key=lambda name: (name != measure, same.get(name, True), SHOWN.index(name)))


def shown(found: Estimate) -> str:
    """Return a figure with its interval."""
    if math.isnan(found.mean):
        return "-"
    if math.isnan(found.half) or found.half <= ROUNDING * abs(found.mean):
        return _digits(found.mean)
    half = np.format_float_positional(found.half, precision=2, fractional=False, trim="-")
    return f"{_digits(found.mean)} ±{half if len(half) <= 7 else f'{found.half:.1e}'}"


def _digits(value: float) -> str:
    """Return a number with at least four digits, and all those before the point while there are few."""
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e6 else f"{value:.4g}"


def _bars(comparison: Comparison, ranked: Sequence[str], measure: str) -> RenderableType:
    means = {policy: over_seeds(comparison, policy, measure).mean for policy in ranked}
    most = max((mean for mean in means.values() if not math.isnan(mean)), default=0.0)
    table = Table.grid(padding=(0, 1))
    for policy, mean in means.items():
        length = 0 if not most or math.isnan(mean) else round(WIDTH * mean / most)
        table.add_row(_name(policy), Text("█" * length, style="cyan"), "-" if math.isnan(mean) else _digits(mean))
    return table


def _sparklines(runs: Sequence[RunOutcome]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    for run in runs:
        known = [resource for resource in ("cpu", "gpu") if any(getattr(use.used, resource) for use in run.uses)]
        lines = "\n".join(sparkline(run, resource) for resource in known)
        table.add_row(_name(run.policy), "\n".join(known), Text(lines, style="cyan"))
    return table


def sparkline(run: RunOutcome, resource: str) -> str:
    """Return the used part of a resource in equal stretches of time, each by its height at its middle."""
    marks = []
    changes_s = [use.at_s for use in run.uses]
    for column in range(WIDTH):
        known = bisect_right(changes_s, (column + 0.5) * run.ended_s / WIDTH)
        there = getattr(run.uses[known - 1].capacity, resource) if known else 0.0
        part = getattr(run.uses[known - 1].used, resource) / there if there else 0.0
        marks.append(SPARKS[min(int(part * len(SPARKS)), len(SPARKS) - 1)] if part > 0 else " ")
    return "".join(marks)


def _trouble(run: RunOutcome) -> Table:
    """Return the jobs of a run that did not finish, with the reasons."""
    jobs = [job for job in run.jobs if job.status is not Status.FINISHED]
    table = Table(header_style="bold")
    for column in ("job", "status", "why"):
        table.add_column(column, overflow="fold")
    for job in jobs[:MOST_JOBS]:
        table.add_row(escape(job.id), job.status.value, escape(job.reason))
    if len(jobs) > MOST_JOBS:
        table.caption = f"and {len(jobs) - MOST_JOBS} more"
    return table


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return all figures as plain JSON values; what is not defined is None."""
    return {
        "title": comparison.title,
        "command": comparison.command,
        "versions": dict(comparison.versions),
        "seeds": list(comparison.seeds),
        "shared_seeds": list(comparison.shared),
        "ranked_by": main_measure(comparison),
        "ranking": list(ranking(comparison, main_measure(comparison))),
        "verdicts": list(verdicts(comparison)),
        "models": {name: sorted(hashes) for name, hashes in comparison.models().items()},
        "policies": {
            policy: {name: {"mean": _plain(one.mean), "half": _plain(one.half)} for name, one in found.items()}
            for policy in comparison.policies
            if comparison.of(policy) and (found := estimates(comparison, policy))
        },
        "runs": [
            {"policy": run.policy, "seed": run.seed, "live": run.live}
            | {name: _plain(value) for name, value in comparison.measured[run.policy, run.seed].items()}
            for run in comparison.runs
        ],
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def comparison_csv(comparison: Comparison) -> str:
    """Return one line for each run, with every measure; what is not defined is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["policy", "seed", "live", *MEASURES])
    for run in comparison.runs:
        measured = comparison.measured[run.policy, run.seed].values()
        values = ("" if math.isnan(value) else value for value in measured)
        writer.writerow([run.policy, run.seed, run.live, *values])
    return text.getvalue()
