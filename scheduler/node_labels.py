"""What a node's labels say of it: its kind, its price, its bandwidth and its latency.

Labels are set where a node is started: ``labels`` of a node type in ``cluster.yaml``, ``ray start --labels``. Some are
Ray's own (``ray.io/...``); ours are hints, and a node without them is of no kind, free of charge and at no distance.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

KIND = "apportion.dev/kind"
PRICE_PER_HOUR = "apportion.dev/price-per-hour"
MBIT_PER_S = "apportion.dev/mbit-per-s"
LATENCY_MS = "apportion.dev/latency-ms"
SPEED = "apportion.dev/speed"

LEAST = {PRICE_PER_HOUR: 0.0, MBIT_PER_S: 0.001, LATENCY_MS: 0.0, SPEED: 0.001}
"""The hints that are numbers, and the least that each may be."""

KINDS = (KIND, "ray.io/node-group", "ray.io/accelerator-type")
"""Where a node's kind is looked for: our hint, the node type as KubeRay or the autoscaler calls it, the accelerator."""


def kind(labels: Mapping[str, str]) -> str:
    """Return the node's kind, empty if no label tells it: jobs know their speed by kind."""
    return next((labels[label] for label in KINDS if labels.get(label)), "")


def price_per_hour(node: str, labels: Mapping[str, str]) -> float:
    """Return the price of the whole node, in any currency, 0 if no label tells it."""
    return _number(node, labels, PRICE_PER_HOUR)


def s_per_byte(node: str, labels: Mapping[str, str]) -> float:
    """Return the seconds to bring a byte to the node, 0 if no label tells the bandwidth."""
    found = mbit_per_s(node, labels)
    return 8.0 / (1e6 * found) if found else 0.0


def mbit_per_s(node: str, labels: Mapping[str, str]) -> float:
    """Return the node's bandwidth in megabits per second, 0 if no label tells it."""
    return _number(node, labels, MBIT_PER_S)


def latency_s(node: str, labels: Mapping[str, str]) -> float:
    """Return the seconds that a message is on its way to or from the node, whatever its size; 0 if no label does."""
    return _number(node, labels, LATENCY_MS) / 1e3


def speed(node: str, labels: Mapping[str, str]) -> float:
    """Return how fast the node is in relation to one of speed 1, 1 if no label tells it; the simulator's hint."""
    return _number(node, labels, SPEED) or 1.0


def columns(labels: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return label -> its value on each node, empty where a node has none."""
    names = sorted({name for one in labels for name in one})
    return {name: [one.get(name, "") for one in labels] for name in names}


def number(text: str, least: float) -> float | None:
    """Return a hint's number, None if it is no finite number of at least ``least``."""
    try:
        found = float(text)
    except ValueError:
        return None
    return found if least <= found < math.inf else None


def _number(node: str, labels: Mapping[str, str], label: str) -> float:
    """Return a label's number, or 0 with a warning if it is none.

    It is no error: the label cannot be mended while the node is up, and would keep off all jobs that do not mind it.
    """
    text = labels.get(label)
    if text is None:
        return 0.0
    found = number(text, LEAST[label])
    if found is None:
        warnings.warn(
            f"node {node}: label {label} must be a finite number of at least {LEAST[label]:g}, but got {text!r}; "
            "it is ignored",
            stacklevel=2,
        )
    return found or 0.0
