"""Limited-memory BFGS from summed gradients."""

from __future__ import annotations

import numpy as np

from workers.data.rows import Floats
from workers.problem import Problem
from workers.solvers.base import Payload, State, norm
from workers.solvers.gradient_descent import GradientDescent
from workers.solvers.line_search import taken_back

MEMORY = 10
"""Pairs of steps and gradient changes that are kept."""

ARMIJO = 1e-4
NOISE = 1e-14


class Lbfgs(GradientDescent):
    """Each round measures loss and gradient at one trial point; the server makes quasi-Newton steps of them.

    A trial that does not lower the loss enough (Armijo's rule) is taken back and repeated closer to where it
    started, at the minimum of the parabola through what is known. Everything but the gradient is the server's.
    """

    name = "lbfgs"
    source = "Liu, Nocedal, On the limited memory BFGS method for large scale optimization (1989)"
    needs_rate = False
    takes_lasso = False
    takes_corners = False
    takes_server = False
    takes_robust = False
    takes_parts = False

    def combine(self, problem: Problem, state: State, sums: Floats) -> State:
        """Accept the trial point and step on from there, or come closer to the last accepted one."""
        loss, gradient = problem.mean(state.parameters, sums)
        memory = dict(state.memory)
        if "anchor" in memory:
            before, slope, length = (float(memory[name]) for name in ("loss", "slope", "length"))
            if not loss <= before + ARMIJO * length * slope + NOISE * abs(before):
                return taken_back(state, loss)
            _remember(memory, state.parameters - memory["anchor"], gradient - memory["gradient"])
        direction = -_inverse_hessian_times(memory, gradient)
        slope = float((direction * gradient).sum())
        if not slope < 0:  # rounding: forget the past, and go straight down
            memory = {}
            direction, slope = -gradient, -float((gradient * gradient).sum())
        size = norm(gradient)
        if -slope <= NOISE * abs(loss) or size == 0.0:
            return State(state.parameters, state.round + 1, loss, size, memory, "the gradient is below rounding")
        length = 1.0
        if "steps" not in memory:  # straight down: so far at first, then twice as far while the slope is the same
            length = 2.0 * float(memory["length"]) if "length" in memory else min(1.0, 1.0 / size)
        kept: dict[str, Floats] = {"anchor": state.parameters, "gradient": gradient, "direction": direction}
        numbers = {"loss": loss, "slope": slope, "length": length, "tries": 0}
        kept |= {name: np.array(numbers[name]) for name in numbers}
        pairs: dict[str, Floats] = {name: memory[name] for name in ("steps", "changes") if name in memory}
        return State(state.parameters + length * direction, state.round + 1, loss, size, {**kept, **pairs})

    def result(self, problem: Problem, state: State) -> Floats:
        """Return the last accepted parameters."""
        del problem
        return state.parameters if state.solved else state.memory.get("anchor", state.parameters)


def _remember(memory: dict[str, Floats], step: Floats, change: Floats) -> None:
    """Keep the newest pairs that have positive curvature."""
    if float((step * change).sum()) <= 1e-12 * float((change * change).sum()):
        return
    for name, vector in (("steps", step), ("changes", change)):
        known = memory.get(name, np.zeros((0, len(vector))))
        memory[name] = np.vstack([known, vector])[-MEMORY:]


def _inverse_hessian_times(memory: Payload, gradient: Floats) -> Floats:
    """Return the two-loop recursion's product; Nocedal, Wright, Numerical Optimization (2006), algorithm 7.4."""
    if "steps" not in memory:
        return gradient
    pairs = list(zip(memory["steps"], memory["changes"], strict=True))
    vector, factors = gradient.copy(), []
    for step, change in reversed(pairs):
        factor = float((step * vector).sum() / (step * change).sum())
        factors.append(factor)
        vector -= factor * change
    step, change = pairs[-1]
    vector *= float((step * change).sum() / (change * change).sum())
    for (step, change), factor in zip(pairs, reversed(factors), strict=True):
        vector += step * (factor - float((change * vector).sum() / (step * change).sum()))
    return vector
