"""What the benchmark of mixed clusters computes from what it measured."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.mixed import problem, stragglers
from benchmarks.mixed.__main__ import one_model_each
from benchmarks.mixed.ours import Rounds, Timed, bound_s, speeds, to_target_s
from scheduler.results.outcome import RoundOutcome
from scheduler.simulation.traces import alibaba
from workers.outcome import RoundReport


def run(busy_s: list[tuple[float, ...]], rows: tuple[int, ...], stages: list[str] | None = None) -> Timed:
    result: Any = SimpleNamespace(
        rounds=tuple(RoundOutcome(1.0, 1.0, busy, 0, 0, None) for busy in busy_s),
        reports=tuple(RoundReport(stage, 1, None) for stage in stages or ["solve"] * len(busy_s)),
        workers=tuple(SimpleNamespace(rows=num) for num in rows),
        seconds_by_round=(),
    )
    return Timed("equal", result, "", 0.0)


def test_the_bound_is_all_rows_at_the_speeds_of_all() -> None:
    """100 and 200 rows a second: 300 rows in a second; in the second round one worker is half as fast."""
    found = run([(1.0, 1.0), (2.0, 1.0)], (100, 200))
    assert bound_s(found) == pytest.approx(300 / 300 + 300 / 250)


def test_speeds_are_those_of_the_solver() -> None:
    found = run([(9.0, 9.0), (1.0, 2.0), (3.0, 2.0), (2.0, 0.0)], (100, 200), ["moments", "solve", "solve", "solve"])
    assert speeds(found, "solve").tolist() == [50.0, 100.0]
    assert speeds(found, "solve", slice(2, None)).tolist() == [50.0, 0.0]


def test_seconds_to_the_target_end_with_the_round_that_reaches_it() -> None:
    assert to_target_s([1.0, 2.0, 4.0], [9.0, 5.0, 4.0], 5.0) == 3.0
    assert to_target_s([1.0, 2.0], [9.0, 8.0], 5.0) is None


def test_somebody_is_called_after_so_many_rounds_of_the_solver() -> None:
    called: list[int] = []
    observer = Rounds("solve", 2, lambda: called.append(1))
    for stage in ("moments", "solve", "evaluate"):
        observer.trained(RoundReport(stage, 1, None))
    assert not called
    observer.trained(RoundReport("solve", 2, None))
    observer.trained(RoundReport("solve", 3, None))
    assert called == [1]


def test_another_model_is_noticed() -> None:
    def rows(*hashes: str) -> list[dict[str, str]]:
        return [{"sha256": one} for one in hashes]

    layouts = [{"turns": [rows("a", "a")]}, {"turns": [rows("b", "b")]}]
    assert one_model_each({"speeds": layouts, "stragglers": {"job_1": rows("c", "c")}, "slowing": {"runs": rows("d")}})
    assert not one_model_each({"speeds": layouts, "bandwidth": {"runs": rows("a", "b")}})
    assert one_model_each({"stragglers": "skipped: no data"})


def test_an_excerpt_of_a_trace_is_a_trace(tmp_path: Path) -> None:
    lines = [",worker,gpu,time,batch_time_norm"]
    lines += [
        f"{time * 10 + worker},{worker},25,{time},{100 + worker}"
        for time in range(1, stragglers.ITERATIONS + 3)
        for worker in range(10)
    ]
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "job.csv").write_text("\n".join(lines))
    path = stragglers.excerpt(tmp_path / "source" / "job.csv", tmp_path)
    trace = alibaba.read_trace(path, 0.01, 4)
    (job,) = trace.workload.jobs
    assert (len(trace.fleet.machines), job.view.min_workers) == (5, 5)
    assert job.learning is not None
    assert job.learning.rounds == stragglers.ITERATIONS
    assert set(stragglers.simulated_s(trace)) == set(stragglers.POLICIES)


def test_the_problem_has_an_optimum_that_rounds_approach(tmp_path: Path) -> None:
    made = problem.make(tmp_path, 20_000)
    prepared = problem.job_of(made, 2, 6, 8)
    values = problem.objectives(made, prepared)
    assert len(values) == 6
    assert np.all(np.array(values) > made.optimum)
    assert values[-1] < values[0]
    assert prepared.job.workers.count == 2
