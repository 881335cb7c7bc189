"""A controller on how long workers were busy."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from policies.balance.division import fits, totals, within_memory
from policies.balance.filling import SLOWEST
from policies.balance.measuring import measured, memory, remembered
from policies.balance.moving import holders, near
from policies.balance.speculation import PATIENCE
from policies.balance.speed_proportional import relative_speeds
from policies.interface import Assignment, Balance, Floats, RoundView, Unplaced
from policies.options import number

STRONGEST = 10.0
"""A worker's work grows or shrinks by at most this factor in a round."""


class Pid(Balance):
    """Correct each worker's work by how far its busy time was from the mean of all (a PID controller).

    Use it when times are noisy and nothing is known of speeds: it needs no model of them, and inside the dead band
    nothing moves. A worker's error is ``mean / busy - 1``; its work is multiplied by one plus the sum of error,
    its sum over the rounds and its change, each times its gain. The defaults are a proportional controller: with
    constant speeds it is in the dead band after one round. Gains of the error below 1 take smaller steps and let
    noise average out. The first division is that of ``lpt``.

    The paper smooths the times over several rounds and lets each worker's batch stay inside its own dead band; here
    it is one band for all, since work that one gives up another must take.

    Parameters
    ----------
    proportional, integral, derivative
        Gains of the error, its sum and its change, at least 0.
    dead_band
        By which part some worker's work must be too much before anything moves, at least 0: 0.05 for 5 %.
    patience
        As in ``adaptive``.

    Raises
    ------
    PolicyError
        If an option is out of bounds.

    Cost: that of ``min-cost-move``.

    Source: the closed loop of Tyagi and Sharma, "Taming resource heterogeneity in distributed ML training with dynamic
    batching", ACSOS 2020.
    """

    name: ClassVar[str] = "pid"
    source: ClassVar[str] = "Tyagi & Sharma, ACSOS 2020 (closed loop)"
    promises: ClassVar[frozenset[str]] = frozenset({"monotone", "no-better-move", "stays-put"})
    redivides: ClassVar[bool] = True

    def __init__(
        self,
        proportional: float = 1.0,
        integral: float = 0.0,
        derivative: float = 0.0,
        dead_band: float = 0.05,
        patience: float = PATIENCE,
    ) -> None:
        self.proportional = number("proportional", proportional, at_least=0.0)
        self.integral = number("integral", integral, at_least=0.0)
        self.derivative = number("derivative", derivative, at_least=0.0)
        self.dead_band = number("dead_band", dead_band, at_least=0.0)
        self.patience = number("patience", patience, at_least=1.0)

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard once, by what the controller says; within memory (bytes)."""
        seconds, last = measured(view), holders(view)
        if np.isnan(seconds).all() or not fits(view, last):
            return self._toward(view, relative_speeds(view.workers.s_per_work))
        busy = ~np.isnan(seconds)
        error = np.where(busy, view.last_s[busy].mean() / np.where(busy, view.last_s, 1.0) - 1.0, 0.0)
        total, before = np.nan_to_num(remembered(view, "total")) + error, remembered(view, "error")
        change = np.where(np.isnan(before), 0.0, error - before)
        correction = self.proportional * error + self.integral * total + self.derivative * change
        had = totals(last, view.shards.work, len(error))
        answer = self._toward(view, had * np.clip(1.0 + correction, 1.0 / STRONGEST, STRONGEST))
        if isinstance(answer, Unplaced):
            return answer
        if np.array_equal(answer.worker_of, last):  # inside the dead band nothing adds up
            total = np.zeros(len(error))
        return Assignment(answer.worker_of, memory(view, error=error, total=total))

    def _toward(self, view: RoundView, wanted: Floats) -> Assignment | Unplaced:
        """Divide so that nobody has more than its part of ``wanted`` (work, shape ``(w,)``), but for the dead band."""
        step = 1.0 / np.maximum(wanted / wanted.max(initial=SLOWEST), SLOWEST)
        return within_memory(view, near(view, np.zeros(len(step)), step, self.dead_band), wanted)
