"""Apportion itself, through the calls that its command line makes."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.base import ESCALATION, Goal, Limits, Peer, Point, Points, Settings, fastest
from benchmarks.peers.numpy_loop import RATES
from benchmarks.problems import LearningProblem
from policies.presets import resolve
from scheduler.job import Job
from scheduler.observer import Observer
from scheduler.preparation import Prepared, prepare
from scheduler.runner import run_connected
from workers.outcome import RoundReport

NUM_WORKERS = 2


class Losses(Observer):
    """Keeps the objective that each round of a solver measured."""

    def __init__(self, solver: str) -> None:
        self.solver = solver
        self.by_round: list[float | None] = []

    def trained(self, report: RoundReport) -> None:
        """Take note."""
        if report.stage == self.solver:
            self.by_round.append(report.loss)


class Apportion(Peer):
    """A run with two workers and one of the solvers; the learning rate is its own default."""

    epoch = "round"
    timed = "the solver's rounds, as summary.json has them; not the rounds before that measure the learning rate"
    needs_ray = True

    def __init__(self, solver: str) -> None:
        self.solver = solver
        self.name = f"Apportion {solver}"
        self._prepared: dict[str, Prepared] = {}

    def unavailable(self, problem: LearningProblem) -> str | None:
        """Ask the program itself."""
        from workers.solvers import SOLVERS

        if self.solver not in SOLVERS:
            return f"there is no solver {self.solver!r} here"
        return "there is no closed form" if self.solver == "exact" and problem.objective != "squared" else None

    def prepared(self, problem: LearningProblem, rounds: int) -> Prepared:
        """Look at the data, once."""
        if problem.name not in self._prepared:
            self._prepared[problem.name] = prepare(Job(**job(problem, self.solver, rounds)))
        return self._prepared[problem.name]

    def points(self, problem: LearningProblem, settings: Settings, goal: Goal, limits: Limits) -> Points:
        """Yield the objective that each round measured, and the parameters at the end."""
        del settings
        losses, seconds_by_round, parameters = train(self.prepared(problem, limits.epochs), self.solver)
        elapsed_s = np.cumsum(seconds_by_round)
        for number, (seconds, loss) in enumerate(zip(elapsed_s[:-1], losses[:-1], strict=True)):
            if loss is not None:
                yield Point(float(seconds), number + 1, objective=loss)
        yield Point(float(elapsed_s[-1]), len(elapsed_s), parameters)


class Stochastic(Apportion):
    """A solver whose rounds measure the loss of the batches that they meet, not the objective.

    So every entry is a run of its own, and the parameters at its end are judged. ``tuned`` searches for the learning
    rate as the NumPy loop does; otherwise it is the program's own default.
    """

    timed = "the solver's rounds, as summary.json has them, of the first run that is long enough"

    def __init__(self, solver: str, tuned: bool) -> None:
        super().__init__(solver)
        self.tuned = tuned

    def tune(self, problem: LearningProblem, goal: Goal, limits: Limits) -> Settings:
        """Search powers of four, constant and falling, as for the NumPy loop."""
        if not self.tuned:
            return {}
        candidates = [{"rate": rate, "decay": decay} for rate in RATES[1:] for decay in ("constant", "inverse")]
        return fastest(self, problem, candidates, goal, Limits(min(limits.epochs, 4), limits.seconds))

    def points(self, problem: LearningProblem, settings: Settings, goal: Goal, limits: Limits) -> Points:
        """Yield the parameters after runs of more and more rounds."""
        del goal
        for rounds in ESCALATION:
            chosen = self.prepared(problem, rounds).with_training(
                learning_rate=settings.get("rate", "auto"), schedule=settings.get("decay", "auto"), rounds=rounds
            )
            _, seconds_by_round, parameters = train(chosen, self.solver)
            yield Point(sum(seconds_by_round), rounds, parameters)


def job(problem: LearningProblem, solver: str, rounds: int) -> dict[str, Any]:
    """Return the job file for a problem; columns are taken as they are, so that the penalty is everybody's."""
    memory = 8 * (problem.X.shape[1] + 4) * len(problem.y) + (64 << 20)
    return {
        "name": "bench",
        "data": {"npz": problem.files / "data.npz"},
        "test_fraction": 0,
        "model": {"objective": problem.objective, "l2": problem.l2},
        "training": {
            "solver": solver, "rounds": rounds, "tolerance": 0, "batch_size": problem.batch_size,
            "standardise": False,
        },
        "shards": NUM_WORKERS,
        "workers": {"count": NUM_WORKERS, "bundle": {"cpu": 1, "memory": memory}},
        "output": problem.files / "output",
    }  # fmt: skip


def train(prepared: Prepared, solver: str) -> tuple[list[float | None], list[float], np.ndarray]:
    """Run a prepared job: the one place that knows the program's calls.

    Returns
    -------
    The objective that each round of the solver measured (None where it measured none), the rounds' seconds, and
    the weights and the intercept at the end.
    """
    observer = Losses(solver)
    finished = run_connected(prepared, resolve("equal"), observer)
    parameters = np.concatenate([finished.model.weights[:, 0], finished.model.intercepts])
    return observer.by_round, list(finished.summary.seconds_by_round), parameters
