"""A job's learning as a sequence of stages: prepare, train, find the optimum to compare with, evaluate.

``Training`` is a pure state machine: it says what the next round needs (``stage``, ``payload``), takes the exact
sums of the round (``advance``), and in the end holds the ``outcome``. It knows no workers, no shards' owners
and no clock, so it is the same object on Ray and in a plain loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from workers.data.rows import Floats
from workers.errors import CheckpointError, DataError
from workers.outcome import Outcome, RoundReport, WarmStart
from workers.plan import stages_of
from workers.problem import Problem
from workers.solvers import SOLVERS
from workers.solvers.base import Payload, Solver, State
from workers.solvers.evaluation import NUM_MONITORED, Evaluation
from workers.solvers.preparation import Curvature, Moments, Target, Weighing
from workers.stopping import Progress, Stopping, Validation, Watched
from workers.update import STAGES, is_monitored

WORST_GROWTH = 1e4
"""A loss this many times the first one is not coming back."""

FIRST_BATCHES = 20
"""Rounds whose largest loss is the first one where rounds measure a few rows each: one batch says little."""


class DivergedError(ArithmeticError):
    """The loss or the parameters overflowed; the message names the round and suggests a smaller rate."""


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

    def __init__(
        self, problem: Problem, solver: str, stopping: Stopping, standardise: bool, initial: WarmStart | None = None
    ) -> None:
        self.solver: Solver = SOLVERS[solver]
        self.problem = replace(problem, monitored=stopping.needs_validation)
        if self.solver.own_rate is not None and problem.options.learning_rate is None:
            self.problem = self.problem.with_rate(self.solver.own_rate)
        if self.problem.monitored and not problem.options.mode.is_synchronous:
            raise ValueError(f"mode '{problem.options.mode.name}' has no rounds of which validation rows could judge")
        self.stopping = stopping
        self.outcome: Outcome | None = None
        self.fused: State | None = None
        self._initial = initial
        self._progress = Progress(stopping, problem.objective.higher_is_better)
        self._reason, self._converged = "", False
        self._first_loss: float | None = None
        self._loss: float | None = None
        self._losses_of_parts: list[tuple[float, float]] = []
        self._stages = stages_of(self.problem, self.solver, standardise)
        self._left: list[tuple[str, State]] = []
        self._enter(self._stages.pop(0))

    def _enter(self, stage: str) -> None:
        self.stage = stage
        self.state = STAGES[stage].start(self.problem)
        if stage == self.solver.name and self._initial is not None:
            initial = self.problem.architecture.from_arrays(self._initial.arrays, self.problem.columns)
            self.state = replace(self.state, parameters=initial, round=self._initial.round)
        self._first_round = self.state.round

    def snapshot(self) -> dict[str, Any]:
        """Return all that was learnt so far as plain values and arrays, which nobody may change."""
        best = self._progress.watched.best
        return {
            "left": [[stage, vars(state)] for stage, state in self._left],
            "stage": self.stage,
            "state": vars(self.state),
            "watched": {**vars(self._progress.watched), "best": None if best is None else vars(best)},
            "reason": self._reason,
            "converged": self._converged,
            "first_loss": self._first_loss,
            "loss": self._loss,
            "losses_of_parts": [list(pair) for pair in self._losses_of_parts],
        }

    def resume(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot of the same training, from before its first round, to the same bits.

        Raises
        ------
        CheckpointError
            If the snapshot is that of another training, or is incomplete.
        """
        try:
            self._resume(snapshot)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise CheckpointError(f"it does not go together with the job: {type(error).__name__}: {error}") from None

    def _resume(self, snapshot: Mapping[str, Any]) -> None:
        watched = dict(snapshot["watched"])
        best = watched.pop("best")
        self._progress.watched = Watched(None if best is None else Validation(**best), **watched)
        self._reason, self._converged = str(snapshot["reason"]), bool(snapshot["converged"])
        self._first_loss = snapshot["first_loss"]
        for stage, state in snapshot["left"]:
            self._expect(stage, state)
            self.state = State(**state)
            self._leave()
        self._expect(snapshot["stage"], snapshot["state"])
        self.state = State(**snapshot["state"])
        self._loss = snapshot["loss"]
        self._losses_of_parts = [(float(part), float(loss)) for part, loss in snapshot["losses_of_parts"]]

    def _expect(self, stage: str, state: Mapping[str, Any]) -> None:
        shape = np.shape(state["parameters"])
        if stage != self.stage or shape != self.state.parameters.shape:
            raise ValueError(
                f"stage {stage} with parameters of shape {shape}, expected {self.stage} with "
                f"{self.state.parameters.shape}"
            )

    @property
    def is_asynchronous(self) -> bool:
        """Whether the present stage takes parts of a round (``advance_part``), not whole rounds (``advance``)."""
        return self.stage == self.solver.name and not self.problem.options.mode.is_synchronous

    @property
    def keeps_apart(self) -> bool:
        """Whether the server needs the update of every shard this round, not only their sum."""
        return self.keeps_apart_in(self.stage)

    def keeps_apart_in(self, stage: str) -> bool:
        """Say the same of a stage: robust aggregation is for the solver's rounds."""
        return stage == self.solver.name and self.problem.options.aggregation.needs_every_update

    def total_of(self, updates: Floats) -> Floats:
        """Return what takes the place of the sum of all shards' updates, shape ``(shards, size)``."""
        aggregation = self.problem.options.aggregation
        if not is_monitored(self.problem, self.stage):
            return aggregation.total(updates)
        # Measurements are added up, and have no say in which updates are the odd ones.
        learnt, measured = updates[:, :-NUM_MONITORED], updates[:, -NUM_MONITORED:]
        return np.append(aggregation.total(learnt), measured.sum(axis=0))

    def payload(self) -> Payload:
        """Return what workers must know in the next round."""
        return STAGES[self.stage].broadcast(self.problem, self.state)

    def stop(self, reason: str) -> None:
        """Let the solver's rounds end after the present one, for a reason that only the driver knows."""
        if not self._reason and self.fused is None:
            self._reason = reason

    def advance(self, sums: Floats) -> RoundReport:
        """Take the exact sums of a round and move on.

        Raises
        ------
        DivergedError
            If the sums, the loss or the parameters are not finite any more.
        """
        stage, before = self.stage, self.state
        if not np.isfinite(sums).all():
            raise self.diverged("the sums over all shards are not finite")
        validation: Validation | None = None
        measured = None
        if is_monitored(self.problem, stage):
            sums, measured = sums[:-NUM_MONITORED], sums[-NUM_MONITORED:]
            if not measured[0] > 0:
                raise DataError("the weights of the validation rows add up to 0: give them weight, or take more rows")
        with np.errstate(all="ignore"):  # judged just below
            state = STAGES[stage].combine(self.problem, before, sums)
        self._check_finite(state)
        if measured is not None:
            validation = Validation(before.parameters, state.loss, *(measured[1:] / measured[0]).tolist())
        return self._end_round(state, validation)

    def advance_part(self, sums: Floats, part: float, pace: float, ends_round: bool) -> RoundReport | None:
        """Take plain sums over a part of the data, and step along them; at the end of a round return its report.

        Parameters
        ----------
        part
            The share of the job's weight that the sums cover; where it is 0 there is nothing to learn.
        pace
            How far to step, where a round steps 1.
        ends_round
            Whether as much as all of the data has been applied since the round began.

        Raises
        ------
        DivergedError
            As ``advance``.
        """
        state = self.state
        if part > 0:
            with np.errstate(all="ignore"):  # judged just below
                state = self.solver.apply_part(self.problem, state, sums, part, pace)
            if state.loss is not None:
                self._losses_of_parts.append((part, state.loss))
        # What the sums tell of the gradient is that of a part, and ends nothing.
        state = replace(state, round=self.state.round, loss=None, gradient_norm=None)
        if not ends_round:
            self._check_finite(state)
            self.state = state
            return None
        whole = sum(part for part, _ in self._losses_of_parts)
        loss = sum(part * loss for part, loss in self._losses_of_parts) / whole if whole else None
        self._losses_of_parts.clear()
        state = replace(state, round=state.round + 1, loss=loss)
        self._check_finite(state)
        return self._end_round(state, None)

    def _end_round(self, state: State, validation: Validation | None) -> RoundReport:
        """Keep the state after a round, and enter the next stage where this one is over."""
        stage = self.stage
        self.state = state
        told = None if validation is None else (validation.loss, validation.metric)
        report = RoundReport(stage, self.state.round, self.state.loss, self.state.gradient_norm, told)
        if self._stage_is_over(validation):
            self._leave()
        return report

    def _check_finite(self, state: State) -> None:
        loss = state.loss
        if not np.isfinite(state.parameters).all() or (loss is not None and not np.isfinite(loss)):
            raise self.diverged("the parameters are not finite")
        if loss is not None and self.stage == self.solver.name:
            if self._first_loss is None or (self.solver.measures_batches and state.round <= FIRST_BATCHES):
                self._first_loss = max(loss, self._first_loss or loss)
            if loss > WORST_GROWTH * abs(self._first_loss) > 0:  # far below 0 is good: Poisson's leaves out a constant
                raise self.diverged(f"the loss has grown from {self._first_loss:.4g} to {loss:.4g}")
            self._loss = loss

    def diverged(self, what: str) -> DivergedError:
        """Return the error for numbers that overflowed: where, what, and what to try."""
        rate = self.problem.options.learning_rate
        hint = "look for extreme values in the data"
        if rate is not None and self.stage == self.solver.name and self.solver.needs_rate:
            hint = f"the learning rate {rate:g} is too large: try 'learning_rate: {rate / 10:.2g}'"
        return DivergedError(f"{self.stage}, round {self.state.round + 1}: {what}; {hint}")

    def _stage_is_over(self, validation: Validation | None) -> bool:
        if self.stage != self.solver.name:
            return bool(self.state.solved)
        found = self._progress.reason(self.state, validation)
        if found:
            self._reason, self._converged = found, True
        return bool(self._reason) or self.state.round - self._first_round >= self.stopping.max_rounds

    def _leave(self) -> None:
        """Put to use what the stage found, and enter the next one."""
        stage = STAGES[self.stage]
        self._left.append((self.stage, self.state))
        if self.stage == self.solver.name:
            self._fuse()
        elif isinstance(stage, Weighing):
            self.problem = replace(self.problem, total_weight=float(self.state.memory["total"][0]))
        elif isinstance(stage, Moments | Target):
            self.problem = stage.apply(self.problem, self.state)
        elif isinstance(stage, Curvature):
            self.problem = stage.apply(self.problem, self.state, self.solver.batch_noise, self.solver.own_batch)
        elif isinstance(stage, Evaluation):
            self.outcome = self._conclude()
            return
        else:
            self._add_candidate("optimum", self.state.parameters)
        self._enter(self._stages.pop(0))

    def _fuse(self) -> None:
        """Keep the solver's result; with validation, the parameters that did best there."""
        best = self._progress.best
        parameters = self.solver.result(self.problem, self.state) if best is None else best.parameters
        if best is not None and best.train_loss is not None:
            self._loss = best.train_loss
        self.fused = replace(self.state, parameters=parameters)
        self._add_candidate("fused", parameters)

    def _add_candidate(self, name: str, parameters: Floats) -> None:
        self.problem = replace(self.problem, candidates={**self.problem.candidates, name: parameters})

    def _conclude(self) -> Outcome:
        if self.fused is None:
            raise AssertionError("evaluation comes after training")
        problem = self.problem
        metrics = {name: (float(pair[0]), float(pair[1])) for name, pair in self.state.memory.items()}
        exact = self.solver.name == "exact"
        return Outcome(
            arrays=problem.architecture.to_arrays(self.fused.parameters, problem.columns),
            rounds=self.fused.round,
            loss=self._loss,
            learning_rate=problem.options.learning_rate,
            metric=metrics["fused"],
            optimum=metrics["fused"] if exact else metrics.get("optimum"),
            converged=self._converged,
            reason=self._reason or f"the limit of {self.stopping.max_rounds} rounds was reached",
        )
