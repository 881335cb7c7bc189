"""Gavel's jobs and their replay: on made jobs, and one seed of the published experiment in a band."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from statistics import mean

import pytest

from benchmarks import gavel, gavel_trace, public_data
from policies.interface import JobView, frozen
from policies.joint.min_makespan import MinMakespan

RATES = {"v100": frozen([2.0]), "p100": frozen([1.0]), "k80": frozen([0.5])}


@pytest.fixture
def data(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if not (data_folder / "gavel").is_dir():
        pytest.skip(f"Gavel's throughputs are absent: {data_folder / 'gavel'} (set APPORTION_DATA)")
    monkeypatch.setattr(public_data, "DATA", data_folder)
    return data_folder


def made(number: int, work: float, submitted_s: float = 0.0) -> JobView:
    return JobView(f"job-{number:03d}", submitted_s, gavel_trace.BUNDLE, 1, 1, work=work, rates=RATES)


def test_a_replay_ends_each_job_when_its_work_is_done() -> None:
    outcome = gavel_trace.Replay(MinMakespan(), check=True).run([made(0, 7200.0), made(1, 1000.0, submitted_s=100.0)])
    assert outcome.ended_s == {"job-000": 3600.0, "job-001": 360.0 + 500.0}, "the second waits for the next round"
    assert (outcome.rounds, outcome.started) == (10, 2)


def test_a_replay_goes_on_to_the_next_arrival_and_stops_after_those_that_count() -> None:
    late = [made(0, 720.0), made(1, 720.0, submitted_s=1e6), made(2, 720.0, submitted_s=2e6)]
    outcome = gavel_trace.Replay(MinMakespan(), check=True).run(late, frozenset({"job-001"}))
    assert outcome.ended_s == {"job-000": 360.0, "job-001": 1e6 + 360.0}


def test_gangs_are_drawn_as_often_as_they_are(data: Path) -> None:
    some = list(islice(gavel_trace.jobs(0), 2000))
    for gpus, share in ((1, 0.7), (2, 0.1), (4, 0.15), (8, 0.05)):
        assert sum(job.min_workers == gpus for job in some) / len(some) == pytest.approx(share, abs=0.03)
    assert {job.submitted_s for job in some} == {0.0}
    assert len({job.rates["v100"][-1] for job in some if job.min_workers == 1}) == 26


def test_jobs_arrive_at_the_rate(data: Path) -> None:
    some = list(islice(gavel_trace.jobs(1, per_hour=4.0, several_gpus=False), 2000))
    assert {job.min_workers for job in some} == {1}
    assert some[-1].submitted_s / 3600 == pytest.approx(500, rel=0.1)


@pytest.mark.parametrize("num_jobs", [100, 700])
def test_the_bound_is_near_the_published_makespans(data: Path, num_jobs: int) -> None:
    bound = mean(gavel.static(num_jobs, seed, [])["bound_h"] for seed in gavel.SEEDS)
    published = gavel.PUBLISHED["min_total_duration_perf"][gavel.JOBS.index(num_jobs)]
    assert bound == pytest.approx(published, rel=0.03)


def test_min_makespan_comes_near_the_bound(data: Path) -> None:
    row = gavel.static(200, 1, ["min-makespan"])
    assert row["bound_h"] * (1 - 1e-6) <= row["min-makespan"] <= 1.005 * row["bound_h"]


def test_the_tables_have_a_line_a_size() -> None:
    rows = [{"jobs": 100, "seed": seed, "bound_h": 160.0, "min-makespan": 160.8} for seed in (0, 1)]
    table = gavel.static_table(rows, ["min-makespan"]).splitlines()
    assert table[2] == "| 100 | 182.32 | 161.16 | 160.00 | -0.72 % | 160.80 | 0.50 % (worst 0.50 %) |"
    shown = gavel.continuous_table([{"rate": 4.4, "seed": 0, "allox": 18.0, "mine": 20.0}], ["allox", "mine"])
    assert shown.splitlines()[2] == "| 4.4 | 18.00 | 18.54 | 20.00 | - |"
