"""The table of what goes together: all that is not refused trains, and all that is refused names a way out."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from learning_cases import cut_rows, learn, objective_at, problem_of, rows_for

from workers.aggregation import AGGREGATIONS, Aggregation
from workers.architectures import Linear
from workers.choice import DEAREST_HESSIAN, WIDEST_GRAM, WIDEST_HESSIAN, Wishes, choose
from workers.objectives import OBJECTIVES
from workers.penalty import Penalty
from workers.problem import Problem
from workers.server_optimisers import SERVER_OPTIMISERS, server_optimiser
from workers.solvers import SOLVERS

PENALTIES = {"none": Penalty(), "l2": Penalty(0.05), "l1": Penalty(0.0, 0.02), "both": Penalty(0.05, 0.02)}
SERVER_OPTIONS = {"adagrad": {"rate": 0.1}, "adam": {"rate": 0.05}, "yogi": {"rate": 0.05}}


def problem_with(objective: str, penalty: str, server: str, rule: str) -> Problem:
    rows = rows_for(objective, 60)
    problem = replace(problem_of(rows, 4, objective, batch_size=8), penalty=PENALTIES[penalty])
    optimiser = server_optimiser(server, SERVER_OPTIONS.get(server, {}))
    return replace(problem, options=replace(problem.options, server=optimiser, aggregation=Aggregation(rule)))


TABLE = list(product(PENALTIES, SERVER_OPTIMISERS, AGGREGATIONS))
"""Penalty, server optimiser and aggregation of every combination."""


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_what_is_not_refused_lowers_the_loss(solver: str, objective: str) -> None:
    rows, trained = rows_for(objective, 60), 0
    shards = cut_rows(rows, 4)
    for place, (penalty, server, rule) in enumerate(TABLE):
        problem = problem_with(objective, penalty, server, rule)
        reason = SOLVERS[solver].refuse(problem)
        if reason is not None:
            continue
        if trained >= 4 and place % 11:  # of what goes with everything, a part is enough
            continue
        trained += 1
        chosen = choose(problem, Wishes(solver, server=problem.options.server, aggregation=problem.options.aggregation))
        careful = objective == "poisson" or server in ("momentum", "nesterov")
        small = 0.002 if solver == "diloco" else 0.02  # the steps of AdamW are as long as their rate
        options = replace(chosen.options, batch_size=8, learning_rate=small if careful else None)
        outcome, training = learn(replace(problem, options=options), shards, solver, 12)
        start = sum(problem.loss_sum(np.zeros(problem.num_parameters), shard.train) for shard in shards) / len(rows)
        assert objective_at(training, shards) < start, (penalty, server, rule)
        assert outcome.rounds <= 12
    assert trained or (solver, objective) in [
        *((name, "hinge") for name in ("newton", "lbfgs")),
        *(("sklearn-sgd", name) for name in ("softmax", "poisson")),
        *(("exact", name) for name in OBJECTIVES if name != "squared"),
    ]


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_what_is_refused_says_what_to_use_instead(solver: str, objective: str) -> None:
    for penalty, server, rule in TABLE:
        problem = problem_with(objective, penalty, server, rule)
        reason = SOLVERS[solver].refuse(problem)
        if reason is None:
            continue
        assert reason.startswith(f"solver '{solver}' ")
        named = [name for name in re.findall("'([^']+)'", reason.split("use ")[-1]) if name in SOLVERS]
        assert named and solver not in named, reason
        # The first way out that is named is one: with the server's default where that was the trouble.
        assert any(SOLVERS[name].refuse(problem) is None for name in named) or "leave it out" in reason, reason


def test_objectives_refuse_what_they_cannot_learn() -> None:
    for name in ("logistic", "hinge", "squared-hinge"):
        assert "use 'softmax'" in str(OBJECTIVES[name].refuse(3))
        assert OBJECTIVES[name].refuse(2) is None and OBJECTIVES[name].refuse(1) is None
    assert "targets from 0 on; the smallest target is -1" in str(OBJECTIVES["poisson"].refuse_targets(-1.0))
    assert OBJECTIVES["poisson"].refuse_targets(0.0) is None and OBJECTIVES["squared"].refuse_targets(-1.0) is None


# --- auto ----------------------------------------------------------------------------------------------------


def sized(objective: str, width: int, num_rows: int = 1000, **settings: object) -> Problem:
    problem = problem_of(rows_for(objective, 60), 4, objective, **settings)
    return replace(problem, architecture=Linear(width - 1, problem.num_outputs), num_rows=num_rows)


@pytest.mark.parametrize(
    ("objective", "width", "settings", "wishes", "expected", "reason"),
    [
        ("squared", 10, {}, {}, "exact", "least squares with 10 parameters"),
        ("squared", WIDEST_GRAM, {"l1": 0.1}, {}, "exact", "one pass over the data"),
        ("squared", WIDEST_GRAM + 1, {}, {}, "lbfgs", "2,001 parameters: too many for a Hessian"),
        ("squared", WIDEST_GRAM + 1, {"l1": 0.1}, {}, "gradient-descent", "accelerated proximal steps"),
        ("logistic", WIDEST_HESSIAN, {}, {}, "newton", "500 parameters: few rounds, with a Hessian of 2 MB"),
        ("poisson", 10, {"l1": 0.1}, {}, "newton", "10 parameters"),
        ("huber", WIDEST_HESSIAN + 1, {}, {}, "lbfgs", "too many"),
        ("logistic", 400, {"num_rows": int(DEAREST_HESSIAN)}, {}, "lbfgs", "too many"),
        ("hinge", 10, {}, {}, "local-sgd", "'hinge' has corners"),
        ("hinge", 10, {}, {"server": server_optimiser("adam", {})}, "sgd", "'adam' goes with mini-batches"),
        ("squared", 10, {}, {"aggregation": Aggregation("krum")}, "gradient-descent", "'krum' needs the update of"),
        ("hinge", 10, {}, {"aggregation": Aggregation("median")}, "gradient-descent", "'median' needs"),
    ],
)
def test_what_auto_chooses(
    objective: str, width: int, settings: dict[str, float], wishes: dict[str, object], expected: str, reason: str
) -> None:
    num_rows = int(settings.pop("num_rows", 1000)) if "num_rows" in settings else 1000
    problem = sized(objective, width, num_rows, **settings)
    choice = choose(problem, Wishes(**wishes))  # type: ignore[arg-type]
    assert choice.solver == expected and reason in choice.reason
    assert SOLVERS[choice.solver].refuse(choice.applied(problem)) is None


def test_auto_is_never_refused() -> None:
    for objective, penalty, server, rule in product(OBJECTIVES, PENALTIES, (None, *SERVER_OPTIMISERS), AGGREGATIONS):
        for width in (5, WIDEST_HESSIAN + 5, WIDEST_GRAM + 5):
            problem = replace(sized(objective, width), penalty=PENALTIES[penalty])
            wished = None if server is None else server_optimiser(server, {})
            choice = choose(problem, Wishes(server=wished, aggregation=Aggregation(rule)))
            assert SOLVERS[choice.solver].refuse(choice.applied(problem)) is None, (choice, objective, penalty)
            assert choice.reason and (wished is None or choice.options.server == wished)


def test_what_is_wished_is_kept() -> None:
    problem = sized("logistic", 10)
    choice = choose(problem, Wishes("local-sgd", 0.3, "inverse", None, Aggregation("median"), 5, 2))
    assert (choice.solver, choice.reason) == ("local-sgd", "")
    options = choice.options
    assert (options.learning_rate, options.schedule, options.batch_size, options.local_epochs) == (0.3, "inverse", 5, 2)
    assert options.server.name == "average" and options.aggregation.rule == "median"
    assert choice.applied(problem).options is options


def test_corners_get_smaller_steps_and_curves_do_not() -> None:
    for solver in ("sgd", "local-sgd", "gradient-descent"):
        assert choose(sized("hinge", 10), Wishes(solver)).options.schedule == "inverse-sqrt"
        assert choose(sized("hinge", 10), Wishes(solver, schedule="constant")).options.schedule == "constant"
        assert choose(sized("logistic", 10), Wishes(solver)).options.schedule == "constant"
    wide = choose(sized("squared", WIDEST_GRAM + 1, l1=0.1), Wishes())
    assert wide.options.server.name == "nesterov"
