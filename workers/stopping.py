"""When training ends, and why: pure, round by round."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from workers.data.rows import Floats
from workers.solvers.base import State

STEADY_ROUNDS = 3
"""Measurements in a row that must change less than the tolerance: one alone may be luck."""


@dataclass(frozen=True)
class Stopping:
    """When training ends; 0 or None never ends it.

    Attributes
    ----------
    max_rounds
        At most this many rounds.
    tolerance
        When the loss changed by less than this part of itself, three times in a row.
    gradient_norm
        When the gradient of the objective is at most this long.
    patience
        When the loss on the validation rows has not fallen for this many rounds; the best parameters are kept.
    target
        When the metric on the validation rows is as good as this.
    time_s
        When this much time has passed: whoever drives the rounds has the clock, and says so (``Training.stop``).
    """

    max_rounds: int
    tolerance: float = 0.0
    gradient_norm: float = 0.0
    patience: int = 0
    target: float | None = None
    time_s: float | None = None

    @property
    def needs_validation(self) -> bool:
        """Whether rounds must measure the validation rows."""
        return self.patience > 0 or self.target is not None


@dataclass(frozen=True)
class Validation:
    """What a round measured on the validation rows, at the parameters that it began with.

    ``train_loss`` is the objective there, None if the round did not measure it.
    """

    parameters: Floats
    train_loss: float | None
    loss: float
    metric: float


@dataclass(frozen=True)
class Watched:
    """What watching the rounds has shown so far; ``best`` is the validation with the least loss."""

    best: Validation | None = None
    last_loss: float | None = None
    steady: int = 0
    without_gain: int = 0


class Progress:
    """Watches the rounds of a solver, and says why to stop.

    Attributes
    ----------
    watched
        All that it knows: another one that is given it goes on from there.
    """

    def __init__(self, stopping: Stopping, higher_is_better: bool) -> None:
        self.stopping = stopping
        self.watched = Watched()
        self._higher_is_better = higher_is_better

    @property
    def best(self) -> Validation | None:
        """The validation with the least loss so far."""
        return self.watched.best

    def reason(self, state: State, validation: Validation | None) -> str:
        """Take a round, and return why training is over; empty if it is not."""
        stopping = self.stopping
        # A round without a loss took a step back, or local steps from parameters that were judged already.
        verdict = "" if validation is None or state.loss is None else self._judged(validation)
        if state.solved:
            if validation is not None and self.best is validation:  # what is solved differs by less than rounding
                self._watch(best=replace(validation, parameters=state.parameters))
            return state.solved
        if stopping.gradient_norm and state.gradient_norm is not None and state.gradient_norm <= stopping.gradient_norm:
            return f"the gradient's norm is {state.gradient_norm:.3g}, at most {stopping.gradient_norm:g}"
        if self._is_steady(state.loss):
            return f"the loss changed by less than {stopping.tolerance:g} of itself, {STEADY_ROUNDS} times"
        return verdict

    def _watch(self, **news: Any) -> None:
        self.watched = replace(self.watched, **news)

    def _is_steady(self, loss: float | None) -> bool:
        if loss is None:
            return False
        last = self.watched.last_loss
        quiet = last is not None and abs(last - loss) <= self.stopping.tolerance * abs(last)
        self._watch(last_loss=loss, steady=self.watched.steady + 1 if quiet else 0)
        return self.watched.steady >= STEADY_ROUNDS and self.stopping.tolerance > 0

    def _judged(self, validation: Validation) -> str:
        stopping, target = self.stopping, self.stopping.target
        if self.best is None or validation.loss < self.best.loss:
            self._watch(best=validation, without_gain=0)
        else:
            self._watch(without_gain=self.watched.without_gain + 1)
        if target is not None and (validation.metric - target) * (1 if self._higher_is_better else -1) >= 0:
            self._watch(best=validation)
            return f"the metric on the validation rows is {validation.metric:.6g}, the target was {target:g}"
        if stopping.patience and self.watched.without_gain >= stopping.patience:
            return f"the loss on the validation rows has not fallen for {stopping.patience} rounds"
        return ""
