"""The plots of a report, as plain values that plotly.js draws. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import numpy as np

from scheduler.results.comparison import Comparison
from scheduler.results.outcome import Activity, Interval, RunOutcome

Figure = dict[str, Any]
Figures = dict[str, Figure]
"""By what is chosen in a select; one entry needs none."""

MOST_WORKERS = 60
MOST_INTERVALS = 8000
MOST_NODES = 100
BINS = 120
RESOURCES = ("CPU", "GPU", "memory")
COLORS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#b279a2", "#72b7b2", "#eeca3b", "#9d755d")
ACTIVITY_COLORS: Mapping[Activity, str] = {
    Activity.BUSY: "#54a24b",
    Activity.WAITING: "#bab0ac",
    Activity.MOVING: "#f58518",
    Activity.STARTING: "#4c78a8",
    Activity.DEAD: "#e45756",
}


def _figure(data: list[Figure], x: str, y: str, **layout: Any) -> Figure:
    axes = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}, "automargin": True, "rangemode": "tozero"}}
    return {"data": data, "layout": axes | layout}


def all_figures(comparison: Comparison) -> dict[str, tuple[str, Figures]]:
    """Return the plots that have data, by the id of their place: a heading, and the choices."""
    first = [runs[0] for policy in comparison.policies if (runs := comparison.of(policy))]
    found = {
        "jct": ("Job completion times", {"": _jct(comparison)}),
        "timeline": ("Timeline of the workers, first seed", {run.policy: _timeline(run) for run in first}),
        "utilisation": (
            "Utilisation over time, first seed",
            {name: _utilisation(first, number) for number, name in enumerate(RESOURCES)},
        ),
        "heat": (
            "Use of each node, first seed",
            {f"{run.policy}: {name}": _heat(run, number) for number, name in enumerate(RESOURCES) for run in first},
        ),
        "loss-time": ("Loss over time, first seed", {"": _loss(first, over_time=True)}),
        "loss-round": ("Loss over rounds, first seed", {"": _loss(first, over_time=False)}),
    }
    drawn = {
        place: (title, {choice: figure for choice, figure in choices.items() if figure["data"]})
        for place, (title, choices) in found.items()
    }
    return {place: (title, choices) for place, (title, choices) in drawn.items() if choices}


def _jct(comparison: Comparison) -> Figure:
    """Return the share of jobs that completed within a time (ECDF), over all seeds."""
    data = []
    for number, policy in enumerate(comparison.policies):
        jcts = np.sort([job.jct_s for run in comparison.of(policy) for job in run.jobs])
        jcts = jcts[~np.isnan(jcts)]
        if len(jcts):
            # Quantiles, so that the file stays small whatever the number of jobs.
            parts = np.linspace(0, 1, min(len(jcts), 400) + 1)[1:]
            times = jcts[np.ceil(parts * len(jcts)).astype(int) - 1]
            data.append(
                _line(policy, zip(times.tolist(), (100 * parts).tolist(), strict=True), number)
                | {"line": {"shape": "hv", "color": _color(number)}}
            )
    return _figure(data, "completion time, s", "jobs completed, %")


def _color(number: int) -> str:
    return COLORS[number % len(COLORS)]


def _line(name: str, points: Iterable[tuple[float, float]], number: int) -> Figure:
    line = {"color": _color(number)}
    x, y = zip(*points, strict=True)
    values = {"x": list(x), "y": list(y)}
    return {"type": "scatter", "mode": "lines", "name": escape(name), "line": line} | values


def _row(one: Interval) -> str:
    return escape(one.node if one.worker < 0 else f"{one.node} · {one.job} · {one.worker}")


def _timeline(run: RunOutcome) -> Figure:
    order = {node.id: number for number, node in enumerate(run.nodes)}
    workers = sorted(
        {(order.get(one.node, len(order)), one.node, one.job, one.worker) for one in run.intervals},
    )
    kept = {worker[1:] for worker in workers[:MOST_WORKERS]}
    chosen = [one for one in run.intervals if (one.node, one.job, one.worker) in kept]
    shown = chosen[:MOST_INTERVALS]
    data = []
    for activity, color in ACTIVITY_COLORS.items():
        if mine := [one for one in shown if one.activity is activity]:
            data.append(_bars(activity, color, mine))
    rows = list(dict.fromkeys(_row(one) for one in sorted(shown, key=lambda one: (order.get(one.node, 0), one.job))))
    note = ""
    if len(workers) > MOST_WORKERS or len(chosen) > len(shown):
        note = (
            f"Shown: the first {min(len(workers), MOST_WORKERS)} of {len(workers)} workers, "
            f"{len(shown)} of {len(run.intervals)} intervals."
        )
    figure = _figure(data, "time, s", "", barmode="overlay", bargap=0.1, height=160 + 20 * len(rows))
    figure["layout"]["yaxis"] |= {"type": "category", "categoryarray": rows, "autorange": "reversed", "dtick": 1}
    return figure | {"note": note}


def _bars(activity: Activity, color: str, intervals: list[Interval]) -> Figure:
    return {
        "type": "bar",
        "orientation": "h",
        "name": activity.value,
        "marker": {"color": color},
        "y": [_row(one) for one in intervals],
        "x": [one.to_s - one.from_s for one in intervals],
        "base": [one.from_s for one in intervals],
        "hovertext": [
            f"{_row(one)}<br>{activity.value}{f', round {one.round}' if one.round >= 0 else ''}"
            f"<br>{one.from_s:.4g} to {one.to_s:.4g} s"
            for one in intervals
        ],
        "hoverinfo": "text",
    }


def _utilisation(runs: list[RunOutcome], resource: int) -> Figure:
    data = []
    for number, run in enumerate(runs):
        pairs = [(use.at_s, use.used.vector()[resource], use.capacity.vector()[resource]) for use in run.uses]
        known = [(at_s, 100 * float(used / there)) for at_s, used, there in pairs if there > 0]
        if known:
            known.append((run.ended_s, known[-1][1]))
            line = {"shape": "hv", "color": _color(number)}
            data.append(_line(run.policy, known, number) | {"line": line})
    return _figure(data, "time, s", "granted, %")


def _heat(run: RunOutcome, resource: int) -> Figure:
    """Return what is granted of each node in equal stretches of time, from the workers' intervals and bundles."""
    nodes = [node for node in run.nodes if node.capacity.vector()[resource] > 0][:MOST_NODES]
    if not nodes or not run.intervals or run.ended_s <= 0:
        return _figure([], "", "")
    rows = {node.id: number for number, node in enumerate(nodes)}
    asks = {job.id: float(job.bundle.vector()[resource]) for job in run.jobs}
    edges = np.linspace(0, run.ended_s, BINS + 1)
    used = np.zeros((len(nodes), BINS))
    for one in run.intervals:
        if one.worker >= 0 and one.node in rows and one.activity is not Activity.DEAD:
            first, last = np.searchsorted(edges, [one.from_s, one.to_s])
            part = slice(max(int(first) - 1, 0), int(last))
            overlap_s = np.minimum(edges[1:][part], one.to_s) - np.maximum(edges[:-1][part], one.from_s)
            used[rows[one.node], part] += asks.get(one.job, 0.0) * np.maximum(overlap_s, 0)
    there = np.array([node.capacity.vector()[resource] for node in nodes])[:, None]
    bar = {"title": {"text": "%"}, "thickness": 12}
    heat = {"type": "heatmap", "colorscale": "Viridis", "zmin": 0, "zmax": 100, "colorbar": bar, "hoverongaps": False}
    heat |= {
        "x": ((edges[:-1] + edges[1:]) / 2).tolist(),
        "y": [escape(node.id) for node in nodes],
        "z": (100 * used / there / np.diff(edges)).round(2).tolist(),
    }
    figure = _figure([heat], "time, s", "", height=160 + 20 * len(nodes))
    figure["layout"]["yaxis"] |= {"type": "category", "autorange": "reversed"}
    left = len(run.nodes) - len(nodes)
    return figure | {"note": f"{left} nodes have none of it, or are left out." if left else ""}


def _finite(loss: float | None) -> bool:
    """Say whether a loss can be drawn: JSON knows no NaN, as of a job that diverged."""
    return loss is not None and math.isfinite(loss)


def _loss(runs: list[RunOutcome], *, over_time: bool) -> Figure:
    data: list[Figure] = []
    for number, run in enumerate(runs):
        for job in [job for job in run.jobs if any(_finite(done.loss) for done in job.rounds)][:5]:
            points = [
                (done.ended_s if over_time else at, done.loss)
                for at, done in enumerate(job.rounds, 1)
                if done.loss is not None and _finite(done.loss)
            ]
            # One entry of the legend for each policy; hovering tells the jobs apart.
            first = not data or data[-1]["legendgroup"] != str(number)
            where = f"{escape(run.policy)}: {escape(job.id)}<br>%{{y:.6g}}<extra></extra>"
            group = {"legendgroup": str(number), "showlegend": first, "hovertemplate": where}
            data.append(_line(run.policy, points, number) | group)
    return _figure(data, "time, s" if over_time else "round", "loss") | {"note": "At most five jobs of each policy."}
