"""The plots of a report, as plain values that plotly.js draws. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from policies.interface import Floats
from scheduler.report.html.drawing import GREY, Figure, brief, figure, line, panel
from scheduler.report.html.timeline import timeline
from scheduler.results.comparison import Comparison
from scheduler.results.outcome import Activity, NodeOutcome, RoundOutcome, RunOutcome
from scheduler.results.statistics import main_measure, ranking, ratio

Figures = dict[str, Figure]
"""By what is chosen in a select; one entry needs none."""

MOST_NODES = 100
MOST_POINTS = 300
MOST_LOSSES = 5
BINS = 120
LEAST_SPAN = 0.05
"""Of the axis of ratios on both sides of 1, so that what is next to nothing looks like it."""

RESOURCES = ("CPU", "GPU", "memory")


def all_figures(comparison: Comparison) -> dict[str, tuple[str, Figures]]:
    """Return the plots that have data, by the id of their place: a heading, and the choices."""
    first = [runs[0] for policy in comparison.policies if (runs := comparison.of(policy))]
    seed = f", seed {first[0].seed}" if first else ""
    found = {
        "ratios": ("Against the first policy", {"": _ratios(comparison)}),
        "jct": ("Job completion times", {"": _jct(comparison)}),
        "timeline": (f"Timeline of the workers{seed}", {run.policy: timeline(run) for run in first}),
        "utilisation": (
            f"Utilisation over time{seed}",
            {name: _utilisation(first, number) for number, name in enumerate(RESOURCES)},
        ),
        "heat": (
            f"Use of each node{seed}",
            {name: _heats(first, number) for number, name in enumerate(RESOURCES)},
        ),
        "loss-time": (f"Loss over time{seed}", {"": _loss(first, over_time=True)}),
        "loss-round": (f"Loss over rounds{seed}", {"": _loss(first, over_time=False)}),
    }
    drawn = {
        place: (title, {choice: figure for choice, figure in choices.items() if figure["panels"]})
        for place, (title, choices) in found.items()
    }
    return {place: (title, choices) for place, (title, choices) in drawn.items() if choices}


def _ratios(comparison: Comparison) -> Figure:
    """Return each policy's main measure over the first policy's, with its 95 % interval; the best at the top."""
    measure = main_measure(comparison)
    yardstick, ranked = comparison.policies[0] if comparison.policies else "", ranking(comparison, measure)
    found = {policy: ratio(comparison, yardstick, policy, measure) for policy in ranked if policy != yardstick}
    known = {policy: times for policy, times in found.items() if not math.isnan(times.mean)}
    if not known:
        return figure([])
    means = [times.mean for times in known.values()]
    errors: Figure = {
        "type": "data",
        "symmetric": False,
        "array": brief(times.high - times.mean for times in known.values()),
        "arrayminus": brief(times.mean - times.low for times in known.values()),
    }
    dots: Figure = {"type": "scatter", "mode": "markers", "marker": {"size": 9}, "error_x": errors, "hoverinfo": "x"}
    dots |= {"x": brief(means), "y": [escape(policy) for policy in known]}
    one = {"type": "line", "x0": 1, "x1": 1, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": GREY, "dash": "dot"}}
    drawn = panel(
        [dots], (f"{measure} over that of {escape(yardstick)}", ""), shapes=[one], height=90 + 26 * len(known)
    )
    ends = [end for times in known.values() for end in (times.mean, times.low, times.high) if not math.isnan(end)]
    low, high = min(*ends, 1 - LEAST_SPAN), max(*ends, 1 + LEAST_SPAN)
    drawn["layout"]["xaxis"] |= {"range": brief([low - 0.05 * (high - low), high + 0.05 * (high - low)])}
    drawn["layout"]["yaxis"] |= {"type": "category", "autorange": "reversed", "dtick": 1}
    alone = all(math.isnan(times.low) for times in known.values())
    return figure([drawn], "" if alone else "Geometric means over seeds with their 95 % intervals; left of 1 is less.")


def _jct(comparison: Comparison) -> Figure:
    """Return the share of jobs that completed within a time (ECDF), over all seeds."""
    data = []
    for number, policy in enumerate(comparison.policies):
        jcts = np.sort([job.jct_s for run in comparison.of(policy) for job in run.jobs])
        jcts = jcts[~np.isnan(jcts)]
        if len(jcts):
            # Quantiles, so that the file stays small whatever the number of jobs.
            parts = np.linspace(0, 1, min(len(jcts), MOST_POINTS) + 1)[1:]
            times = jcts[np.ceil(parts * len(jcts)).astype(int) - 1]
            data.append(line(policy, zip(times.tolist(), (100 * parts).tolist(), strict=True), number, "hv"))
    return figure([panel(data, ("completion time, s", "jobs completed, %"), showlegend=len(data) > 1)])


def _utilisation(runs: Sequence[RunOutcome], resource: int) -> Figure:
    """Return a panel for each policy, on the same axes; that of the first policy is in the others, in grey."""
    known = {run.policy: points for run in runs if (points := _used(run, resource))}
    last_s = max((points[-1][0] for points in known.values()), default=0.0)
    yardstick = runs[0].policy if runs and runs[0].policy in known else ""
    panels = []
    for number, run in enumerate(runs):
        if run.policy not in known:
            continue
        data = [line(run.policy, known[run.policy], number, "hv")]
        if run.policy != yardstick and yardstick:
            behind = line(yardstick, known[yardstick], 0, "hv")
            data.insert(0, behind | {"line": behind["line"] | {"color": GREY, "width": 1}, "hoverinfo": "skip"})
        drawn = panel(data, ("time, s", "granted, %"), run.policy, height=200)
        drawn["layout"]["xaxis"] |= {"range": brief([0, last_s])}
        drawn["layout"]["yaxis"] |= {"range": [0, 103]}
        panels.append(drawn)
    return figure(panels, f"In grey: {yardstick}." if yardstick and len(panels) > 1 else "")


def _used(run: RunOutcome, resource: int) -> list[tuple[float, float]]:
    """Return the percentage in use over time; where it changes too often to be seen, means of equal stretches."""
    at_s = np.array([use.at_s for use in run.uses])
    used = np.array([use.used.vector()[resource] for use in run.uses])
    there = np.array([use.capacity.vector()[resource] for use in run.uses])
    if not len(at_s) or not (there > 0).any() or not math.isfinite(run.ended_s):
        return []
    if len(at_s) > MOST_POINTS:
        edges = np.linspace(at_s[0], max(run.ended_s, at_s[-1]), MOST_POINTS + 1)
        used, there = (np.diff(_integral(at_s, values, edges)) for values in (used, there))
        at_s = edges[:-1]
    known = there > 0
    points = list(zip(at_s[known].tolist(), (100 * used[known] / there[known]).tolist(), strict=True))
    return [*points, (max(run.ended_s, points[-1][0]), points[-1][1])]


def _integral(at_s: Floats, values: Floats, edges: Floats) -> Floats:
    """Return the integral of a step function until each of the edges."""
    until = np.concatenate([[0.0], np.cumsum(values[:-1] * np.diff(at_s))])
    step = np.searchsorted(at_s, edges, side="right") - 1
    return np.asarray(until[step] + values[step] * (edges - at_s[step]))


def _heats(runs: Sequence[RunOutcome], resource: int) -> Figure:
    """Return a panel for each policy: what was granted of each node over time."""
    last_s = max((run.ended_s for run in runs if math.isfinite(run.ended_s)), default=0.0)
    panels, left = [], 0
    for run in runs:
        having = [node for node in run.nodes if node.capacity.vector()[resource] > 0]
        left = max(left, len(having) - MOST_NODES)
        if having and run.intervals and math.isfinite(run.ended_s) and run.ended_s > 0:
            panels.append(_heat(run, having[:MOST_NODES], resource, last_s))
    return figure(panels, f"{left} more nodes have it and are left out." if left > 0 else "")


def _heat(run: RunOutcome, nodes: Sequence[NodeOutcome], resource: int, last_s: float) -> Figure:
    """Return what is granted of each node in equal stretches of time, from the workers' intervals and bundles."""
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
    bar = {"title": {"text": "%"}, "thickness": 10}
    heat = {"type": "heatmap", "colorscale": "Viridis", "zmin": 0, "zmax": 100, "colorbar": bar}
    heat |= {
        "x": brief((edges[:-1] + edges[1:]) / 2),
        "y": [escape(node.id) for node in nodes],
        "z": (100 * used / there / np.diff(edges)).round().astype(int).tolist(),
    }
    drawn = panel([heat], ("time, s", ""), run.policy, height=80 + max(14 * len(nodes), 60))
    drawn["layout"]["xaxis"] |= {"range": brief([0, last_s])}
    drawn["layout"]["yaxis"] |= {"type": "category", "autorange": "reversed"}
    return drawn


