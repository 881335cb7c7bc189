"""Asynchronous modes on real processes: they learn, keep their bounds, and their records replay to the same bits."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from policies.interface import Policy
from policies.presets import resolve
from scheduler.driving import answer, spec_of
from scheduler.errors import RunFailedError
from scheduler.gang import Gang
from scheduler.job import Job
from scheduler.job_file import load_job
from scheduler.observer import Observer
from scheduler.outputs import Finished, conclude
from scheduler.pool import Pool
from scheduler.preparation import Prepared, prepare
from scheduler.record_file import RECORD_FILE, read_record
from scheduler.replaying import replay_output
from scheduler.run import RunResult
from scheduler.runner import run_connected
from scheduler.session import Session
from workers.sequential import train

pytestmark = pytest.mark.cluster
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ROUNDS = 40


def job_of(mode: Any, output: Path, **training: Any) -> Job:
    settings = {"solver": "local-sgd", "rounds": ROUNDS, "tolerance": 0.0, "mode": mode, **training}
    fields = {"training": settings, "shards": 9, "workers.count": 3, "output": str(output), "model.l2": 0.01}
    return load_job(EXAMPLES / "breast_cancer.yaml", fields)


def objective_of(prepared: Prepared, finished: Finished) -> float:
    """Return the mean loss of the model over the training rows, without penalty."""
    rows = [shard.train for shard in prepared.data.load(range(9))]
    objective = prepared.problem.objective
    total = sum(objective.measured(finished.model.margins(part.X), part)[0] for part in rows)
    return total / sum(map(len, rows))


@pytest.mark.parametrize(
    ("mode", "policy", "solver"),
    [
        ("asp", "equal", "local-sgd"),
        ({"ssp": {"staleness": 1}}, "adaptive", "local-sgd"),
        ("ssp", "adaptive-pull", "sgd"),
        ("backup", "speed-proportional", "gradient-descent"),
    ],
    ids=str,
)
def test_a_mode_learns_nearly_as_much_and_replays(
    session: Session, tmp_path: Path, mode: Any, policy: str, solver: str
) -> None:
    del session
    prepared = prepare(job_of(mode, tmp_path / "out", solver=solver))
    finished = run_connected(prepared, resolve(policy), Observer())
    finished.save()
    replayed = replay_output(tmp_path / "out")
    assert replayed.same and replayed.model_sha256 == finished.summary.model_sha256
    staleness = finished.summary.staleness
    assert staleness is not None and staleness["bound_held"]
    assert staleness["max"] == 0 or finished.summary.mode != "backup"
    assert finished.summary.rounds == ROUNDS
    synchronous = prepare(job_of("synchronous", tmp_path, solver=solver))
    outcome = train(synchronous.training(), synchronous.data.load(range(9)))
    wanted = replace(finished, model=replace(finished.model, arrays=outcome.arrays))
    assert objective_of(prepared, finished) < 1.3 * objective_of(prepared, wanted)


def test_workers_that_leave_and_come_keep_the_bound(session: Session, tmp_path: Path) -> None:
    """Three, two of them, none for a while, and three again, of which one is new."""
    del session
    prepared = prepare(job_of("ssp", tmp_path / "out", rounds=1_000_000, time_s=4.0))
    policy: Policy = resolve("equal")

    def work(gang: Gang) -> RunResult:
        done = gang.server.run.remote(spec_of(prepared, policy, "j"))
        leases = list(gang._workers)
        for present in (leases[:2], [], leases):
            reached = ray.get(gang.server.num_rounds.remote()) + 10
            while ray.get(gang.server.num_rounds.remote()) < reached and not ray.wait([done], timeout=0.02)[0]:
                pass
            gang.seat(present)
            if not present:
                time.sleep(0.2)
                gang.seat(leases[:1])
        result: RunResult = answer(done)
        return result

    with Pool() as pool:
        result = pool.lend(prepared.view(time.time()), policy, 0, work)
    finished = conclude(prepared, policy.name, result, 1.0)
    finished.save()
    assert finished.summary.reason == "the time budget of 4 s is spent"
    assert result.staleness is not None and result.staleness.bound_held and result.staleness.clocks <= 3
    record = read_record(tmp_path / "out" / RECORD_FILE).record
    assert {call.worker for update in record.updates for call in update} == {"worker-0", "worker-1", "worker-2"}
    assert replay_output(tmp_path / "out").same


def test_a_learning_rate_far_too_large_is_told(session: Session, tmp_path: Path) -> None:
    del session
    prepared = prepare(job_of("asp", tmp_path, learning_rate=1e300))
    with pytest.raises(RunFailedError, match="local-sgd, round"):
        run_connected(prepared, resolve("equal"), Observer())
