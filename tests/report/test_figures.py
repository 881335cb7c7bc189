"""The plots of a report as data: what is drawn, how much of it, and that nothing is lost or made up."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.interface import Resources
from scheduler.report.html import timeline as timeline_module
from scheduler.report.html.drawing import brief
from scheduler.report.html.figures import BINS, MOST_LOSSES, MOST_NODES, MOST_POINTS, all_figures
from scheduler.report.html.timeline import MOST_BARS, MOST_LANES, lanes, merged, timeline
from scheduler.results.comparison import Comparison
from scheduler.results.outcome import Activity, Interval, JobOutcome, NodeOutcome, RoundOutcome, RunOutcome, Status, Use

CPU = Resources(1.0)
BUSY, WAITING, DEAD = Activity.BUSY, Activity.WAITING, Activity.DEAD


def node(name: str, cpu: float = 2.0) -> NodeOutcome:
    return NodeOutcome(name, "", Resources(cpu))


def job(name: str, end_s: float, *losses: float | None, **fields: object) -> JobOutcome:
    rounds = tuple(RoundOutcome(at + 1.0, 1.0, (1.0,), loss=loss) for at, loss in enumerate(losses))
    done = {"status": Status.FINISHED, "started_s": 0.0, "rounds": rounds, **fields}
    return JobOutcome(name, 0.0, CPU, ended_s=end_s, **done)  # type: ignore[arg-type]


def run(policy: str = "equal", seed: int = 0, ended_s: float = 10.0, **fields: object) -> RunOutcome:
    known = {"nodes": (node("n"),), "jobs": (job("a", ended_s),), **fields}
    return RunOutcome(policy, seed, False, ended_s, **known)  # type: ignore[arg-type]


def drawn(*runs: RunOutcome, seeds: tuple[int, ...] = (0,)) -> dict[str, dict[str, dict]]:  # type: ignore[type-arg]
    """Return the figures by place and choice."""
    policies = tuple(dict.fromkeys(one.policy for one in runs))
    found = all_figures(Comparison("t", policies, seeds, runs))
    json.dumps(found, allow_nan=False)
    return {place: choices for place, (_, choices) in found.items()}


def busy(node: str, worker: int, from_s: float, to_s: float, activity: Activity = BUSY, name: str = "a") -> Interval:
    return Interval(node, name, worker, activity, from_s, to_s)


STRETCHES = st.lists(
    st.tuples(st.floats(0.001, 5.0), st.floats(0.0, 2.0), st.sampled_from([BUSY, WAITING, Activity.MOVING])),
    max_size=30,
)


def one_after_the_other(stretches: list[tuple[float, float, Activity]], worker: int = 0) -> list[Interval]:
    at_s, found = 0.0, []
    for lasts_s, gap_s, activity in stretches:
        found.append(busy("n", worker, at_s, at_s + lasts_s, activity))
        at_s += lasts_s + gap_s
    return found


class TestLanes:
    @given(st.lists(STRETCHES, max_size=5))
    def test_everything_is_in_one_lane_and_nothing_overlaps(self, workers: list[list]) -> None:  # type: ignore[type-arg]
        intervals = [one for number, mine in enumerate(workers) for one in one_after_the_other(mine, number)]
        found = lanes(intervals, ["n"])
        assert sorted((one for lane in found for one in lane.intervals), key=repr) == sorted(intervals, key=repr)
        assert len(found) <= len(workers)
        for lane in found:
            assert all(one.to_s <= other.from_s + 1e-9 for one, other in pairwise(lane.intervals))

    def test_who_leaves_makes_room_and_who_stays_stays(self) -> None:
        found = lanes(
            [busy("n", 0, 0, 4), busy("n", 1, 0, 2), busy("n", 2, 2, 5), busy("n", 0, 4, 6), busy("m", 0, 0, 1)],
            ["m", "n"],
        )
        assert [(lane.node, lane.number, [one.worker for one in lane.intervals]) for lane in found] == [
            ("m", 0, [0]),
            ("n", 0, [1, 2]),
            ("n", 1, [0, 0]),
        ]

    def test_a_dead_node_is_dead_in_all_its_lanes(self) -> None:
        gone = Interval("n", "", -1, DEAD, 5, 9)
        assert [lane.intervals[-1] for lane in lanes([busy("n", 0, 0, 4), busy("n", 1, 0, 4), gone], ["n"])] == [
            gone,
            gone,
        ]
        assert [lane.intervals for lane in lanes([gone], ["n"])] == [(gone,)]


class TestMerging:
    @given(STRETCHES, st.floats(0.01, 5.0))
    def test_no_second_of_any_activity_is_lost(self, stretches: list, pixel_s: float) -> None:  # type: ignore[type-arg]
        intervals = one_after_the_other(stretches)
        bars = merged(intervals, pixel_s)
        for activity in Activity:
            seconds = math.fsum(bar.shares.get(activity, 0.0) * (bar.to_s - bar.from_s) for bar in bars)
            there = math.fsum(one.to_s - one.from_s for one in intervals if one.activity is activity)
            assert seconds == pytest.approx(there)
        assert [one for bar in bars for one in bar.parts] == intervals
        assert all(one.to_s <= other.from_s + 1e-9 for one, other in pairwise(bars))
        assert all(sum(bar.shares.values()) <= 1 + 1e-9 for bar in bars)
        assert all(one.to_s - one.from_s < pixel_s for bar in bars if len(bar.parts) > 1 for one in bar.parts)

    def test_short_ones_are_merged_long_ones_and_gaps_are_not(self) -> None:
        short = [busy("n", 0, 0.1 * n, 0.1 * (n + 1), BUSY if n % 4 else WAITING) for n in range(20)]
        found = merged([*short, busy("n", 0, 2.0, 5.0), busy("n", 0, 8.0, 8.1)], pixel_s=1.0)
        assert [(bar.from_s, bar.to_s, len(bar.parts)) for bar in found] == [
            (0.0, 2.0, 20),
            (2.0, 5.0, 1),
            (8.0, 8.1, 1),
        ]
        assert found[0].shares == {WAITING: pytest.approx(0.25), BUSY: pytest.approx(0.75)}


class TestTimeline:
    def test_by_hand(self) -> None:
        intervals = (busy("n", 0, 0, 4), busy("n", 0, 4, 6, WAITING), Interval("<m>", "", -1, DEAD, 1, 3))
        figure = timeline(run(nodes=(node("n"), node("<m>")), intervals=intervals))
        (panel,) = figure["panels"]
        by_name = {trace["name"]: trace for trace in panel["data"]}
        assert list(by_name) == ["waiting", "dead", "busy"]
        assert (by_name["busy"]["base"], by_name["busy"]["x"], by_name["busy"]["y"]) == ([0], [4], ["n · 0"])
        assert by_name["dead"]["y"] == ["&lt;m&gt; · 0"]
        assert "a · 0<br>waiting<br>4 to 6 s" in by_name["waiting"]["hovertext"][0]
        assert panel["layout"]["yaxis"]["categoryarray"] == ["n · 0", "&lt;m&gt; · 0"]
        assert figure["note"] == ""

    def test_the_height_of_what_was_merged_is_the_share_of_busy(self) -> None:
        short = tuple(busy("n", 0, 0.1 * n, 0.1 * (n + 1), WAITING if n % 4 else BUSY) for n in range(12))
        figure = timeline(run(ended_s=1000.0, intervals=short))
        traces = {trace["name"]: trace for trace in figure["panels"][0]["data"]}
        assert traces["busy"]["width"] == [pytest.approx(0.25 * timeline_module.HEIGHT, rel=1e-5)]
        assert traces["waiting"]["width"] == [pytest.approx(timeline_module.HEIGHT)]
        assert "busy 25 %, waiting 75 %" in traces["busy"]["hovertext"][0]
        assert "merged" in figure["note"]

    def test_however_much_happened_the_whole_run_shows(self) -> None:
        each = 2000
        intervals = tuple(
            busy(f"n{lane}", 0, 10.0 * n + lane, 10.0 * n + lane + 5, BUSY if n % 2 else WAITING)
            for lane in range(20)
            for n in range(each)
        )
        ended_s = 10.0 * each
        figure = timeline(
            run(ended_s=ended_s, nodes=tuple(node(f"n{lane}") for lane in range(20)), intervals=intervals)
        )
        traces = figure["panels"][0]["data"]
        assert 100 < sum(len(trace["y"]) for trace in traces) <= 2 * MOST_BARS
        ends = [base + length for trace in traces for base, length in zip(trace["base"], trace["x"], strict=True)]
        assert max(ends) == pytest.approx(max(one.to_s for one in intervals), rel=1e-4)
        assert len({row for trace in traces for row in trace["y"]}) == 20

    def test_lanes_that_are_left_out_are_told(self) -> None:
        names = [f"n{number}" for number in range(MOST_LANES + 5)]
        intervals = tuple(busy(name, 0, 0, 4) for name in names)
        figure = timeline(run(nodes=tuple(map(node, names)), intervals=intervals))
        assert len(figure["panels"][0]["data"][0]["y"]) == MOST_LANES
        assert f"the first {MOST_LANES} of {MOST_LANES + 5} places" in figure["note"]


def test_completion_times_are_those_of_all_seeds_and_of_who_completed() -> None:
    runs = (run(jobs=(job("a", 4.0), job("b", math.nan))), run(seed=1, jobs=(job("a", 2.0), job("b", 3.0))))
    (panel,) = drawn(*runs, seeds=(0, 1))["jct"][""]["panels"]
    assert panel["data"][0]["x"] == [2, 3, 4]
    assert panel["data"][0]["y"] == pytest.approx([100 / 3, 200 / 3, 100], rel=1e-5)


def test_many_completion_times_become_quantiles() -> None:
    times = [float(number) for number in range(1, 5001)]
    (panel,) = drawn(run(jobs=tuple(job(str(end_s), end_s) for end_s in times)))["jct"][""]["panels"]
    assert len(panel["data"][0]["x"]) == MOST_POINTS
    assert (panel["data"][0]["x"][-1], panel["data"][0]["y"][-1]) == (5000, 100)


def uses(*parts: tuple[float, float]) -> tuple[Use, ...]:
    return tuple(Use(at_s, Resources(2 * part), Resources(2.0), 0, 1) for at_s, part in parts)


class TestUtilisation:
    def test_a_panel_for_each_policy_and_the_first_behind_the_others(self) -> None:
        runs = [run("equal", uses=uses((0, 0.5), (4, 1))), run("pull", ended_s=6.0, uses=uses((0, 1), (6, 0)))]
        found = drawn(*runs)["utilisation"]
        assert list(found) == ["CPU"]  # there is no GPU, no memory
        one, two = found["CPU"]["panels"]
        assert (one["title"], two["title"]) == ("equal", "pull")
        assert (one["data"][0]["x"], one["data"][0]["y"]) == ([0, 4, 10], [50, 100, 100])
        assert [line["name"] for line in two["data"]] == ["equal", "pull"]
        assert one["layout"]["xaxis"]["range"] == two["layout"]["xaxis"]["range"] == [0, 10]
        assert found["CPU"]["note"] == "In grey: equal."

    def test_what_changes_too_often_is_averaged_and_its_integral_stays(self) -> None:
        many = uses(*((0.01 * n, n % 2) for n in range(1000)))
        (panel,) = drawn(run(uses=many))["utilisation"]["CPU"]["panels"]
        line = panel["data"][0]
        assert len(line["x"]) == MOST_POINTS + 1
        steps = [y * (b - a) for (a, b), y in zip(pairwise(line["x"]), line["y"], strict=False)]
        assert math.fsum(steps) == pytest.approx(100 * 5.0, rel=1e-3)  # half of ten seconds


def test_the_use_of_each_node_is_by_hand() -> None:
    nodes = (node("n", 2.0), node("none", 0.0))
    (panel,) = drawn(run(nodes=nodes, intervals=(busy("n", 0, 0, 5), busy("n", 1, 0, 10))))["heat"]["CPU"]["panels"]
    (heat,) = panel["data"]
    assert heat["y"] == ["n"]
    assert heat["z"] == [[100] * (BINS // 2) + [50] * (BINS // 2)]


def test_nodes_that_are_left_out_are_told() -> None:
    names = [f"n{number}" for number in range(MOST_NODES + 3)]
    found = drawn(run(nodes=tuple(map(node, names)), intervals=(busy("n0", 0, 0, 1),)))["heat"]["CPU"]
    assert len(found["panels"][0]["data"][0]["y"]) == MOST_NODES
    assert found["note"] == "3 more nodes have it and are left out."


class TestLoss:
    def test_what_is_not_finite_is_left_out(self) -> None:
        found = drawn(run(jobs=(job("a", 9.0, 4.0, None, math.nan, math.inf, 1.0), job("b", 9.0, math.nan))))
        (line,) = found["loss-time"][""]["panels"][0]["data"]
        assert (line["x"], line["y"]) == ([1, 5], [4, 1])
        (line,) = found["loss-round"][""]["panels"][0]["data"]
        assert line["x"] == [1, 5]

    def test_many_rounds_are_thinned_and_the_last_is_kept(self) -> None:
        losses = [float(number) for number in range(1000, 0, -1)]
        (line,) = drawn(run(jobs=(job("a", 9.0, *losses),)))["loss-round"][""]["panels"][0]["data"]
        assert len(line["x"]) <= MOST_POINTS + 1
        assert (line["x"][0], line["x"][-1], line["y"][-1]) == (1, 1000, 1)

    def test_a_policy_has_one_entry_in_the_legend_and_few_jobs(self) -> None:
        jobs = tuple(job(str(number), 9.0, 1.0) for number in range(MOST_LOSSES + 1))
        found = drawn(run("equal", jobs=jobs), run("pull", jobs=jobs))["loss-time"][""]
        lines = found["panels"][0]["data"]
        assert len(lines) == 2 * MOST_LOSSES
        assert [line["name"] for line in lines if line["showlegend"]] == ["equal", "pull"]
        assert found["note"] == f"The first {MOST_LOSSES} jobs of each policy."


def test_ratios_are_against_the_first_policy_with_their_intervals() -> None:
    runs = [run(name, seed, times * (4.0 + seed)) for name, times in (("a", 2.0), ("<b>", 1.0)) for seed in (0, 1)]
    (panel,) = drawn(*runs, seeds=(0, 1))["ratios"][""]["panels"]
    (dots,) = panel["data"]
    assert (dots["x"], dots["y"]) == ([0.5], ["&lt;b&gt;"])
    assert dots["error_x"]["array"] == pytest.approx([0.0], abs=1e-9)
    alone = drawn(run("a"), run("b", ended_s=5.0))["ratios"][""]
    assert alone["panels"][0]["data"][0]["error_x"]["array"] == [None]
    assert alone["note"] == ""


def test_next_to_no_difference_looks_like_it() -> None:
    (panel,) = drawn(run("a"), run("b", ended_s=10.001))["ratios"][""]["panels"]
    low, high = panel["layout"]["xaxis"]["range"]
    assert low < 0.96
    assert high > 1.04


def test_without_data_there_is_no_plot() -> None:
    assert all_figures(Comparison("t", ("a",), (0,), ())) == {}
    never = run(
        ended_s=math.nan, jobs=(JobOutcome("a", 0.0, CPU),), uses=uses((0, 0.5)), intervals=(busy("n", 0, 0, 1),)
    )
    assert set(drawn(never)) <= {"timeline"}
    assert drawn(replace(never, nodes=(), jobs=(), uses=(), intervals=())) == {}


def test_numbers_are_brief_and_finite() -> None:
    assert brief([1.0, 1 / 3, math.nan, math.inf, -math.inf, 1e9, 0.0]) == [
        1,
        0.333333,
        None,
        None,
        None,
        1000000000,
        0,
    ]
