"""Whoever computes what: the same bits for every objective, penalty, server optimiser, and rows in every form."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_cases import cut_rows, fused, problem_of, rows_for, varied

from workers.data.rows import Rows
from workers.data.shard import Shard
from workers.objectives import OBJECTIVES
from workers.parameter_store import ParameterStore, Verdict
from workers.problem import Problem
from workers.server_optimisers import server_optimiser
from workers.solvers import SOLVERS
from workers.stopping import Stopping
from workers.training import Training
from workers.update import call_update

NUM_SHARDS = 6
FORMS: dict[str, dict[str, Any]] = {
    "dense": {},
    "weighted": {"weights": np.random.default_rng(0).integers(0, 5, 60) * 0.7},
    "sparse": {"sparse": True},
    "float32": {"dtype": np.float32},
    "all of it": {"sparse": True, "dtype": np.float32, "weights": np.random.default_rng(1).random(60)},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "elastic": {"l1": 0.02, "l2": 0.01},
    "adam": {"server": server_optimiser("adam", {"rate": 0.05}), "l2": 0.01},
    "nesterov": {"server": server_optimiser("nesterov", {"momentum": 0.5}), "l1": 0.01},
}


@cache
def job(objective: str, form: str, setting: str, monitored: bool) -> tuple[Problem, list[Shard], Stopping]:
    rows = varied(rows_for(objective, 60), **FORMS[form])
    rate = 0.02 if objective == "poisson" or setting == "nesterov" else None
    problem = problem_of(rows, NUM_SHARDS, objective, batch_size=4, learning_rate=rate, **SETTINGS[setting])
    shards = cut_rows(rows, NUM_SHARDS)
    if monitored:
        kept = [Rows(rows.X[place : place + 3], rows.y[place : place + 3]) for place in range(NUM_SHARDS)]
        shards = [replace(shard, validation=part) for shard, part in zip(shards, kept, strict=True)]
    return replace(problem, total_weight=None), shards, Stopping(5, patience=4 if monitored else 0)


def learnt(training: Training, shards: list[Shard], random: np.random.Generator | None) -> bytes:
    """Train with one call for each shard, or with random calls that arrive in a random order."""
    store = ParameterStore(training)
    held: dict[int, Any] = {}
    while training.outcome is None:
        order, ends = np.arange(NUM_SHARDS), np.arange(1, NUM_SHARDS)
        if random is not None:
            order, ends = random.permutation(NUM_SHARDS), np.flatnonzero(random.random(NUM_SHARDS - 1) < 0.5) + 1
        for part in np.split(order, ends):
            if random is not None and random.random() < 0.5:
                held = {}  # a new worker computes again what the old one knew
            sums = call_update(training.problem, store.message, [shards[index] for index in part], held)
            assert store.offer(store.message.version, part, sums) is Verdict.ACCEPTED
        store.commit()
    told = repr((training.outcome.loss, training.outcome.metric, training.outcome.reason, training.outcome.rounds))
    return fused(training).tobytes() + told.encode()


CASES = [
    (solver, objective, setting)
    for solver in sorted(SOLVERS)
    for objective in sorted(OBJECTIVES)
    for setting in SETTINGS
    if solver != "sklearn-sgd"  # whose rows cannot be sparse: `test_allocation_independence` has it
    and SOLVERS[solver].refuse(job(objective, "dense", setting, False)[0]) is None
]


@cache
def expected(solver: str, objective: str, setting: str, form: str, monitored: bool) -> bytes:
    problem, shards, stopping = job(objective, form, setting, monitored)
    return learnt(Training(problem, solver, stopping, True), shards, None)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CASES), st.sampled_from(sorted(FORMS)), st.booleans(), st.integers(0, 2**32))
def test_any_allocation_learns_the_same(case: tuple[str, str, str], form: str, monitored: bool, seed: int) -> None:
    solver, objective, setting = case
    problem, shards, stopping = job(objective, form, setting, monitored)
    got = learnt(Training(problem, solver, stopping, True), shards, np.random.default_rng(seed))
    assert got == expected(solver, objective, setting, form, monitored)


@pytest.mark.parametrize("solver", sorted(set(SOLVERS) - {"sklearn-sgd"}))
@pytest.mark.parametrize("form", sorted(FORMS))
def test_rows_in_every_form_whoever_computes_them(solver: str, form: str) -> None:
    objective = "squared" if solver == "exact" else "softmax"
    problem, shards, stopping = job(objective, form, "plain", True)
    for seed in (1, 2):
        got = learnt(Training(problem, solver, stopping, True), shards, np.random.default_rng(seed))
        assert got == expected(solver, objective, "plain", form, True)


def test_wild_steps_and_repeated_rounds_whoever_computes_them() -> None:
    """Scales grow and shrink here by dozens of bits in a round."""
    X = np.linspace(-1.0, 1.0, 60)[:, None]
    y = np.random.default_rng(0).poisson(np.exp(13.0 + X[:, 0])).astype(np.float64)
    rows = Rows(X, y)
    shards = cut_rows(rows, NUM_SHARDS)
    for solver in ("newton", "lbfgs"):
        trainings = [Training(problem_of(rows, NUM_SHARDS, "poisson"), solver, Stopping(60), True) for _ in range(3)]
        runs = {
            learnt(training, shards, None if seed is None else np.random.default_rng(seed))
            for training, seed in zip(trainings, (None, 1, 2), strict=True)
        }
        assert len(runs) == 1
