"""Local steps of a linear model: the quick walk on raw columns is the plain one, to rounding."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_cases import cut_rows, problem_of, quick, rows_for, standardised, varied

from workers.data.rows import Floats, Rows
from workers.objectives import OBJECTIVES
from workers.penalty import Penalty
from workers.problem import Problem, batch_edges
from workers.solvers import SOLVERS
from workers.solvers.local_sgd import batches
from workers.walk import Control, LinearWalk, Walk, walk


@st.composite
def cases(draw: st.DrawFn) -> tuple[Problem, Rows, Floats]:
    name = draw(st.sampled_from(sorted(OBJECTIVES)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = draw(st.sampled_from([None, random.integers(0, 4, 40) + 0.5]))
    rows = varied(rows_for(name, 40, int(random.integers(99))), draw(st.booleans()), weights=weights)
    problem = problem_of(rows, 1, name, intercept=draw(st.booleans()), batch_size=draw(st.sampled_from([1, 7, 40])))
    penalty = Penalty(draw(st.sampled_from([0.0, 0.1])), draw(st.sampled_from([0.0, 0.05])))
    problem = replace(problem, penalty=penalty)
    if draw(st.booleans()):
        problem = standardised(problem, rows)
    else:  # columns as they are, of a size that raw steps can take
        rows = replace(rows, X=varied(rows, dtype=np.float64).X / 300.0) if isinstance(rows.X, np.ndarray) else rows
        problem = problem if isinstance(rows.X, np.ndarray) else standardised(problem, rows)
    return problem, rows, 0.3 * random.standard_normal(problem.num_parameters)


@quick
@given(cases(), st.booleans())
def test_the_quick_walk_is_the_plain_one(case: tuple[Problem, Rows, Floats], controlled: bool) -> None:
    problem, rows, start = case
    control = None
    if controlled:
        gradient = problem.gradient(start, rows) / problem.weight + problem.ridge * start
        control = Control(start, gradient)
    quick_one, plain = LinearWalk(problem, start, control), Walk(problem, start, control)
    edges = batch_edges(len(rows), problem.options.batch_size)
    for a, b in pairwise(edges.tolist()):
        losses = [steps.step(rows[a:b], 0.02) for steps in (quick_one, plain)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-7, abs=1e-9)
    size = 1.0 + np.abs(plain.parameters).max()
    np.testing.assert_allclose(quick_one.parameters, plain.parameters, atol=1e-7 * size)


def test_a_walk_changes_neither_its_start_nor_its_rows() -> None:
    rows = rows_for("softmax")
    problem = standardised(problem_of(rows, 1, "softmax", l2=0.1, l1=0.1), rows)
    start = np.ones(problem.num_parameters)
    before = rows.X.copy()
    for kind in (Walk, LinearWalk):
        steps = kind(problem, start, Control(start, start))
        steps.step(rows, 0.1)
        assert (start == 1.0).all() and (before == rows.X).all()
        assert (steps.parameters != 1.0).any()
    assert isinstance(walk(problem, start), LinearWalk)


def test_at_the_optimum_controlled_steps_stay_where_they_are() -> None:
    rows = rows_for("squared")
    problem = standardised(problem_of(rows, 1, l2=0.1, l1=0.2), rows)
    state = SOLVERS["exact"].start(problem)
    sums = SOLVERS["exact"].contribute(problem, {}, cut_rows(rows, 1)[0], 0)
    best = SOLVERS["exact"].combine(problem, state, sums).parameters
    gradient = problem.gradient(best, rows) / problem.weight + problem.ridge * best
    steps = walk(problem, best, Control(best, gradient))
    for a in range(0, 120, 10):
        steps.step(rows[a : a + 10], 0.1)
    np.testing.assert_allclose(steps.parameters, best, rtol=1e-9, atol=1e-10)
    assert ((steps.parameters == 0) == (best == 0)).all()


# --- batches -------------------------------------------------------------------------------------------------


@quick
@given(st.integers(1, 200), st.integers(1, 60))
def test_batches_are_even_and_cover_every_row_once(num_rows: int, size: int) -> None:
    edges = batch_edges(num_rows, size)
    lengths = np.diff(edges)
    assert edges[0] == 0 and edges[-1] == num_rows
    assert lengths.max() <= size and lengths.max() - lengths.min() <= 1 and lengths.min() >= 1
    assert len(lengths) == -(-num_rows // size)


def test_the_smallest_batch_of_the_job_is_known() -> None:
    rows = rows_for("squared", 99)
    for num_shards in (1, 2, 3, 7, 99):
        for size in (1, 5, 16, 33, 500):
            problem = problem_of(rows, num_shards, batch_size=size)
            drawn = [len(batch) for shard in cut_rows(rows, num_shards) for batch in batches(problem, shard, 0)]
            assert min(drawn) == problem.smallest_batch


def test_every_row_is_as_likely_in_a_batch_of_sgd() -> None:
    """Windows that begin anywhere would seldom see the first and last rows of a shard."""
    X = np.eye(10)
    rows = Rows(X, np.ones(10))
    problem = problem_of(rows, 1, intercept=False, batch_size=4)
    shard = cut_rows(rows, 1)[0]
    payload = {"parameters": np.zeros(10)}
    seen = np.zeros(10)
    for round_ in range(1500):
        sums = SOLVERS["sgd"].contribute(problem, payload, shard, round_)
        assert sums[-1] in (3.0, 4.0) and sums[-2] == sums[-1] / 2
        seen += sums[:10] != 0
    assert seen.min() > 420 and seen.max() < 580  # 500 each, five deviations
    assert problem.smallest_batch == 3


def test_an_epoch_passes_every_row_once_in_a_drawn_order() -> None:
    rows = Rows(np.arange(50.0)[:, None], np.arange(50.0))
    problem = problem_of(rows, 1, batch_size=7, local_epochs=2)
    orders = []
    for round_ in (0, 1):
        drawn = [batch.y.tolist() for batch in batches(problem, cut_rows(rows, 1)[0], round_)]
        half = len(drawn) // 2
        for epoch in (drawn[:half], drawn[half:]):
            assert sorted(chain(*epoch)) == list(range(50))
            orders.append([batch[0] for batch in epoch])
    assert len({tuple(order) for order in orders}) == 4
