"""Several jobs on real processes: they come, wait, lose their workers, get others, and learn the same."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from policies.interface import ClusterPlan, ClusterSnapshot, Grant, Memo, Policy, Unplaced
from policies.presets import resolve
from scheduler.inventory import logical_views
from scheduler.job_file import load_job
from scheduler.live import LiveJob, run_workload
from scheduler.preparation import Prepared, prepare
from scheduler.results.outcome import Activity, JobOutcome, RunOutcome, Status
from scheduler.session import Session
from scheduler.simulation.arrivals import at, named
from scheduler.simulation.profile import profile
from workers.sequential import train

pytestmark = pytest.mark.cluster
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def prepared(workers: int, rounds: int, **fields: Any) -> Prepared:
    settings = {
        "workers.count": workers,
        "shards": 8,
        "training": {"solver": "gradient-descent", "rounds": rounds, "tolerance": 0.0},
    }
    return prepare(load_job(EXAMPLES / "diabetes.yaml", settings | fields))


def live(job: Prepared, name: str, at_s: float = 0.0) -> LiveJob:
    return LiveJob(job, at(named(profile(job, budget_s=0.2), name), at_s))


def sequential_sha256(job: Prepared) -> tuple[int, bytes]:
    outcome = train(job.training(), job.data.load(range(job.job.shards)))
    return outcome.rounds, b"".join(array.tobytes() for array in outcome.arrays.values())


def of(run: RunOutcome, name: str) -> JobOutcome:
    return next(job for job in run.jobs if job.id == name)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(session: Session) -> Any:
    del session
    yield
    assert all(view.free == view.capacity for view in freed())


def freed() -> Any:
    """Return the nodes once Ray has noticed that nobody is there any more, or after a while."""
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s and any(view.free != view.capacity for view in logical_views()):
        time.sleep(0.1)
    return logical_views()


def test_jobs_wait_for_one_another_and_learn_the_same() -> None:
    job = prepared(5, 20)
    jobs = [live(job, f"job-{number}") for number in range(3)]
    run = run_workload(jobs, resolve("equal"), 0)
    assert run.live and run.policy == "equal"
    assert [done.status for done in run.jobs] == [Status.FINISHED] * 3
    assert len({done.model_sha256 for done in run.jobs}) == 1
    first, second, third = sorted(run.jobs, key=lambda done: done.started_s)
    assert second.started_s >= first.ended_s and third.started_s >= second.ended_s  # 8 processors, 5 for each
    assert run.ended_s == pytest.approx(third.ended_s)


def test_an_outcome_tells_rounds_intervals_and_use() -> None:
    job = prepared(3, 15)
    run = run_workload([live(job, "only")], resolve("adaptive-pull"), 3)
    only = of(run, "only")
    assert run.seed == 3 and only.workers == 3
    assert len(only.rounds) >= 15 and only.bytes_moved > 0 and only.shards_moved >= 8
    ends_s = [done.ended_s for done in only.rounds]
    assert ends_s == sorted(ends_s) and only.started_s < ends_s[0] and ends_s[-1] <= only.ended_s
    assert all(len(done.busy_s) == 3 for done in only.rounds)
    assert {one.activity for one in run.intervals} >= {Activity.STARTING, Activity.BUSY}
    assert {one.node for one in run.intervals} <= {node.id for node in run.nodes}
    for number in range(3):  # nobody is in two places at a time
        mine = sorted((one.from_s, one.to_s) for one in run.intervals if one.worker == number)
        assert all(ends_s <= starts_s + 1e-6 for (_, ends_s), (starts_s, _) in itertools.pairwise(mine))
    assert max(use.used.cpu for use in run.uses) == 3.0 and run.uses[-1].used.cpu == 0.0
    assert only.worker_s == pytest.approx(3 * (only.ended_s - only.started_s), rel=0.05)
    assert math.isfinite(only.alone_s) and math.isfinite(only.fair_s)


class Shuffling(Policy):
    """Gives the first job other workers at every step: none, one, three, on other leases."""

    name = "shuffling"
    balance = resolve("adaptive-pull").balance

    def plan(self, snapshot: ClusterSnapshot, memo: Memo | None = None) -> ClusterPlan:
        del memo
        job = snapshot.jobs[0]
        step = int(snapshot.state.get("step", 0))
        node = snapshot.nodes.ids[0]
        wanted = ((0, 1), (2,), (), (0, 3, 4), (3, 0), (1,))[step % 6]
        held = {lease.worker: lease for lease in snapshot.leases}
        return ClusterPlan(
            snapshot.version,
            tuple(Grant(job.id, worker, node) for worker in wanted if worker not in held),
            unplaced=() if wanted else (Unplaced(job.id, 0, 1, ()),),
            revokes=tuple(lease for worker, lease in held.items() if worker not in wanted),
            state={"step": step + 1},
        )


def test_a_job_whose_workers_change_again_and_again_learns_the_same() -> None:
    job = prepared(1, 3000)
    rounds, bits = sequential_sha256(job)
    profiled = live(job, "restless")
    view = replace(profiled.view, max_workers=4)
    restless = replace(profiled, profile=replace(profiled.profile, view=view))
    run = run_workload([restless], Shuffling(), 0, every_s=2.0)
    only = of(run, "restless")
    assert only.status is Status.FINISHED, only.reason
    assert only.preemptions >= 1
    assert only.model_sha256 == run_workload([live(job, "calm")], resolve("equal"), 0).jobs[0].model_sha256
    assert len(only.rounds) >= rounds and bits
    sizes = Counter(len(done.busy_s) for done in only.rounds)
    assert len(sizes) >= 2, sizes


def test_a_shorter_job_goes_first_and_the_longer_one_goes_on_later() -> None:
    long, short = prepared(8, 4000), prepared(8, 10)
    run = run_workload([live(long, "long"), live(short, "short", 4.0)], resolve("srtf+equal"), 0)
    assert of(run, "long").status is Status.FINISHED, of(run, "long").reason
    assert of(run, "short").ended_s < of(run, "long").ended_s
    assert of(run, "long").preemptions == 1 and of(run, "short").preemptions == 0
    calm = run_workload([live(long, "long")], resolve("equal"), 0)
    assert of(run, "long").model_sha256 == calm.jobs[0].model_sha256


def test_a_job_that_fails_or_never_fits_does_not_stop_the_others() -> None:
    wild = prepared(1, 50, **{"training.learning_rate": 1e6, "training.solver": "sgd"})
    jobs = [live(prepared(2, 5), "good"), live(prepared(99, 5), "huge")]
    jobs.append(LiveJob(wild, named(jobs[0].profile, "wild")))
    run = run_workload(jobs, resolve("equal"), 0)
    assert of(run, "good").status is Status.FINISHED
    assert of(run, "huge").status is Status.NEVER_FITS and "room for 8" in of(run, "huge").reason
    assert of(run, "wild").status is Status.FAILED and np.isnan(of(run, "wild").ended_s)
    assert "learning rate" in of(run, "wild").reason


class Refusing(Policy):
    """Places nobody."""

    name = "refusing"
    needs_running = False
    balance = resolve("equal").balance

    def plan(self, snapshot: ClusterSnapshot, memo: Memo | None = None) -> ClusterPlan:
        del memo
        return ClusterPlan(snapshot.version, unplaced=tuple(Unplaced(job.id, 0, 1, ()) for job in snapshot.jobs))


def test_a_job_that_a_policy_never_places_is_let_go() -> None:
    run = run_workload([live(prepared(1, 5), "waiting")], Refusing(), 0)
    assert of(run, "waiting").status is Status.UNFINISHED and "only 0 of 1 fit" in of(run, "waiting").reason
    assert run.failed_placements >= 1


def test_a_job_waits_for_what_others_hold() -> None:
    group = ray.util.placement_group([{"CPU": 6.0}])
    ray.get(group.ready())
    leaves = threading.Timer(5.0, ray.util.remove_placement_group, (group,))
    leaves.start()
    run = run_workload([live(prepared(4, 5), "patient")], resolve("equal"), 0)
    leaves.join()
    assert of(run, "patient").status is Status.FINISHED
    assert of(run, "patient").started_s > 3.0