def _loss(runs: Sequence[RunOutcome], *, over_time: bool) -> Figure:
    data: list[Figure] = []
    many = False
    for number, run in enumerate(runs):
        jobs = [(job, losses) for job in run.jobs if (losses := _losses(job.rounds, over_time))]
        many = many or len(jobs) > MOST_LOSSES
        for job, losses in jobs[:MOST_LOSSES]:
            # One entry of the legend for each policy; hovering tells the jobs apart.
            first = not data or data[-1]["legendgroup"] != str(number)
            where = f"{escape(run.policy)}: {escape(job.id)}<br>%{{y:.6g}}<extra></extra>"
            group = {"legendgroup": str(number), "showlegend": first, "hovertemplate": where}
            data.append(line(run.policy, losses, number) | group)
    drawn = panel(data, ("time, s" if over_time else "round", "loss"), showlegend=len(runs) > 1)
    return figure([drawn], f"The first {MOST_LOSSES} jobs of each policy." if many else "")


def _losses(rounds: Sequence[RoundOutcome], over_time: bool) -> list[tuple[float, float]]:
    """Return the losses that are finite (JSON knows no others), thinned evenly, the last kept."""
    points = [
        (done.ended_s if over_time else float(at), done.loss)
        for at, done in enumerate(rounds, 1)
        if done.loss is not None and math.isfinite(done.loss)
    ]
    step = -(-len(points) // MOST_POINTS)
    return [*points[: -1 : max(step, 1)], *points[-1:]]
