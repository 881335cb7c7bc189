"""Robust means: by hand, with bad shards among good ones, and whoever computes what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_cases import cut, fused, learn, problem_for, quick, regression

from workers.aggregation import AGGREGATIONS, Aggregation, krum, median, trimmed_mean
from workers.data.rows import Rows
from workers.data.shard import Shard
from workers.exact_sum import Floats
from workers.parameter_store import ParameterStore, Verdict
from workers.sequential import rounds
from workers.stopping import Stopping
from workers.training import Training
from workers.update import CallSums, call_update

ROBUST = sorted(name for name in AGGREGATIONS if name != "sum")
SOLVERS = ["gradient-descent", "sgd", "local-sgd"]


def test_means_by_hand() -> None:
    updates = np.array([[1.0, 10.0], [2.0, -50.0], [3.0, 30.0], [4.0, 20.0], [1e9, 40.0]])
    assert median(updates, 0).tolist() == [3.0, 20.0]
    assert median(updates[:4], 0).tolist() == [2.5, 15.0]
    assert trimmed_mean(updates, 1).tolist() == [3.0, 20.0]
    assert trimmed_mean(updates, 0).tolist() == updates.mean(axis=0).tolist()
    assert krum(np.array([[0.0], [1.0], [1.5], [2.0], [90.0]]), 1).tolist() == [1.5]
    for rule in AGGREGATIONS:
        assert Aggregation(rule).total(np.full((4, 2), 3.0)).tolist() == [12.0, 12.0]


def test_the_odd_update_is_never_krums_choice() -> None:
    """However far away: distances may overflow."""
    for far in (1e3, 1e155, 1e308):
        assert krum(np.array([[1.0], [1.1], [0.9], [-far], [1.0]]), 1)[0] in (1.0, 1.1, 0.9)


@quick
@given(st.integers(1, 40), st.integers(0, 2**32))
def test_a_minority_cannot_move_a_robust_mean_out_of_the_others_range(num_shards: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    updates = random.standard_normal((num_shards, 3))
    for rule in ("median", "trimmed-mean"):
        aggregation = Aggregation(rule, 0.3)
        bad = random.choice(num_shards, aggregation.bad(num_shards), replace=False)
        poisoned = updates.copy()
        poisoned[bad] = random.choice([-1e200, 1e200, 1e6], (len(bad), 3))
        good = np.delete(updates, bad, axis=0)
        got = aggregation.total(poisoned) / num_shards
        assert (got >= good.min(axis=0) - 1e-9).all() and (got <= good.max(axis=0) + 1e-9).all()


def test_of_few_shards_at_least_one_may_be_bad_and_never_half() -> None:
    bad = {n: Aggregation("trimmed-mean", 0.1).bad(n) for n in (1, 2, 3, 5, 10, 11, 30, 100)}
    assert bad == {1: 0, 2: 0, 3: 1, 5: 1, 10: 1, 11: 2, 30: 3, 100: 10}
    assert Aggregation("krum", 0.0).bad(50) == 0
    assert all(2 * Aggregation("krum", 0.49).bad(n) < n for n in range(1, 50))


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown aggregation 'mean'; the choices are sum, median"):
        Aggregation("mean")
    with pytest.raises(ValueError, match=r"at least 0 and less than 0\.5, got 0\.5"):
        Aggregation("krum", 0.5)


# --- in training ---------------------------------------------------------------------------------------------


def shards_of(poisoned: bool, validation: bool = False) -> tuple[Floats, Floats, list[Shard]]:
    """Return eight shards, of which one may have targets that are a million times as large."""
    X, y = regression(160)
    y = y - y.mean()
    shards = cut(X, y, 8)
    if poisoned:
        shards[3] = replace(shards[3], train=Rows(shards[3].train.X, 1e6 * shards[3].train.y))
    if validation:
        shards = [replace(shard, validation=Rows(*regression(5, 100 + shard.index))) for shard in shards]
    return X, y, shards


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("rule", ROBUST)
def test_one_poisoned_shard_does_not_spoil_the_rest(rule: str, solver: str) -> None:
    errors = {}
    for name in ("sum", rule):
        X, y, shards = shards_of(poisoned=True)
        options = {
            "aggregation": Aggregation(name),
            "learning_rate": 0.1 if solver == "sgd" else 0.05,
            "batch_size": 10,
        }
        outcome, _ = learn(problem_for(X, y, 8, **options), shards, solver, 120)
        errors[name] = float(((X @ outcome.weights[:, 0] + outcome.intercepts - y) ** 2).mean())
    assert errors[rule] < 0.2 * float((y**2).mean())
    assert errors["sum"] > 1e6 * errors[rule]


def store_run(training: Training, shards: list[Shard], seed: int | None) -> bytes:
    """Train with calls of random shards (None: one call for each), some of them twice."""
    random = np.random.default_rng(seed)
    store = ParameterStore(training)
    while training.outcome is None:
        order = np.arange(8) if seed is None else random.permutation(8)
        ends = np.arange(1, 8) if seed is None else np.flatnonzero(random.random(7) < 0.4) + 1
        for part in np.split(order, ends):
            sums = call_update(training.problem, store.message, [shards[index] for index in part], {})
            assert store.offer(store.message.version, part, sums) is Verdict.ACCEPTED
            assert store.offer(store.message.version, part, sums) is Verdict.DUPLICATE
        store.commit()
    return fused(training).tobytes() + repr(training.outcome).encode()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("rule", ROBUST)
def test_any_grouping_gives_the_same_bits_monitored_or_not(rule: str, solver: str) -> None:
    X, y, shards = shards_of(poisoned=True, validation=True)
    problem = problem_for(X, y, 8, aggregation=Aggregation(rule), learning_rate=0.05, batch_size=10)
    for stopping in (Stopping(4), Stopping(4, patience=50)):
        runs = [store_run(Training(problem, solver, stopping, True), shards, seed) for seed in (None, 1, 2)]
        assert len(set(runs)) == 1


@pytest.mark.parametrize("rule", ROBUST)
def test_measuring_the_validation_rows_has_no_say_in_who_is_odd(rule: str) -> None:
    X, y, shards = shards_of(poisoned=False, validation=True)
    shards[2] = replace(shards[2], validation=Rows(X[:40], 1e9 * y[:40]))
    problem = problem_for(X, y, 8, aggregation=Aggregation(rule), learning_rate=0.05)
    paths = []
    for stopping in (Stopping(6), Stopping(6, patience=50)):
        training = Training(problem, "gradient-descent", stopping, True)
        paths.append([report.loss for report in rounds(training, shards) if report.stage == "gradient-descent"])
    assert paths[0] == paths[1]


def test_validation_sums_are_sums_whatever_the_rule() -> None:
    X, y, shards = shards_of(poisoned=False, validation=True)
    measured = []
    for rule in AGGREGATIONS:
        problem = problem_for(X, y, 8, aggregation=Aggregation(rule), learning_rate=0.05)
        training = Training(problem, "gradient-descent", Stopping(1, patience=5), True)
        measured += [report.validation for report in rounds(training, shards) if report.validation is not None]
    targets = np.concatenate([shard.validation.y for shard in shards])
    expected = float((targets**2).mean())
    assert all(metric == pytest.approx(expected, rel=1e-12) for _, metric in measured)


def test_updates_apart_must_fit_the_message() -> None:
    X, y, shards = shards_of(poisoned=False)
    problem = problem_for(X, y, 8, aggregation=Aggregation("median"), learning_rate=0.05)
    training = Training(problem, "gradient-descent", Stopping(2), False)
    store = ParameterStore(training)
    assert store.message.apart and training.keeps_apart
    chosen = np.array([1, 4])
    sums = call_update(problem, store.message, [shards[1], shards[4]], {})
    assert sums.apart is not None and sums.apart.shape == (2, 6)
    for wrong in (sums.apart[:1], sums.apart[:, :5], sums.apart[0]):
        with pytest.raises(ValueError, match=r"updates of shape .*, expected \(2, 6\)"):
            store.offer(1, chosen, CallSums(None, sums.peaks, wrong))
    with pytest.raises(ValueError, match="must come apart where the message asks for it"):
        store.offer(1, chosen, CallSums(np.zeros(6, np.int64), sums.peaks))
    assert store.missing.tolist() == list(range(8))
    plain = ParameterStore(Training(problem_for(X, y, 8, learning_rate=0.05), "gradient-descent", Stopping(2), False))
    with pytest.raises(ValueError, match="and only there"):
        plain.offer(1, chosen, CallSums(None, sums.peaks, sums.apart))


def test_only_the_solvers_rounds_come_apart() -> None:
    X, y, shards = shards_of(poisoned=False)
    problem = problem_for(X, y, 8, aggregation=Aggregation("median"))
    training = Training(problem, "gradient-descent", Stopping(2), True)
    seen = {}
    for report in rounds(training, shards):
        seen[report.stage] = training.keeps_apart_in(report.stage)
    assert seen == {"moments": False, "curvature": False, "gradient-descent": True, "exact": False, "evaluate": False}
