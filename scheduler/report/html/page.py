"""Write the report: text, tables and plots in one file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from scheduler.errors import UserError
from scheduler.report.html.figures import all_figures
from scheduler.report.html.tables import job_tables, measures_table, ranking_table, table
from scheduler.results.comparison import Comparison
from scheduler.results.statistics import verdicts
from workers.model import atomic_text


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
        extent=escape(comparison.extent),
        ranking=ranking_table(comparison),
        measures=measures_table(comparison),
        plots=places,
        command=escape(comparison.command),
        versions=table(("name", "version"), ([(n, None), (v, None)] for n, v in comparison.versions.items())),
        figures=_json({place: choices for place, (_, choices) in figures.items()}),
        jobs=_json(job_tables(comparison)),
        plotly=get_plotlyjs(),
        js=here.joinpath("page.js").read_text("utf-8"),
    )


def _json(value: Any) -> str:
    """Return JSON that may stand in a script element; raises ``ValueError`` for NaN, which JSON does not know."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _place(place: str, title: str, choices: Sequence[str]) -> str:
    options = "".join(f'<option value="{escape(one)}">{escape(one)}</option>' for one in choices)
    label = escape(f"Choose: {title}")
    select = f'<select aria-label="{label}" data-for="{place}">{options}</select>' if len(choices) > 1 else ""
    return (
        f'<section><h2>{escape(title)}</h2>{select}<div class="scroll"><div class="panels" id="{place}"></div></div>'
        f'<p class="note" id="{place}-note"></p></section>'
    )
