"""Asynchronous modes: a part of the data is a part of a round, and what makes no sense is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_cases import classification, cut, problem_for, quick, regression

from workers.aggregation import Aggregation
from workers.choice import Wishes, choose
from workers.data.shard import Shard
from workers.exact_sum import Floats
from workers.modes import MODES, Asp, Backup, Mode, Ssp, mode_named
from workers.problem import Problem
from workers.server_optimisers import SERVER_OPTIMISERS, Adam, Nesterov
from workers.solvers import SOLVERS
from workers.solvers.base import State
from workers.update import Message, call_update

TAKES_PARTS = sorted(name for name, solver in SOLVERS.items() if solver.takes_parts)
ASYNCHRONOUS = sorted(name for name in MODES if not mode_named(name, {}).is_synchronous)


def problem_in(mode: Mode, num_shards: int = 6, objective: str = "logistic", l1: float = 0.0) -> Problem:
    X, y = classification(2, 90)
    problem = problem_for(X, y, num_shards, objective, l2=0.03, l1=l1, batch_size=7, learning_rate=0.1)
    return replace(problem, options=replace(problem.options, mode=mode))


def plain_sums(problem: Problem, solver: str, shards: list[Shard], parameters: Floats) -> tuple[Floats, float]:
    sums = call_update(problem, Message(1, solver, 3, {"parameters": parameters}, None, plain=True), shards, {})
    assert sums.plain is not None and sums.total is None
    return sums.plain, sums.weight


@pytest.mark.parametrize("server", sorted(SERVER_OPTIMISERS))
@pytest.mark.parametrize("l1", [0.0, 0.02])
@pytest.mark.parametrize("solver", TAKES_PARTS)
def test_all_of_the_data_at_pace_1_is_a_round(solver: str, l1: float, server: str) -> None:
    problem = problem_in(Backup(), l1=l1)
    problem = replace(problem, options=replace(problem.options, server=SERVER_OPTIMISERS[server]()))
    shards = cut(*classification(2, 90), 6)
    state = State(np.linspace(-0.3, 0.2, problem.num_parameters), 3)
    for _ in range(2):  # the second time the server remembers something
        sums, weight = plain_sums(problem, solver, shards, state.parameters)
        whole = SOLVERS[solver].combine(problem, state, sums)
        part = SOLVERS[solver].apply_part(problem, state, sums, weight / problem.weight, 1.0)
        np.testing.assert_allclose(part.parameters, whole.parameters, rtol=1e-12)
        assert part.loss == pytest.approx(whole.loss, rel=1e-12)
        assert part.memory.keys() == whole.memory.keys()
        state = whole


@pytest.mark.parametrize("solver", TAKES_PARTS)
@quick
@given(ends=st.lists(st.integers(1, 5), max_size=4, unique=True))
def test_a_pass_of_all_workers_at_fixed_parameters_is_a_round(solver: str, ends: list[int]) -> None:
    """With shards of equal batches, and without an L1 penalty, whose proximal steps do not add up."""
    problem, shards = problem_in(Asp()), cut(*classification(2, 90), 6)
    state = State(np.linspace(-0.3, 0.2, problem.num_parameters), 3)
    whole = SOLVERS[solver].combine(problem, state, plain_sums(problem, solver, shards, state.parameters)[0])
    moved, covered = np.zeros(problem.num_parameters), 0.0
    for chosen in np.split(np.arange(6), sorted(ends)):
        sums, weight = plain_sums(problem, solver, [shards[shard] for shard in chosen], state.parameters)
        part = weight / problem.weight
        after = SOLVERS[solver].apply_part(problem, state, sums, part, Asp().pace(part, 0))
        moved, covered = moved + after.parameters - state.parameters, covered + part
    assert covered == pytest.approx(1.0)
    np.testing.assert_allclose(moved, whole.parameters - state.parameters, rtol=1e-10, atol=1e-14)


def test_plain_sums_are_in_ascending_order_whatever_the_order_of_the_shards() -> None:
    problem, shards = problem_in(Asp()), cut(*classification(2, 90), 6)
    start = np.linspace(-1, 1, problem.num_parameters)
    forwards = plain_sums(problem, "gradient-descent", shards, start)[0]
    backwards = plain_sums(problem, "gradient-descent", shards[::-1], start)[0]
    assert forwards.tobytes() == backwards.tobytes()


def test_the_paces() -> None:
    assert [Asp(1.0).pace(0.5, late) for late in range(3)] == [0.5, 0.25, 0.5 / 3]
    assert [Ssp().pace(0.25, late) for late in (0, 7)] == [0.25, 0.25]
    assert Backup().pace(0.5, 0) == 1.0
    assert [Backup(drop=2).num_awaited(num) for num in (1, 2, 3, 5)] == [1, 1, 1, 3]
    assert [Ssp(staleness=2).may_go_on(ahead) for ahead in (0, 2, 3)] == [True, True, False]
    assert Asp().may_go_on(10**6)
    assert [mode_named(name, {}).bound for name in ("synchronous", "asp", "ssp", "backup")] == [0, None, 3, 0]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ssp", {"staleness": -1}, "staleness must be a whole number of at least 0, got -1"),
        ("ssp", {"staleness": 1.5}, "staleness must be a whole number"),
        ("asp", {"damping": -0.1}, "damping must be at least 0, got -0.1"),
        ("backup", {"drop": -2}, "drop must be a whole number of at least 0"),
    ],
)
def test_options_out_of_bounds(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mode_named(name, options)


@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_solvers_that_need_all_shards_are_refused(solver: str) -> None:
    X, y = regression(60)
    problem = problem_for(X, y, 3)
    for name in ASYNCHRONOUS:
        there = replace(problem, options=replace(problem.options, mode=mode_named(name, {})))
        reason = SOLVERS[solver].refuse(there)
        if solver in TAKES_PARTS:
            assert reason is None
            continue
        assert reason is not None and f"mode '{name}' does not wait for" in reason
        named = [word for word in re.findall("'([^']+)'", reason.split("use ")[-1]) if word in SOLVERS]
        assert named and all(SOLVERS[word].refuse(there) is None for word in named)


def test_robust_sums_and_server_optimisers_are_refused_where_they_make_no_sense() -> None:
    for solver in TAKES_PARTS:
        for name in ASYNCHRONOUS:
            problem = problem_in(mode_named(name, {}))
            robust = replace(problem, options=replace(problem.options, aggregation=Aggregation("median")))
            assert "cannot take the median of updates that are not all there" in str(SOLVERS[solver].refuse(robust))
            adam = replace(problem, options=replace(problem.options, server=Adam()))
            assert (SOLVERS[solver].refuse(adam) is None) == (name == "backup")


@pytest.mark.parametrize("name", ASYNCHRONOUS)
@pytest.mark.parametrize("objective", ["squared", "hinge", "logistic"])
def test_auto_chooses_what_goes_together(name: str, objective: str) -> None:
    mode = mode_named(name, {})
    problem = problem_in(mode, objective=objective)
    choice = choose(problem, Wishes(mode=mode))
    assert choice.options.mode == mode and f"mode '{name}'" in choice.reason
    assert SOLVERS[choice.solver].refuse(choice.applied(problem)) is None


def test_diloco_has_the_outer_optimiser_of_the_paper() -> None:
    assert choose(problem_in(MODES["synchronous"]()), Wishes("diloco")).options.server == Nesterov(0.9, 0.7)
