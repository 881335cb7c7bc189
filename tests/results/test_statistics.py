"""Intervals over seeds and verdicts: SciPy and our words against formulas and by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.interface import Resources
from scheduler.report.comparison_text import comparison_csv, comparison_json, comparison_text
from scheduler.results.comparison import Comparison
from scheduler.results.measures import MEASURES
from scheduler.results.outcome import JobOutcome, RunOutcome, Status, Use
from scheduler.results.statistics import Ratio, estimate, main_measure, over_seeds, ranking, ratio, verdicts

CPU = Resources(1.0)
TIMES = st.lists(st.tuples(st.floats(1.0, 1e4), st.floats(1.0, 1e4)), min_size=2, max_size=8)


def run(policy: str, seed: int, *ends_s: float, uses: tuple[Use, ...] = ()) -> RunOutcome:
    """Return a run whose jobs all began at 0; one with no end is unfinished."""
    jobs = tuple(
        JobOutcome(str(number), 0.0, CPU, ended_s=end_s)
        if math.isnan(end_s)
        else JobOutcome(str(number), 0.0, CPU, status=Status.FINISHED, started_s=0.0, ended_s=end_s)
        for number, end_s in enumerate(ends_s)
    )
    return RunOutcome(policy, seed, False, max(ends_s), (), jobs, uses)


def compared(**ends_s: list[float]) -> Comparison:
    """Return a comparison of runs of one job."""
    runs = [run(name, seed, end_s) for name, all_s in ends_s.items() for seed, end_s in enumerate(all_s)]
    return Comparison("t", tuple(ends_s), tuple(range(max(map(len, ends_s.values())))), tuple(runs))


def test_a_ratio_has_the_interval_of_its_logarithm() -> None:
    # Ratios 2, 4, 8: logarithms ln 2 times 1, 2, 3; their deviation is ln 2, Student's t for 2 degrees is 4.302653.
    found = ratio(compared(a=[1.0, 1.0, 1.0], b=[2.0, 4.0, 8.0]), "a", "b", "makespan_s")
    half = 4.302653 * math.log(2) / math.sqrt(3)
    assert (found.mean, found.low, found.high) == pytest.approx((4.0, 4 * math.exp(-half), 4 * math.exp(half)))
    assert not found.differs  # three seeds that far apart say little


def test_only_seeds_that_both_have_are_paired() -> None:
    found = ratio(compared(a=[1.0, 1.0], b=[2.0, 2.0, 1000.0]), "a", "b", "makespan_s")
    assert found.mean == pytest.approx(2.0)


@given(TIMES, st.floats(0.01, 100.0))
def test_a_ratio_knows_no_unit_and_turns_round(pairs: list[tuple[float, float]], unit: float) -> None:
    def of(by: float) -> Comparison:
        return compared(a=[by * a for a, _ in pairs], b=[by * b for _, b in pairs])

    there, back = ratio(of(1.0), "a", "b", "makespan_s"), ratio(of(1.0), "b", "a", "makespan_s").inverse()
    scaled = ratio(of(unit), "a", "b", "makespan_s")
    for other in (back, scaled):
        assert (other.mean, other.low, other.high) == pytest.approx((there.mean, there.low, there.high), rel=1e-6)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9))
def test_an_interval_holds_its_mean_and_shrinks_with_more_of_the_same(values: list[float]) -> None:
    one, twice = estimate(values), estimate(values * 2)
    assert one.low <= one.mean <= one.high
    assert twice.mean == pytest.approx(one.mean, abs=1e-6)
    assert twice.half <= one.half + 1e-6


@pytest.mark.parametrize(
    ("found", "differs"),
    [
        (Ratio(2.0, 1.5, 2.5), True),
        (Ratio(0.5, 0.4, 0.6), True),
        (Ratio(2.0, 0.9, 4.0), False),
        (Ratio(1.0001, 1.00009, 1.00011), False),
        (Ratio(2.0, math.nan, math.nan), True),
        (Ratio(1.0001, math.nan, math.nan), False),
        (Ratio(math.nan, math.nan, math.nan), False),
    ],
)
def test_what_is_a_difference(found: Ratio, differs: bool) -> None:
    assert found.differs is differs


class TestAnInterruptedComparison:
    """Two policies have all three seeds, one has two, one has none."""

    ENDS = (("a", [1.0, 2.0, 99.0]), ("b", [2.0, 4.0, 1.0]), ("c", [4.0, 8.0]))
    RUNS = tuple(run(name, seed, end_s) for name, all_s in ENDS for seed, end_s in enumerate(all_s))
    FOUND = Comparison("t", ("a", "b", "c", "d"), (0, 1, 2), RUNS)

    def test_everything_is_of_the_seeds_that_all_have(self) -> None:
        assert self.FOUND.shared == (0, 1)
        assert self.FOUND.extent == "2 of 3 seeds, those that all policies were run with; not run: d"
        assert over_seeds(self.FOUND, "a", "makespan_s").mean == 1.5  # the third seed would make it the worst
        assert ranking(self.FOUND, "makespan_s") == ("a", "b", "c")
        assert ratio(self.FOUND, "a", "b", "makespan_s").mean == pytest.approx(2.0)
        assert [len(self.FOUND.of(name)) for name in "abcd"] == [2, 2, 2, 0]

    def test_ranking_and_verdicts_agree(self) -> None:
        assert [line.split(" by ")[0] for line in verdicts(self.FOUND)] == ["a beats b", "a beats c"]

    def test_the_first_seed_may_be_all_that_one_has(self) -> None:
        found = Comparison("t", ("a", "b"), (0, 1), (run("a", 0, 1.0),))
        assert found.extent == "1 of 2 seeds, those that all policies were run with; not run: b"
        assert (ranking(found, "makespan_s"), verdicts(found)) == (("a",), ())

    def test_no_seed_in_common_compares_nothing(self) -> None:
        found = Comparison("t", ("a", "b"), (0, 1), (run("a", 0, 1.0), run("b", 1, 1.0)))
        assert found.shared == ()
        assert found.extent.startswith("0 of 2 seeds")
        assert (ranking(found, "makespan_s"), verdicts(found)) == ((), ())

    @given(st.sets(st.tuples(st.sampled_from("abc"), st.integers(0, 4))))
    def test_figures_are_paired_whatever_is_missing(self, pairs: set[tuple[str, int]]) -> None:
        runs = tuple(run(name, seed, 1.0 + seed) for name, seed in sorted(pairs))
        found = Comparison("t", ("a", "b", "c"), tuple(range(5)), runs)
        figures = {found.figures(name, "makespan_s") for name in "abc"} - {()}
        assert len(figures) <= 1  # the same seeds have the same figures here
        for name in "abc":
            assert len(found.figures(name, "makespan_s")) == len(found.of(name))


def test_measures_are_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    makespan = MEASURES["makespan_s"]
    counted = replace(makespan, of=lambda run: calls.append(run.policy) or makespan.of(run))
    monkeypatch.setitem(MEASURES, "makespan_s", counted)  # type: ignore[arg-type]
    found = compared(a=[1.0, 2.0], b=[2.0, 3.0])
    comparison_json(found)
    comparison_csv(found)
    comparison_text(found)
    assert sorted(calls) == ["a", "a", "b", "b"]


class TestVerdicts:
    def test_one_run_of_the_same(self) -> None:
        (line,) = verdicts(compared(a=[3.0], b=[3.0]))
        assert line == "a and b are alike on makespan_s (one run: nothing is known of the spread)"

    def test_the_best_by_its_mean_may_lose_seed_by_seed(self) -> None:
        # b is 10 % slower in nine seeds of ten, and a little faster in the longest, which makes its mean.
        found = compared(a=[10.0] * 9 + [1000.0], b=[11.0] * 9 + [980.0])
        assert ranking(found, "makespan_s") == ("b", "a")
        (line,) = verdicts(found)
        assert line.startswith("a beats b by 1.09x on makespan_s (95 % interval 1.0")

    def test_only_the_seeds_that_were_finished_under_both(self) -> None:
        runs = (run("a", 0, 1.0), run("a", 1, 9.0), run("b", 0, 2.0))
        (line,) = verdicts(Comparison("t", ("a", "b"), (0, 1), runs))
        assert line == "a beats b by 2.00x on makespan_s (one run: nothing is known of the spread)"

    def test_more_is_better(self) -> None:
        there = Resources(4.0)
        runs = [
            run(name, seed, 1.0, uses=(Use(0.0, Resources(used), there, 0, 1),))
            for name, used in (("half", 2.0), ("all", 4.0))
            for seed in (0, 1)
        ]
        found = Comparison("t", ("half", "all"), (0, 1), tuple(runs))
        assert ranking(found, "cpu_utilisation") == ("all", "half")
        assert verdicts(found, "cpu_utilisation") == (
            "all beats half by 2.00x on cpu_utilisation (95 % interval 2.00x to 2.00x)",
        )

    def test_who_leaves_jobs_unfinished_does_not_just_win(self) -> None:
        runs = (run("quits", 0, 1.0, math.nan), run("stays", 0, 1.0, 9.0))
        found = Comparison("t", ("quits", "stays"), (0,), runs)
        assert main_measure(found) == "jct_mean_s"
        assert verdicts(found) == (
            "quits beats stays by 5.00x on jct_mean_s (one run: nothing is known of the spread)",
            "quits leaves jobs unfinished, 1 a run on average; their times are not counted",
        )

    def test_nothing_to_say(self) -> None:
        assert verdicts(compared(a=[3.0])) == ()
        assert verdicts(Comparison("t", ("a", "b"), (), ())) == ()

    def test_policies_without_a_figure_come_last(self) -> None:
        found = compared(never=[math.nan], slow=[9.0], fast=[3.0])
        assert ranking(found, "makespan_s") == ("fast", "slow", "never")
        assert over_seeds(found, "slow", "makespan_s").mean == 9.0
