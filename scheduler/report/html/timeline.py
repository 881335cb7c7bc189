"""The timeline: what each place on a node was doing, drawn with no more bars than can be seen. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from scheduler.report.html.drawing import Figure, brief, figure, panel
from scheduler.results.outcome import Activity, Interval, RunOutcome

MOST_LANES = 80
MOST_BARS = 4000
PIXELS = 300
"""A run is at least this many times as long as what is drawn by itself."""

TOGETHER = 4
"""What is shorter is merged with its neighbours until it is as long as so many pixels."""

HEIGHT = 0.8
COLORS: Mapping[Activity, str] = {
    Activity.WAITING: "#bab0ac",
    Activity.MOVING: "#f58518",
    Activity.STARTING: "#4c78a8",
    Activity.DEAD: "#e45756",
    Activity.BUSY: "#54a24b",
}


@dataclass(frozen=True)
class Lane:
    """A place on a node, which workers have one after the other; intervals by time."""

    node: str
    number: int
    intervals: tuple[Interval, ...]


@dataclass(frozen=True)
class Bar:
    """A stretch of a lane: one interval, or short ones that were merged.

    Attributes
    ----------
    shares
        The part of the stretch that went to each activity; they add up to 1 less what was free.
    """

    from_s: float
    to_s: float
    shares: Mapping[Activity, float]
    parts: tuple[Interval, ...]


def lanes(intervals: Iterable[Interval], nodes: Sequence[str]) -> list[Lane]:
    """Give every worker a lane of its node, and keep it there as long as it stays; the fewest lanes that do.

    A node that is dead is so in all of its lanes. Nodes in the order of ``nodes``, then those that are not among them.
    """
    by_node: dict[str, list[Interval]] = {node: [] for node in nodes}
    for one in intervals:
        by_node.setdefault(one.node, []).append(one)
    found = []
    for node, mine in by_node.items():
        dead = [one for one in mine if one.worker < 0]
        taken = _lanes([one for one in mine if one.worker >= 0])
        for number, lane in enumerate(taken or ([[]] if dead else [])):
            found.append(Lane(node, number, tuple(sorted([*lane, *dead], key=lambda one: one.from_s))))
    return found


def _lanes(intervals: list[Interval]) -> list[list[Interval]]:
    found: list[list[Interval]] = []
    last: dict[tuple[str, int], int] = {}
    for one in sorted(intervals, key=lambda one: (one.from_s, one.to_s)):
        own = last.get((one.job, one.worker))
        free = [own] if own is not None else []
        number = next((n for n in [*free, *range(len(found))] if _ends_s(found[n]) <= one.from_s + 1e-9), len(found))
        if number == len(found):
            found.append([])
        found[number].append(one)
        last[one.job, one.worker] = number
    return found


def _ends_s(lane: list[Interval]) -> float:
    return lane[-1].to_s


def merged(intervals: Sequence[Interval], pixel_s: float) -> list[Bar]:
    """Return the bars of a lane: what lasts as long as a pixel by itself, shorter ones merged with their neighbours."""
    bars: list[Bar] = []
    group: list[Interval] = []
    for one in intervals:
        long = one.to_s - one.from_s >= pixel_s
        if group and (long or one.from_s - group[-1].to_s > pixel_s or one.to_s - group[0].from_s > TOGETHER * pixel_s):
            bars.append(_bar(group))
            group = []
        if long:
            bars.append(_bar([one]))
        else:
            group.append(one)
    return [*bars, _bar(group)] if group else bars


def _bar(parts: Sequence[Interval]) -> Bar:
    from_s, to_s = parts[0].from_s, max(one.to_s for one in parts)
    shares: dict[Activity, float] = {}
    for one in parts:
        part = (one.to_s - one.from_s) / (to_s - from_s) if to_s > from_s else 1 / len(parts)
        shares[one.activity] = shares.get(one.activity, 0.0) + part
    return Bar(from_s, to_s, shares, tuple(parts))


def timeline(run: RunOutcome) -> Figure:
    """Return the timeline of a whole run; where activities were merged, the height of green is the share of busy."""
    found = lanes(run.intervals, [node.id for node in run.nodes])
    shown = found[:MOST_LANES]
    pixel_s = run.ended_s / PIXELS
    bars = [merged(lane.intervals, pixel_s) for lane in shown]
    while sum(map(len, bars)) > MOST_BARS:
        pixel_s *= 2
        bars = [merged(lane.intervals, pixel_s) for lane in shown]
    traces: dict[Activity, Figure] = {activity: _trace(activity) for activity in COLORS}
    rows = [escape(f"{lane.node} · {lane.number}") for lane in shown]
    for row, mine in zip(rows, bars, strict=True):
        for bar in mine:
            _draw(traces, row, bar)
    said = [f"the first {len(shown)} of {len(found)} places"] if len(shown) < len(found) else []
    if any(len(bar.parts) > 1 for mine in bars for bar in mine):
        said.append(
            f"what is shorter than {pixel_s:.2g} s is merged with its neighbours, the height is the share of busy"
        )
    height = 110 + 16 * len(rows)
    axis = {"type": "category", "categoryarray": rows, "range": [len(rows) - 0.5, -0.5], "dtick": 1}
    drawn = panel(
        [trace for trace in traces.values() if trace["y"]],
        ("time, s", ""),
        barmode="overlay",
        height=height,
        showlegend=True,
    )
    drawn["layout"]["yaxis"] |= axis
    drawn["layout"]["xaxis"] |= {"range": brief([0, run.ended_s])}
    return figure([drawn], f"Shown: {'; '.join(said)}." if said else "")


def _trace(activity: Activity) -> dict[str, Any]:
    more: dict[str, list[Any]] = {name: [] for name in ("x", "base", "y", "width", "hovertext")}
    marker = {"color": COLORS[activity], "line": {"width": 0}}
    return {"type": "bar", "orientation": "h", "name": activity.value, "marker": marker, "hoverinfo": "text"} | more


def _draw(traces: Mapping[Activity, Figure], row: str, bar: Bar) -> None:
    """Draw the activity that took most beside busy as high as all of them, and busy over it as high as its share."""
    busy = bar.shares.get(Activity.BUSY, 0.0)
    others = {activity: share for activity, share in bar.shares.items() if activity is not Activity.BUSY}
    layers = [(Activity.BUSY, busy)] if busy else []
    if others:
        layers.append((max(others, key=lambda activity: others[activity]), sum(bar.shares.values())))
    (length, base), text = brief([bar.to_s - bar.from_s, bar.from_s]), f"{row}<br>{_said(bar)}"
    for activity, share in layers:
        values = (length, base, row, *brief([HEIGHT * min(share, 1.0)]), text)
        for name, value in zip(("x", "base", "y", "width", "hovertext"), values, strict=True):
            traces[activity][name].append(value)


def _said(bar: Bar) -> str:
    """Return what hovering says: jobs, activities with their shares, rounds, times."""
    jobs = list(dict.fromkeys(f"{one.job} · {one.worker}" for one in bar.parts if one.worker >= 0))
    who = [jobs[0] if len(jobs) == 1 else f"{len(jobs)} workers"] if jobs else []
    if len(bar.parts) == 1:
        what = bar.parts[0].activity.value
    else:
        what = ", ".join(f"{activity.value} {100 * share:.0f} %" for activity, share in bar.shares.items())
    rounds = sorted({one.round for one in bar.parts if one.round >= 0}) if len(jobs) == 1 else []
    if rounds:
        what += f", round{'s' if len(rounds) > 1 else ''} " + " to ".join(str(one) for one in {rounds[0], rounds[-1]})
    return "<br>".join(map(escape, (*who, what, f"{bar.from_s:.5g} to {bar.to_s:.5g} s")))
