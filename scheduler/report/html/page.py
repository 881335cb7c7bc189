"""Write the report: text, tables and plots in one file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from scheduler.errors import UserError
from scheduler.report.comparison_text import estimates, shown, told
from scheduler.report.html.figures import all_figures
from scheduler.results.comparison import Comparison
from scheduler.results.measures import MEASURES
from scheduler.results.statistics import main_measure, ranking, verdicts
from workers.model import atomic_text

MOST_JOBS = 500
Cell = tuple[str, float | None]
"""What is shown, and the number to sort by; None sorts as text."""


def write_report(comparison: Comparison, path: Path) -> None:
    """Write a comparison as one HTML file, whole or not at all; it loads nothing from anywhere.

    Raises
    ------
    UserError
        If plotly is not installed.
    DataError
        If the file cannot be written.
    """
    text = page(comparison)
    with atomic_text(path) as file:
        file.write(text)


def page(comparison: Comparison) -> str:
    """Return the report as text; raises ``UserError`` if plotly is not installed."""
    try:
        from plotly.offline import get_plotlyjs  # noqa: PLC0415 - an extra, needed for this page alone
    except ImportError as error:
        raise UserError("the HTML report needs plotly: pip install 'apportion[report]'") from error
    figures = all_figures(comparison)
    places = "".join(_place(place, title, tuple(choices)) for place, (title, choices) in figures.items())
    here = files("scheduler.report.html")
    return Template(here.joinpath("page.html").read_text("utf-8")).substitute(
        title=escape(comparison.title),
        css=here.joinpath("page.css").read_text("utf-8"),
        verdicts="".join(f"<li>{escape(line)}</li>" for line in verdicts(comparison)),
        ranking=_ranking(comparison),
        plots=places,
        jobs=_jobs(comparison),
        command=escape(comparison.command),
        versions=_table(("name", "version"), ([(n, None), (v, None)] for n, v in comparison.versions.items())),
        figures=_json({place: choices for place, (_, choices) in figures.items()}),
        plotly=get_plotlyjs(),
        js=here.joinpath("page.js").read_text("utf-8"),
    )


def _json(value: Any) -> str:
    """Return JSON that may stand in a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _place(place: str, title: str, choices: Sequence[str]) -> str:
    options = "".join(f'<option value="{escape(one)}">{escape(one)}</option>' for one in choices)
    label = escape(f"Choose: {title}")
    select = f'<select aria-label="{label}" data-for="{place}">{options}</select>' if len(choices) > 1 else ""
    return (
        f'<section><h2>{escape(title)}</h2>{select}<div class="scroll"><div class="plot" id="{place}"></div></div>'
        f'<p class="note" id="{place}-note"></p></section>'
    )


def _table(headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    heads = "".join(f'<th scope="col"><button type="button">{escape(header)}</button></th>' for header in headers)
    body = "".join("<tr>" + "".join(_cell(*cell) for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str, number: float | None) -> str:
    if number is None:
        return f"<td>{escape(text)}</td>"
    value = "" if math.isnan(number) else repr(float(number))
    return f'<td class="number" data-value="{value}">{escape(text)}</td>'


def _ranking(comparison: Comparison) -> str:
    first = main_measure(comparison)
    found = {policy: estimates(comparison, policy) for policy in ranking(comparison, first)}
    names = sorted(told(list(found.values())), key=lambda name: name != first)
    headers = ["policy", *(f"{name.removesuffix('_s')} {MEASURES[name].unit}".strip() for name in names)]
    rows = ([(policy, None), *((shown(one[name]), one[name].mean) for name in names)] for policy, one in found.items())
    return _table(headers, rows)


def _jobs(comparison: Comparison) -> str:
    pairs = [(run, job) for run in comparison.runs for job in run.jobs]
    rows = (
        [
            (run.policy, None),
            (str(run.seed), run.seed),
            (job.id, None),
            (job.status.value, None),
            *((_number(value), value) for value in (job.submitted_s, job.started_s, job.ended_s, job.jct_s)),
            *((_number(value), value) for value in (job.workers, job.worker_s, job.restarts, job.cost)),
            (job.reason, None),
        ]
        for run, job in pairs[:MOST_JOBS]
    )
    headers = ("policy", "seed", "job", "status", "submitted s", "started s", "ended s", "JCT s")
    table = _table((*headers, "workers", "worker s", "restarts", "cost", "why"), rows)
    left = len(pairs) - MOST_JOBS
    return table + (f'<p class="note">The first {MOST_JOBS} rows; {left} more are left out.</p>' if left > 0 else "")


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.6g}"
