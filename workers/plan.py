"""Which stages a training has: what must be known of the data, the solver, what its result is compared with."""

from __future__ import annotations

from dataclasses import replace

from workers.problem import Problem, SolverOptions
from workers.solvers import SOLVERS
from workers.solvers.base import Solver
from workers.solvers.evaluation import Evaluation
from workers.solvers.preparation import Curvature, Moments, Target, Weighing

WIDEST_OPTIMUM = 1000
"""Columns up to which the exact optimum is computed beside another solver's result (its Gram sums: 4 MB)."""

DEAREST_OPTIMUM = 1e9
"""Multiplications (rows times columns squared) up to which it is."""


def stages_of(problem: Problem, solver: Solver, standardise: bool) -> list[str]:
    """Return the names of the stages of a training, in their order."""
    stages = [Weighing.name] if problem.total_weight is None else []
    stages += [Moments.name] if standardise else []
    if standardise and problem.objective.margin_is_target and not problem.architecture.is_linear:
        stages.append(Target.name)
    if solver.needs_rate and problem.options.learning_rate is None:
        stages.append(Curvature.name)
    stages.append(solver.name)
    exact = SOLVERS["exact"]
    width = problem.num_parameters
    cheap = width <= WIDEST_OPTIMUM and problem.num_rows * width * width <= DEAREST_OPTIMUM
    plain = replace(problem, options=SolverOptions())
    if solver is not exact and cheap and exact.refuse(plain) is None:
        stages.append(exact.name)
    return [*stages, Evaluation.name]
