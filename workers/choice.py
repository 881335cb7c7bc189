"""What ``auto`` means: the solver and its settings chosen by loss, architecture and size, with the reason."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workers.aggregation import EXACT_SUM, Aggregation
from workers.modes import SYNCHRONOUS, Mode
from workers.problem import Problem, SolverOptions
from workers.server_optimisers import AVERAGE, Adagrad, Adam, Momentum, Nesterov, ServerOptimiser
from workers.solvers import SOLVERS

WIDEST_GRAM = 2000
"""Parameters up to which a matrix of them is summed: 32 MB from each worker."""

WIDEST_HESSIAN = 500
"""Parameters up to which one is summed in every round."""

DEAREST_HESSIAN = 1e12
"""Multiplications of a round (rows times parameters squared) up to which Newton's few rounds pay."""

LAYERS_RATES = {"classification": 0.2, "regression": 0.03}
"""The default learning rates of layers where no server optimiser scales their steps: the residuals of a regression
are not bounded, and rows far from all others throw local steps off."""

WORTH_A_CLUSTER = 20_000_000
"""Values (rows times columns) below which the rounds' overhead outweighs what a second worker computes.

A round costs about 2.3 ms (``make bench-overhead``), and a pass of one process over 100 million values 40 ms
(``make bench-learning``), of which a second worker saves half: they are even at some 12 million values.
"""


@dataclass(frozen=True)
class Wishes:
    """What a job asks for; None leaves it to ``choose``."""

    solver: str | None = None
    learning_rate: float | None = None
    schedule: str | None = None
    server: ServerOptimiser | None = None
    aggregation: Aggregation = EXACT_SUM
    batch_size: int = 32
    local_epochs: int = 1
    local_steps: int = SolverOptions.local_steps
    mode: Mode = SYNCHRONOUS


@dataclass(frozen=True)
class Choice:
    """A solver with all its settings, and why: ``reason`` is empty where nothing was left open.

    ``remark`` says whether a cluster pays at all, where the choice was left open.
    """

    solver: str
    options: SolverOptions
    reason: str = ""
    remark: str = ""

    def applied(self, problem: Problem) -> Problem:
        """Return the problem with these settings."""
        return replace(problem, options=self.options)


def choose(problem: Problem, wishes: Wishes) -> Choice:
    """Fill in what the job left open; a function of the problem, so that every run of a job has the same choice."""
    solver, server, reason = wishes.solver, wishes.server, ""
    if solver is None:
        solver, fitting, reason = _solver(problem, wishes)
        server = server or fitting
    layers = not problem.architecture.is_linear
    server = server or _server(problem, solver, wishes.mode)
    rate = wishes.learning_rate
    if rate is None and layers and SOLVERS[solver].own_rate is None:
        rate = _rate_of_layers(problem.objective.task, solver, server)
    restless = solver == "diloco"  # steps of AdamW are as long near the minimum as far from it
    cornered = not problem.objective.is_curved and solver in ("sgd", "local-sgd", "gradient-descent", "sklearn-sgd")
    schedule = wishes.schedule or ("inverse-sqrt" if cornered or restless else "constant")
    options = SolverOptions(
        batch_size=wishes.batch_size,
        local_epochs=wishes.local_epochs,
        learning_rate=rate,
        schedule=schedule,
        server=server,
        aggregation=wishes.aggregation,
        mode=wishes.mode,
        local_steps=wishes.local_steps,
    )
    return Choice(solver, options, reason, _remark(problem) if wishes.solver is None else "")


def _server(problem: Problem, solver: str, mode: Mode) -> ServerOptimiser:
    """Return the server optimiser that goes with a solver that was named."""
    if solver == "diloco":
        return Nesterov(rate=0.7)
    layers = not problem.architecture.is_linear
    scales = layers and _steps_at_server(solver) and not problem.penalty.l1 and mode.takes_server
    return Adam(rate=0.01) if scales else AVERAGE


def _remark(problem: Problem) -> str:
    values = problem.num_rows * problem.num_features
    if values >= WORTH_A_CLUSTER or not problem.architecture.is_linear:
        return ""
    return (
        f"the data is small ({values:,} values): one process trains it as fast as a cluster, which pays from about "
        f"{WORTH_A_CLUSTER:,} values on"
    )


def _steps_at_server(solver: str) -> bool:
    """Say whether workers send gradients, so that the server takes the only steps."""
    return solver in ("sgd", "gradient-descent")


def _rate_of_layers(task: str, solver: str, server: ServerOptimiser) -> float:
    """Return a rate that suits layers on standardised columns: their curvature is not known before training."""
    if isinstance(server, Adagrad) and _steps_at_server(solver):
        return 1.0  # it scales gradients by itself
    rate = LAYERS_RATES[task]
    return round(rate * (1.0 - server.momentum), 12) if isinstance(server, Momentum) else rate


def _solver(problem: Problem, wishes: Wishes) -> tuple[str, ServerOptimiser | None, str]:
    """Return the solver, the server optimiser that goes with it, and why."""
    objective, rule, server = problem.objective, wishes.aggregation, wishes.server
    if not wishes.mode.is_synchronous and not rule.needs_every_update:
        return _partial_solver(problem, wishes.mode)
    if rule.needs_every_update:
        return "gradient-descent", None, f"aggregation '{rule.rule}' needs the update of every shard"
    if not problem.architecture.is_linear:
        with_adam = "" if problem.penalty.l1 or server is not None else ", with adam at the server"
        return "sgd", None, f"a '{problem.architecture.kind}' has layers: mini-batches{with_adam}"
    if server is not None and server.name != AVERAGE.name:
        return "sgd", None, f"server optimiser '{server.name}' goes with mini-batches"
    if not objective.is_curved:
        return "local-sgd", None, f"'{objective.name}' has corners: steps that grow smaller"
    return _smooth_solver(problem)


def _partial_solver(problem: Problem, mode: Mode) -> tuple[str, ServerOptimiser | None, str]:
    reason = f"mode '{mode.name}' applies parts of the data by themselves"
    return ("local-sgd" if problem.architecture.is_linear else "sgd"), None, f"{reason}: mini-batches"


def _smooth_solver(problem: Problem) -> tuple[str, ServerOptimiser | None, str]:
    width = problem.num_parameters
    if problem.objective.name == "squared" and width <= WIDEST_GRAM:
        return "exact", None, f"least squares with {width:,} parameters: one pass over the data"
    if width <= WIDEST_HESSIAN and problem.num_rows * float(width) ** 2 <= DEAREST_HESSIAN:
        return "newton", None, f"{width:,} parameters: few rounds, with a Hessian of {8 * width * width / 1e6:.1g} MB"
    if problem.penalty.l1:
        return "gradient-descent", Nesterov(), f"{width:,} parameters and an L1 penalty: accelerated proximal steps"
    return "lbfgs", None, f"{width:,} parameters: too many for a Hessian"
