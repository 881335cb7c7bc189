"""Shards that move from round to round, and within one, on real processes: the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.composed import Composed
from policies.interface import Assignment, Balance, Ints, RoundView
from policies.order.fifo import Fifo
from policies.place.spread import Spread
from policies.presets import resolve
from scheduler.job import Job
from scheduler.job_file import load_job
from scheduler.observer import Observer
from scheduler.preparation import prepare
from scheduler.runner import run_connected
from scheduler.session import Session
from workers.sequential import train

pytestmark = pytest.mark.cluster
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Wander(Balance):
    """Give every shard to another worker in every round, and keep some back for whoever is idle."""

    name = "wander"
    source = "this test"
    redivides = True

    def divide(self, view: RoundView) -> Assignment:
        turn = np.arange(len(view.shards)) + view.round
        back = view.pulls and view.round % 3 == 0
        return Assignment(np.where((turn % 4 == 0) & back, -1, turn % len(view.workers)), {"turns": view.round})

    def next(self, view: RoundView, worker: int) -> Ints:
        return view.pending[:1]


def job_of(**overrides: Any) -> Job:
    fields = {"training.rounds": 6, "training.local_epochs": 1, "shards": 8, "workers.count": 3}
    return load_job(EXAMPLES / "diabetes.yaml", fields | overrides)


def bits(outcome: Any) -> bytes:
    return b"".join(array.tobytes() for array in outcome.arrays.values())


@pytest.mark.parametrize("solver", ["local-svrg", "exact"])
def test_wandering_shards_give_the_same_model(session: Session, solver: str) -> None:
    del session
    prepared = prepare(job_of(**{"training.solver": solver}))
    wanted = bits(train(prepared.training(), prepared.data.load(range(8))))
    for balance in (Wander(), resolve("adaptive-pull").balance):
        finished = run_connected(prepared, Composed(Fifo(), Spread(), balance), Observer())
        assert bits(finished.model) == wanted
        assert sorted(shard for worker in finished.summary.workers for shard in worker.shards) == list(range(8))
        read = finished.summary.bytes_moved["shards"]
        if balance.name == "wander":  # every worker has read every shard that it had at some time
            assert read > prepared.data.nbytes.sum()
