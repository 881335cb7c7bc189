"""A line search in rounds: a step that did not lower the loss is taken back and repeated, shorter."""

from __future__ import annotations

import numpy as np

from workers.solvers.base import State, norm


def taken_back(state: State, loss: float) -> State:
    """Return the state with a shorter step, after the last one led to ``loss``; solved where none can help.

    The memory has the ``anchor`` where the step began, with its ``loss``; the ``direction``, the ``slope`` of the loss
    along it, the ``length`` of the step and the number of ``tries``.
    """
    memory, anchor = state.memory, state.memory["anchor"]
    before, slope, last = (float(memory[name]) for name in ("loss", "slope", "length"))
    length, tries = shorter(last, slope, loss - before), int(memory["tries"]) + 1
    parameters = anchor + length * memory["direction"]
    if is_hopeless(tries, slope, before) or norm(parameters - anchor) <= 1e-15 * norm(anchor):
        return State(anchor, state.round + 1, memory=memory, solved="no step lowers the loss any more")
    tried = {"length": np.array(length), "tries": np.array(tries)}
    return State(parameters, state.round + 1, memory={**memory, **tried})


def shorter(length: float, slope: float, rise: float) -> float:
    """Return a shorter step than ``length``, after which the loss changed by ``rise`` where ``slope`` led downwards.

    It is the minimum of the parabola through what is known, from a tenth to half of the length.
    Source: Nocedal, Wright, Numerical Optimization (2006), section 3.5.
    """
    excess = rise - length * slope
    fitted = -slope * length * length / (2.0 * excess) if np.isfinite(excess) and excess > 0 else 0.0
    return min(max(fitted, 0.1 * length), 0.5 * length)


def is_hopeless(tries: int, slope: float, loss: float) -> bool:
    """Say whether so many steps that did not lower the loss failed by rounding: that of float32 rows at worst."""
    return tries >= 5 and -slope <= 1e-6 * abs(loss)
