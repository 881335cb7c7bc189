"""What all plots of a report are made of, as plain values that plotly.js draws. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

Figure = dict[str, Any]
"""Panels side by side, each with data and layout, and a note below."""

COLORS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#b279a2", "#72b7b2", "#eeca3b", "#9d755d")
DASHES = ("solid", "dash", "dot")
GREY = "#9aa1a9"


def figure(panels: Sequence[Figure], note: str = "") -> Figure:
    """Return those of the panels that have data, with a note."""
    return {"panels": [one for one in panels if one["data"]], "note": note}


def panel(data: Sequence[Figure], titles: tuple[str, str], title: str = "", **layout: Any) -> Figure:
    """Return a plot; ``titles`` are those of its axes, ``title`` stands above it."""
    x, y = ({"title": {"text": text}} if text else {} for text in titles)
    axes = {"xaxis": x, "yaxis": y | {"automargin": True, "rangemode": "tozero"}}
    return {"title": title, "data": list(data), "layout": {"showlegend": False} | axes | layout}


def line(name: str, points: Iterable[tuple[float, float]], number: int, shape: str = "linear") -> Figure:
    """Return a line in the colour and dash of a policy's number."""
    x, y = zip(*points, strict=True)
    style = {"color": COLORS[number % len(COLORS)], "dash": DASHES[number // len(COLORS) % len(DASHES)], "shape": shape}
    return {"type": "scatter", "mode": "lines", "name": escape(name), "line": style, "x": brief(x), "y": brief(y)}


def brief(values: Iterable[float]) -> list[float | None]:
    """Return numbers with six digits, which is more than a plot shows; None for what is not finite."""
    return [_brief(float(value)) for value in values]


def _brief(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() else short
