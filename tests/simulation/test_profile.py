"""Jobs that were trained for a moment."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from scheduler.job_file import load_job
from scheduler.preparation import Prepared, prepare
from scheduler.simulation.profile import profile

DIABETES = Path(__file__).resolve().parents[2] / "examples" / "diabetes.yaml"


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(load_job(DIABETES, {"training.rounds": 20, "training.solver": "local-sgd", "training.tolerance": 0}))


def ticking(step_s: float) -> object:
    ticks = count()
    return lambda: next(ticks) * step_s


def test_rounds_and_losses_are_the_jobs_own(prepared: Prepared) -> None:
    one, two = profile(prepared).learning, profile(prepared).learning
    assert one is not None
    assert two is not None
    assert (one.rounds, one.losses) == (two.rounds, two.losses)
    assert 20 <= one.rounds == len(one.losses)  # with those before the solver's own
    known = [loss for loss in one.losses if loss is not None]
    assert known[-1] < known[0]
    assert (one.shards.work.sum(), len(one.shards)) == (353, 4)
    assert min(one.message_bytes, one.update_bytes) > 8 * 11  # ten weights and an intercept, at the least


def test_seconds_a_row_are_those_of_the_clock(prepared: Prepared) -> None:
    job = profile(prepared, 7.0, budget_s=1e9, clock=ticking(0.5))  # type: ignore[arg-type]
    learning = job.learning
    assert learning is not None
    attempts = learning.s_per_work * 353 * learning.rounds / 0.5
    assert attempts == pytest.approx(round(attempts))  # each call lasts a tick
    assert attempts >= learning.rounds
    assert job.view.submitted_s == 7.0
    assert job.view.work == learning.rounds * 353
    assert job.view.rates[""].tolist() == pytest.approx([1 / learning.s_per_work, 2 / learning.s_per_work])


def test_what_is_left_when_the_budget_is_spent_is_taken_to_be_alike(prepared: Prepared) -> None:
    learning = profile(prepared, budget_s=2.0, clock=ticking(0.5)).learning  # type: ignore[arg-type]
    assert learning is not None
    assert learning.rounds == 20
    assert 1 <= len(learning.losses) < 10


def test_stages_before_the_solvers_own_do_not_count_for_what_is_left(prepared: Prepared) -> None:
    whole = profile(prepared, budget_s=1e9, clock=ticking(0.5)).learning  # type: ignore[arg-type]
    cut = profile(prepared, budget_s=35.0, clock=ticking(0.5)).learning  # type: ignore[arg-type]
    assert whole is not None and cut is not None
    assert whole.rounds - 20 < len(cut.losses) < whole.rounds
    assert whole.rounds - 2 <= cut.rounds <= whole.rounds  # the model is evaluated in the end
    assert cut.s_per_work == pytest.approx(whole.s_per_work, rel=0.1)  # a call lasts a tick, but some rounds have two
