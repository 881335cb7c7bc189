"""The options of policies, checked."""

from __future__ import annotations

import math
from typing import Any

from policies.interface import PolicyError


def number(
    name: str, value: Any, *, over: float | None = None, at_least: float | None = None, at_most: float = math.inf
) -> float:
    """Return ``value`` as a float if it is a finite number within its bounds.

    Raises
    ------
    PolicyError
        If it is not; the message names the bound and what was got.
    """
    found = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    low = found and (over is None or value > over) and (at_least is None or value >= at_least)
    if not (low and value <= at_most):
        bounds = [f"greater than {over:g}"] if over is not None else []
        bounds += [f"at least {at_least:g}"] if at_least is not None else []
        bounds += [f"at most {at_most:g}"] if at_most < math.inf else []
        raise PolicyError(f"{name} must be {' and '.join(bounds) or 'a finite number'}, but got {name}={value!r}")
    return float(value)


def whole(name: str, value: Any, at_least: int) -> int:
    """Return ``value`` if it is a whole number of at least ``at_least``.

    Raises
    ------
    PolicyError
        If it is not; the message names the bound and what was got.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise PolicyError(f"{name} must be a whole number of at least {at_least}, but got {name}={value!r}")
    return value
