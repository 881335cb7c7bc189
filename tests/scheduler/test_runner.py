"""The driver's part of a run, as far as it needs no cluster."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from policies.presets import resolve
from scheduler import runner
from scheduler.errors import UserError
from scheduler.job_file import load_job
from scheduler.observer import Observer
from scheduler.outputs import Finished
from scheduler.runner import RunOptions, run_job, start_preparing
from workers.errors import DataError

JOB = load_job(Path(__file__).resolve().parents[2] / "examples" / "diabetes.yaml")


def test_a_run_that_cannot_connect_does_not_wait_for_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(runner, "prepare", lambda _: goes_on.wait(60))
    before = set(threading.enumerate())
    try:
        with pytest.raises(UserError, match="address 'nonsense'"):
            run_job(JOB, resolve("equal"), RunOptions("nonsense"), Observer())
        (reading,) = set(threading.enumerate()) - before
        assert reading.daemon  # the others are joined when Python ends
    finally:
        goes_on.set()


def test_what_is_wrong_with_the_data_is_raised_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> Any:
        raise DataError("no rows")

    assert start_preparing(JOB).result().job == JOB
    monkeypatch.setattr(runner, "prepare", fail)
    with pytest.raises(DataError, match="no rows"):
        start_preparing(JOB).result()


def test_a_model_is_saved_nowhere_but_where_it_is_wanted() -> None:
    finished = Finished(SimpleNamespace(), SimpleNamespace(output=""))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="set the recipe's 'output', or name a folder"):
        finished.save()
