"""A job's learning as a sequence of stages: prepare, train, find the optimum to compare with, evaluate.

``Training`` is a pure state machine: it says what the next round needs (``stage``, ``payload``), takes the exact
sums of the round (``advance``), and in the end holds the ``outcome``. It knows no workers, no shards' owners
and no clock, so it is the same object on Ray and in a plain loop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from workers.exact_sum import Floats
from workers.problem import Problem
from workers.solvers import SOLVERS
from workers.solvers.base import Payload, Solver, State
from workers.solvers.evaluation import Evaluation
from workers.solvers.preparation import Curvature, Moments
from workers.update import STAGES

PATIENCE = 3
"""Measurements in a row that must change less than the tolerance: one alone may be luck."""

WIDEST_OPTIMUM = 1000
"""Columns up to which the exact optimum is computed beside another solver's result (its Gram sums: 4 MB)."""


WORST_GROWTH = 1e4
"""A loss this many times the first one is not coming back."""


class DivergedError(ArithmeticError):
    """The loss or the parameters overflowed; the message names the round and suggests a smaller rate."""


@dataclass(frozen=True)
class Stopping:
    """When training ends: after ``max_rounds``, or when the loss changes by less than ``tolerance`` of itself."""

    max_rounds: int
    tolerance: float


@dataclass(frozen=True)
class RoundReport:
    """What a finished round tells: its stage, its number in that stage, and the loss that it measured."""

    stage: str
    round: int
    loss: float | None


@dataclass(frozen=True)
class Outcome:
    """What was learnt.

    Attributes
    ----------
    weights, intercepts
        On raw columns, shapes ``(features, outputs)`` and ``(outputs,)``.
    metric, optimum
        Means over (training rows, test rows); ``optimum`` is that of the exact solution where there is one.
    converged, reason
        Whether training stopped by itself, and why it stopped.
    """

    weights: Floats
    intercepts: Floats
    rounds: int
    loss: float | None
    learning_rate: float | None
    metric: tuple[float, float]
    optimum: tuple[float, float] | None
    converged: bool
    reason: str


class Training:
    """Runs a problem through its stages, one ``advance`` a round.

    Attributes
    ----------
    problem
        Replaced by a new one between stages, when something was learnt of the data.
    state
        Of the present stage.
    outcome
        None until the last stage has ended.
    """

    def __init__(self, problem: Problem, solver: str, stopping: Stopping, standardise: bool) -> None:
        self.problem = problem
        self.stopping = stopping
        self.solver: Solver = SOLVERS[solver]
        self.outcome: Outcome | None = None
        self.fused: State | None = None
        self._reason = ""
        self._first_loss: float | None = None
        self._last_loss: float | None = None
        self._steady = 0
        self._stages = self._plan(standardise)
        self._enter(self._stages.pop(0))

    def _plan(self, standardise: bool) -> list[str]:
        stages = [Moments.name] if standardise else []
        if self.solver.name != "exact" and self.problem.options.learning_rate is None:
            stages.append(Curvature.name)
        stages.append(self.solver.name)
        exact = SOLVERS["exact"]
        narrow = self.problem.num_parameters <= WIDEST_OPTIMUM
        if self.solver is not exact and narrow and exact.refuse(self.problem) is None:
            stages.append(exact.name)
        return [*stages, Evaluation.name]

    def _enter(self, stage: str) -> None:
        self.stage = stage
        self.state = STAGES[stage].start(self.problem)

    def payload(self) -> Payload:
        """Return what workers must know in the next round."""
        return STAGES[self.stage].broadcast(self.problem, self.state)

    def advance(self, sums: Floats) -> RoundReport:
        """Take the exact sums of a round and move on.

        Raises
        ------
        DivergedError
            If the sums, the loss or the parameters are not finite any more.
        """
        report_stage = self.stage
        if not np.isfinite(sums).all():
            raise self.diverged("the sums over all shards are not finite")
        with np.errstate(all="ignore"):  # judged just below
            state = STAGES[self.stage].combine(self.problem, self.state, sums)
        loss = state.loss
        if not np.isfinite(state.parameters).all() or (loss is not None and not np.isfinite(loss)):
            raise self.diverged("the parameters are not finite")
        if loss is not None and self.stage == self.solver.name:
            self._first_loss = loss if self._first_loss is None else self._first_loss
            if abs(loss) > WORST_GROWTH * abs(self._first_loss) > 0:
                raise self.diverged(f"the loss has grown from {self._first_loss:.4g} to {loss:.4g}")
        self.state = state
        report = RoundReport(report_stage, self.state.round, loss)
        if self._stage_is_over():
            self._leave()
        return report

    def diverged(self, what: str) -> DivergedError:
        """Return the error for a round whose values are not finite."""
        rate = self.problem.options.learning_rate
        hint = "look for extreme values in the data"
        if rate is not None and self.stage == self.solver.name:
            hint = f"the learning rate {rate:g} is too large: try 'learning_rate: {rate / 10:.2g}'"
        return DivergedError(f"{self.stage}, round {self.state.round + 1}: {what}; {hint}")

    def _stage_is_over(self) -> bool:
        if self.stage != self.solver.name:
            return self.state.solved
        if self.state.solved:
            self._reason = "solved exactly"
        elif self._is_steady():
            self._reason = f"the loss changed by less than {self.stopping.tolerance:g} of itself, {PATIENCE} times"
        return bool(self._reason) or self.state.round >= self.stopping.max_rounds

    def _is_steady(self) -> bool:
        loss, last = self.state.loss, self._last_loss
        if loss is None:
            return False
        self._last_loss = loss
        quiet = last is not None and abs(last - loss) <= self.stopping.tolerance * abs(last)
        self._steady = self._steady + 1 if quiet else 0
        return self._steady >= PATIENCE and self.stopping.tolerance > 0

    def _leave(self) -> None:
        """Put to use what the stage found, and enter the next one."""
        stage = STAGES[self.stage]
        if self.stage == self.solver.name:
            self.fused = self.state
            self._add_candidate("fused")
        elif isinstance(stage, Moments):
            self.problem = stage.apply(self.problem, self.state)
        elif isinstance(stage, Curvature):
            self.problem = stage.apply(self.problem, self.state, self.solver.batch_noise)
        elif isinstance(stage, Evaluation):
            self.outcome = self._conclude()
            return
        else:
            self._add_candidate("optimum")
        self._enter(self._stages.pop(0))

    def _add_candidate(self, name: str) -> None:
        self.problem = replace(self.problem, candidates={**self.problem.candidates, name: self.state.parameters})

    def _conclude(self) -> Outcome:
        if self.fused is None:
            raise AssertionError("evaluation comes after training")
        weights, intercepts = self.problem.in_raw_units(self.fused.parameters)
        metrics = {name: (float(pair[0]), float(pair[1])) for name, pair in self.state.memory.items()}
        exact = self.solver.name == "exact"
        return Outcome(
            weights=weights,
            intercepts=intercepts,
            rounds=self.fused.round,
            loss=self._last_loss if self._last_loss is not None else self.fused.loss,
            learning_rate=self.problem.options.learning_rate,
            metric=metrics["fused"],
            optimum=metrics["fused"] if exact else metrics.get("optimum"),
            converged=bool(self._reason),
            reason=self._reason or f"the limit of {self.stopping.max_rounds} rounds was reached",
        )
