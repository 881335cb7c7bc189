"""What a terminal and a script are told of a comparison."""

from __future__ import annotations

import csv
import io
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from policies.interface import Resources
from scheduler.report.comparison_text import SPARKS, WIDTH, comparison_csv, comparison_json, comparison_text, sparkline
from scheduler.report.comparison_text import shown as shown_figure
from scheduler.results.comparison import Comparison
from scheduler.results.measures import MEASURES
from scheduler.results.outcome import JobOutcome, RunOutcome, Status, Use
from scheduler.results.statistics import Estimate, over_seeds

THERE = Resources(4.0, 2.0)
HOSTILE = "[red]<script>[/nope]"


def run(policy: str, seed: int, end_s: float, *more: JobOutcome, uses: tuple[Use, ...] = ()) -> RunOutcome:
    job = JobOutcome("a", 0.0, Resources(1.0), status=Status.FINISHED, started_s=0.0, ended_s=end_s)
    return RunOutcome(policy, seed, False, end_s, (), (job, *more), uses)


def shown(comparison: Comparison, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(comparison_text(comparison))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


BOTH = Comparison(
    "jobs on nodes",
    ("equal", "pull"),
    (0, 1),
    tuple(run(name, seed, times * (10.0 + seed)) for name, times in (("equal", 4.0), ("pull", 1.0)) for seed in (0, 1)),
    "apportion compare ...",
    {"python": "3"},
)


def test_the_best_comes_first_with_what_it_gains_and_a_bar() -> None:
    text = shown(BOTH)
    assert text.startswith("jobs on nodes, 2 seeds")
    rows = text.split("─\n")[1].splitlines()[:2]
    assert [row.split()[0] for row in rows] == ["pull", "equal"]
    assert "10.5 ±6.4" in rows[0]  # Student's t for 1 degree is 12.706, the deviation 0.7071
    assert "0.250" in rows[0]
    assert "pull beats equal by 4.00x on makespan_s (95 % interval 4.00x to 4.00x)" in " ".join(text.split())
    assert {line.count("█") for line in text.splitlines() if "█" in line} == {WIDTH, WIDTH // 4}


LONG = ("drf+fgd+adaptive-pull", "fifo-backfill+opportunity-cost+speed-proportional", "equal", "a" * 30)
LONG += ("las+power-of-two-choices+capacity-proportional", "pull", "srtf+gpu-clustering+min-cost-move", "module:Class")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("policies", [LONG[:2], LONG, ("fifo+first-fit+lpt", "x")])
@pytest.mark.parametrize("num_seeds", [1, 3])
def test_a_table_fits_the_terminal_and_cuts_nothing(width: int, policies: tuple[str, ...], num_seeds: int) -> None:
    more = (JobOutcome("b", 0.0, Resources(1.0), status=Status.FINISHED, started_s=1.5, ended_s=7.25, cost=0.1),)
    uses = (Use(0.0, Resources(1.0), THERE, 0, 1),)
    runs = tuple(
        run(policy, seed, 1234.5 * (number + 1) / (seed + 3), *more, uses=uses)
        for seed in range(num_seeds)
        for number, policy in enumerate(policies)
    )
    found = Comparison("t", policies, tuple(range(num_seeds)), runs)
    text = shown(found, width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    table = text.split("─\n")[1].split("\n- ")[0]
    cells = [cell for row in table.splitlines() for cell in re.split(r" {2,}", row.strip()) if cell]
    for policy in policies:
        parts = [policy] if len(policy) <= 24 else re.findall(r"[^+]+\+?", policy)
        assert all(part in cells or part == "a" * 30 for part in parts)
        mean = shown_figure(over_seeds(found, policy, "jct_mean_s"))
        assert mean in cells
    assert len(table.splitlines()[0].split("  ")) > 3


def test_a_unit_stays_with_its_number_where_a_verdict_is_wrapped() -> None:
    for width in range(30, 120):
        text = shown(BOTH, width)
        assert not [line for line in text.splitlines() if line.endswith("(95")]
        verdict = text.split("- ")[1].split("\n\n")[0]
        assert all(line.startswith("  ") for line in verdict.splitlines()[1:])


def test_one_policy_has_every_measure_that_is_known_and_not_0() -> None:
    text = shown(Comparison("t", ("equal",), (0,), (run("equal", 0, 10.0),)))
    assert "policy equal" in text
    assert "makespan_s" in text
    assert "restarts" not in text
    assert "gpu_utilisation" not in text


def test_text_of_users_is_shown_as_it_is() -> None:
    lost = JobOutcome(HOSTILE, 0.0, Resources(1.0), status=Status.FAILED, reason=f"why {HOSTILE}")
    uses = (Use(0.0, THERE, THERE, 0, 1),)
    runs = tuple(run(name, 0, 10.0, lost, uses=uses) for name in (HOSTILE, "other"))
    text = shown(Comparison(HOSTILE, (HOSTILE, "other"), (0,), runs), width=200)
    assert text.startswith(HOSTILE)
    assert f"Not finished under {HOSTILE}, seed 0" in text
    assert f"why {HOSTILE}" in text
    assert text.count(HOSTILE) > 8


def test_who_left_jobs_is_shown_even_when_the_best_did_not() -> None:
    lost = JobOutcome("late", 0.0, Resources(1.0), status=Status.FAILED, reason="gave up")
    done = JobOutcome("late", 0.0, Resources(1.0), status=Status.FINISHED, started_s=0.0, ended_s=1.0)
    runs = (run("good", 0, 10.0, done), run("bad", 0, 10.0, lost))
    text = shown(Comparison("t", ("good", "bad"), (0,), runs))
    assert "Not finished under bad, seed 0" in text
    assert "gave up" in text


def test_many_that_did_not_finish_are_counted() -> None:
    lost = [JobOutcome(f"j{number}", 0.0, Resources(1.0), status=Status.FAILED) for number in range(23)]
    assert "and 3 more" in shown(Comparison("t", ("p",), (0,), (run("p", 0, 1.0, *lost),)))


def test_a_sparkline_is_what_was_used_when() -> None:
    half = Resources(2.0, 0.0)
    uses = (Use(0.0, THERE, THERE, 0, 1), Use(5.0, half, THERE, 0, 1), Use(9.99, half, Resources(0.0), 0, 0))
    outcome = run("p", 0, 10.0, uses=uses)
    assert sparkline(outcome, "cpu") == SPARKS[-1] * (WIDTH // 2) + SPARKS[4] * (WIDTH // 2)
    assert sparkline(outcome, "gpu") == SPARKS[-1] * (WIDTH // 2) + " " * (WIDTH // 2)
    assert sparkline(run("p", 0, 10.0), "cpu") == " " * WIDTH
    assert "CPU and GPU in use over time" in shown(Comparison("t", ("p",), (0,), (outcome,)))


@given(st.lists(st.tuples(st.floats(0.0, 9.0), st.floats(0.0, 4.0)), max_size=6), st.floats(0.0, 10.0))
def test_a_sparkline_is_always_as_wide(steps: list[tuple[float, float]], end_s: float) -> None:
    uses = tuple(Use(at_s, Resources(cpu), THERE, 0, 1) for at_s, cpu in sorted(steps))
    line = sparkline(run("p", 0, end_s, uses=uses), "cpu")
    assert len(line) == WIDTH
    assert set(line) <= {" ", *SPARKS}


def test_json_says_none_of_what_is_not_defined() -> None:
    found = json.loads(json.dumps(comparison_json(BOTH), allow_nan=False))
    assert found["ranking"] == ["pull", "equal"]
    assert found["ranked_by"] == "makespan_s"
    assert found["seeds"] == [0, 1]
    assert found["policies"]["equal"]["makespan_s"]["mean"] == 42.0
    assert found["policies"]["equal"]["gap_to_bound"] == {"mean": None, "half": None}
    assert [(one["policy"], one["seed"], one["makespan_s"]) for one in found["runs"]] == [
        ("equal", 0, 40.0),
        ("equal", 1, 44.0),
        ("pull", 0, 10.0),
        ("pull", 1, 11.0),
    ]


@pytest.mark.parametrize("name", ["equal", 'with "quotes", and a comma', "two\nlines"])
def test_csv_has_a_line_for_each_run(name: str) -> None:
    (row,) = csv.DictReader(io.StringIO(comparison_csv(Comparison("t", (name,), (3,), (run(name, 3, 10.0),)))))
    assert list(row) == ["policy", "seed", "live", *MEASURES]
    assert (row["policy"], row["seed"], row["makespan_s"], row["gap_to_bound"]) == (name, "3", "10.0", "")


def test_nothing_was_run() -> None:
    empty = Comparison("t", ("a", "b"), (), ())
    assert shown(empty).startswith("t, 0 seeds")
    assert comparison_json(empty)["runs"] == []
    assert len(comparison_csv(empty).splitlines()) == 1
    never = RunOutcome("a", 0, False, math.nan, (), ())
    assert "policy a" in shown(Comparison("t", ("a",), (0,), (never,)))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Estimate(math.nan, math.nan), "-"),
        (Estimate(3.14159, math.nan), "3.142"),
        (Estimate(100.0, 1e-14), "100"),  # equal values that were added up
        (Estimate(12345.6, 1234.5), "12346 ±1200"),
        (Estimate(1e9, 1.23e8), "1e+09 ±1.2e+08"),
        (Estimate(0.0, 0.0), "0"),
        (Estimate(2.0, 0.000123), "2 ±0.00012"),
    ],
)
def test_a_figure_with_its_interval(found: Estimate, said: str) -> None:
    assert shown_figure(found) == said
