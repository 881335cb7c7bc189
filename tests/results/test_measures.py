"""Measures and what is said of them, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.interface import Resources
from scheduler.report.measures_page import page
from scheduler.results.comparison import Comparison
from scheduler.results.measures import MEASURES
from scheduler.results.outcome import JobOutcome, RoundOutcome, RunOutcome, Status, Use
from scheduler.results.statistics import estimate, main_measure, ranking, ratio, verdicts

CPU = Resources(1.0)


def job(name: str, submitted_s: float, ended_s: float, **fields: object) -> JobOutcome:
    done = {"status": Status.FINISHED, "started_s": submitted_s + 1.0, **fields}
    return JobOutcome(name, submitted_s, CPU, ended_s=ended_s, **done)  # type: ignore[arg-type]


def run(*jobs: JobOutcome, policy: str = "p", seed: int = 0, **fields: object) -> RunOutcome:
    ended_s = max((one.ended_s for one in jobs if not math.isnan(one.ended_s)), default=0.0)
    return RunOutcome(policy, seed, False, ended_s, (), jobs, **fields)  # type: ignore[arg-type]


def measured(name: str, outcome: RunOutcome) -> float:
    return MEASURES[name].of(outcome)


TWO = run(
    job("a", 0.0, 4.0, alone_s=4.0, fair_s=4.0, worker_s=4.0, deadline_s=4.0),
    job("b", 2.0, 11.0, alone_s=3.0, fair_s=6.0, worker_s=6.0, deadline_s=9.0, preemptions=2, cost=0.5),
    lower_bound_s=10.0,
    decisions_s=(0.1, 0.3),
    failed_placements=3,
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("makespan_s", 11.0),
        ("jct_mean_s", 6.5),
        ("jct_geometric_s", 6.0),
        ("jct_p50_s", 6.5),
        ("queueing_s", 1.0),
        ("slowdown", (1.0 + 3.0) / 2),
        ("unfairness_worst", 1.5),
        ("unfair_jobs", 50.0),
        ("jain", (1 + 1 / 3) ** 2 / (2 * (1 + 1 / 9))),
        ("gap_to_bound", 10.0),
        ("preemptions", 2.0),
        ("cost", 0.5),
        ("goodput", 100.0),
        ("late_jobs", 50.0),
        ("unfinished_jobs", 0.0),
        ("failed_placements", 3.0),
        ("decision_p50_s", 0.2),
    ],
)
def test_by_hand(name: str, value: float) -> None:
    assert measured(name, TWO) == pytest.approx(value)


def test_use_is_a_mean_over_time() -> None:
    there = Resources(4.0, 2.0)
    uses = (Use(0.0, Resources(4.0, 1.0), there, 0, 1), Use(3.0, Resources(0.0, 1.0), there, 0, 1))
    outcome = run(job("a", 0.0, 4.0), uses=uses)
    assert [measured(f"{name}_utilisation", outcome) for name in ("cpu", "gpu")] == [75.0, 50.0]
    assert math.isnan(measured("memory_utilisation", outcome))
    assert measured("gpus_allocated", outcome) == 1.0


def test_gpus_are_counted_at_their_most_and_stranded_where_they_were_counted() -> None:
    there, none = Resources(4.0, 8.0), Resources(0.0)
    uses = (
        Use(0.0, Resources(1.0, 6.0), there, 0, 1, stranded_gpus=2.0),
        Use(3.0, Resources(1.0, 2.0), there, 0, 1, stranded_gpus=1.0),
        Use(4.0, none, there, 0, 0),
        Use(7.0, none, there, 0, 0, stranded_gpus=100.0),  # when the run had ended
    )
    outcome = run(job("a", 0.0, 6.0), uses=uses)
    assert measured("gpus_allocated", outcome) == 6.0
    assert measured("stranded_gpus", outcome) == (2.0 * 3 + 1.0 * 1) / 4
    assert measured("gpu_utilisation", outcome) == pytest.approx(100 * (6.0 * 3 + 2.0 * 1) / (8.0 * 6))


def learned(submitted_s: float, *losses: float | None) -> JobOutcome:
    rounds = [RoundOutcome(submitted_s + number + 1, 1.0, (1.0,), loss=loss) for number, loss in enumerate(losses)]
    return job("a", submitted_s, submitted_s + len(losses), rounds=tuple(rounds))


@pytest.mark.parametrize(
    ("losses", "target_s"),
    [
        ((10.0, 2.1, 2.0), 2.0),  # 2.1 is 5 % above 2
        ((10.0, 2.11, 2.0), 3.0),
        ((-1.0, -1.96, -2.0), 2.0),  # a part of its size, also below 0
        ((10.0, None, 1.0, math.nan, 5.0), 3.0),  # it was not measured each round, and need not end at its best
        ((0.0, 0.0), 1.0),
        ((None, None), math.nan),
    ],
)
def test_the_target_is_near_the_least_loss(losses: tuple[float | None, ...], target_s: float) -> None:
    assert measured("to_target_loss_s", run(learned(5.0, *losses))) == pytest.approx(target_s, nan_ok=True)


def test_the_target_is_of_jobs_that_finished() -> None:
    stopped = replace(learned(0.0, 9.0, 8.0), status=Status.UNFINISHED)
    assert measured("to_target_loss_s", run(learned(0.0, 2.0, 1.0), stopped)) == 2.0


def test_the_gap_counts_from_the_first_submission_and_all_that_fits() -> None:
    outcome = run(job("a", 100.0, 104.0), job("b", 100.0, 112.0), lower_bound_s=110.0)
    assert measured("gap_to_bound", outcome) == pytest.approx(20.0)
    for status, known in ((Status.NEVER_FITS, True), (Status.FAILED, False), (Status.UNFINISHED, False)):
        more = replace(outcome, jobs=(*outcome.jobs, JobOutcome("c", 100.0, CPU, status=status)))
        assert math.isnan(measured("gap_to_bound", more)) is not known


def test_rounds() -> None:
    rounds = (
        RoundOutcome(4.0, 4.0, (4.0, 2.0)),
        RoundOutcome(8.0, 4.0, (3.0, 3.0)),
        RoundOutcome(11.0, 3.0, (3.0, 0.0)),
    )
    outcome = run(job("a", 0.0, 11.0, rounds=rounds))
    assert measured("imbalance", outcome) == pytest.approx(4 / 3)
    assert measured("round_s", outcome) == 4.0
    assert measured("barrier_idle", outcome) == pytest.approx(100 * (1 - 15 / 22))


def test_who_did_not_finish_counts_as_unfinished_only() -> None:
    lost = JobOutcome("c", 1.0, CPU, status=Status.NEVER_FITS)
    outcome = replace(TWO, jobs=(*TWO.jobs, lost))
    assert measured("unfinished_jobs", outcome) == 1.0
    assert measured("jct_mean_s", outcome) == 6.5


def test_nothing_is_defined_of_nothing() -> None:
    empty = run()
    values = {name: measured(name, empty) for name in MEASURES}
    assert all(math.isnan(value) or value == 0.0 for value in values.values()), values


@given(st.lists(st.tuples(st.floats(0.1, 1e3), st.floats(1.0, 50.0)), min_size=1, max_size=8), st.floats(0.01, 100.0))
def test_a_clock_of_another_unit_changes_no_ratio(times: list[tuple[float, float]], unit: float) -> None:
    def scaled(by: float) -> RunOutcome:
        jobs = [job(str(n), 0.0, by * alone * slow, alone_s=by * alone) for n, (alone, slow) in enumerate(times)]
        return run(*jobs)

    for name in ("slowdown", "jain"):
        assert measured(name, scaled(unit)) == pytest.approx(measured(name, scaled(1.0)))
    assert 1 / len(times) - 1e-9 <= measured("jain", scaled(1.0)) <= 1 + 1e-9
    assert measured("makespan_s", scaled(unit)) == pytest.approx(unit * measured("makespan_s", scaled(1.0)))


def test_the_interval_is_students() -> None:
    found = estimate([1.0, 2.0, 3.0, math.nan])
    assert (found.mean, found.half) == (2.0, pytest.approx(4.302653 / math.sqrt(3)))
    assert math.isnan(estimate([5.0]).half)
    assert math.isnan(estimate([]).mean)


def comparison(slower: dict[str, list[float]]) -> Comparison:
    runs = [
        run(job("a", 0.0, end), policy=name, seed=seed)
        for name, all_ in slower.items()
        for seed, end in enumerate(all_)
    ]
    return Comparison("t", tuple(slower), tuple(range(len(next(iter(slower.values()))))), tuple(runs))


def test_policies_are_compared_seed_by_seed() -> None:
    found = comparison({"equal": [30.0, 60.0, 90.0], "pull": [10.0, 20.0, 30.0], "same": [10.1, 19.9, 30.0]})
    assert main_measure(found) == "makespan_s"
    assert ranking(found, "makespan_s") == ("pull", "same", "equal") or ranking(found, "makespan_s")[2] == "equal"
    times = ratio(found, "pull", "equal", "makespan_s")
    assert (times.mean, times.low, times.high) == (pytest.approx(3.0),) * 3
    said = verdicts(found)
    assert any("beats equal by 3.00x on makespan_s (95 % interval" in line for line in said)
    assert any(line.endswith("on makespan_s is within noise") for line in said)


def test_one_run_tells_no_spread() -> None:
    (line,) = verdicts(comparison({"equal": [30.0], "pull": [10.0]}))
    assert line == "pull beats equal by 3.00x on makespan_s (one run: nothing is known of the spread)"


def test_what_did_not_finish_cannot_be_compared() -> None:
    never = run(JobOutcome("a", 0.0, CPU), policy="never")
    found = Comparison("t", ("equal", "never"), (0,), (run(job("a", 0.0, 3.0), policy="equal"), never))
    assert "cannot be compared" in verdicts(found)[0]


def test_the_page_of_measures_is_what_the_code_says() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
    assert docs.read_text(encoding="utf-8") == page(), "run 'make docs-metrics'"
