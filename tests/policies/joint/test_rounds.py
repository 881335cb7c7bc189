"""Rounds: turns add up to shares, gangs stay where they are, and what does not fit is said."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joint_cases import Loop, cluster, job

from policies.interface import NodeTable, Resources
from policies.joint.gangs import Gangs
from policies.joint.max_min_throughput import MaxMinThroughput
from policies.joint.max_sum_throughput import MaxSumThroughput
from policies.joint.min_makespan import MinMakespan
from policies.joint.pools import Pools
from policies.joint.problem import Problem

ROUND_S = 10.0


def policy(**options: Any) -> MaxMinThroughput:
    return MaxMinThroughput(round_s=ROUND_S, **options)


def turns(loop: Loop, rounds: int) -> Counter[tuple[str, str]]:
    """Count the rounds that each job has on each kind."""
    found: Counter[tuple[str, str]] = Counter()
    for number in range(rounds):
        loop.plan(number * ROUND_S)
        for name, nodes in loop.where().items():
            found[name, nodes[0].split("-")[0]] += 1
    return found


def waits(plan: Any) -> dict[str, str]:
    return {item.what: str(item) for item in plan.unplaced}


class TestTurnsAddUp:
    def test_three_jobs_take_turns_on_two_nodes(self) -> None:
        found = turns(Loop(policy(), cluster({"k": [1, 1]}), [job(name) for name in "abc"]), 30)
        assert found == {(name, "k"): 20 for name in "abc"}

    def test_weights_are_priorities(self) -> None:
        found = turns(Loop(policy(), cluster({"k": [1]}), [job("a", priority=1.0), job("b")]), 30)
        assert found == {("a", "k"): 20, ("b", "k"): 10}

    def test_a_gang_waits_for_its_turn_and_is_not_overtaken_for_ever(self) -> None:
        jobs = [job("wide", 4), *(job(f"j{n}") for n in range(4))]
        found = turns(Loop(policy(), cluster({"k": [1, 1, 1, 1]}), jobs), 40)
        assert found["wide", "k"] == pytest.approx(8, abs=1)
        assert all(found[f"j{n}", "k"] == pytest.approx(32, abs=1) for n in range(4))

    def test_each_kind_is_shared_by_who_gains_from_it(self) -> None:
        rates = [{"fast": 4.0, "slow": 1.0}, {"fast": 4.0, "slow": 2.0}]
        jobs = [job(name, rates=rate, work=40_000.0) for name, rate in zip("ab", rates, strict=True)]
        found = turns(Loop(MinMakespan(round_s=ROUND_S), cluster({"fast": [1], "slow": [1]}), jobs), 50)
        assert found["a", "fast"] == pytest.approx(30, abs=1) and found["b", "fast"] == pytest.approx(20, abs=1)
        assert found["a", "slow"] == pytest.approx(20, abs=1) and found["b", "slow"] == pytest.approx(30, abs=1)

    @settings(max_examples=15)
    @given(gpus=st.integers(1, 4), priorities=st.lists(st.sampled_from((0.0, 0.0, 1.0)), min_size=1, max_size=6))
    def test_time_is_received_as_it_is_due(self, gpus: int, priorities: list[float]) -> None:
        jobs = [job(f"j{n}", priority=priority) for n, priority in enumerate(priorities)]
        loop = Loop(policy(), cluster({"k": [1] * gpus}), jobs)
        for number in range(30):
            loop.plan(number * ROUND_S)
            behind = loop.snapshot.state["due"] - loop.snapshot.state["received"]
            assert behind.max() <= 2 * ROUND_S

    def test_a_newcomer_gets_its_share_without_waiting_for_the_others_past(self) -> None:
        loop = Loop(policy(), cluster({"k": [1]}), [job("old")])
        turns(loop, 20)
        loop.add(job("new"))
        found = Counter(name for number in range(20, 40) for name in _running(loop, number))
        assert found == {"old": 10, "new": 10}

    def test_time_on_idle_nodes_is_not_held_against_a_job(self) -> None:
        jobs = [job(name, rates={"k": 1.0}, work=work) for name, work in (("long", 2000.0), ("short", 500.0))]
        loop = Loop(MinMakespan(round_s=ROUND_S), cluster({"k": [1, 1]}), jobs)
        assert turns(loop, 20) == {("long", "k"): 20, ("short", "k"): 20}
        row = loop.snapshot.state["jobs"].index("short")
        assert loop.snapshot.state["received"][row] > loop.snapshot.state["due"][row] + 10 * ROUND_S
        loop.add(job("new", rates={"k": 1.0}, work=2000.0))
        loop.plan(20 * ROUND_S)
        row = loop.snapshot.state["jobs"].index("short")
        assert loop.snapshot.state["received"][row] == loop.snapshot.state["due"][row]


def _running(loop: Loop, number: int) -> list[str]:
    loop.plan(number * ROUND_S)
    return list(loop.where())


class TestLeases:
    def test_who_keeps_its_turn_keeps_its_nodes(self) -> None:
        loop = Loop(policy(), cluster({"k": [2, 2]}), [job("a", 2), job("b"), job("c")])
        loop.plan(0.0)
        before = loop.where()
        assert set(before) == {"a", "b", "c"}
        again = loop.plan(ROUND_S)
        assert (again.grants, again.revokes, loop.where()) == ((), (), before)

    def test_a_gang_takes_over_the_nodes_of_one_like_it(self) -> None:
        loop = Loop(policy(), cluster({"k": [2, 2]}), [job("a", 3), job("b", 3), job("z")])
        loop.plan(0.0)
        (first,) = set(loop.where()) - {"z"}
        nodes, other = loop.where()[first], {"a": "b", "b": "a"}[first]
        loop.plan(ROUND_S)
        assert loop.where()[other] == nodes
        assert first not in loop.where()

    def test_between_rounds_nobody_is_revoked_and_what_is_free_is_given(self) -> None:
        loop = Loop(policy(), cluster({"k": [1, 1]}), [job(name) for name in "abc"])
        first = loop.plan(0.0)
        (waiting,) = waits(first)
        assert "waits for its turn in a later round" in waits(first)[waiting]
        running = sorted(loop.where())
        assert loop.plan(ROUND_S / 2).revokes == ()
        loop.end(running[0])
        plan = loop.plan(0.6 * ROUND_S)
        assert [grant.job for grant in plan.grants] == [waiting]
        assert sorted(loop.where()) == sorted([running[1], waiting])

    def test_a_gang_that_lost_a_worker_is_placed_whole_again(self) -> None:
        loop = Loop(policy(), cluster({"k": [1, 1, 1]}), [job("a", 2)])
        loop.plan(0.0)
        loop.snapshot = replace(loop.snapshot, leases=loop.snapshot.leases[:1])
        plan = loop.plan(1.0)
        assert (len(plan.revokes), len(plan.grants)) == (1, 2)

    def test_small_jobs_move_together_for_one_that_needs_a_whole_node(self) -> None:
        loop = Loop(policy(), cluster({"k": [2, 2]}), [job("a"), job("b"), job("c")])
        loop.plan(0.0)
        on_node = Counter(nodes[0] for nodes in loop.where().values())
        loop.end(next(name for name, nodes in loop.where().items() if on_node[nodes[0]] == 2))
        (one, first), (two, second) = loop.where().items()
        assert first != second
        loop.add(job("whole", bundle=Resources(gpu=2.0)))
        loop.plan(ROUND_S)
        where = loop.where()
        assert where[one] == where[two] != where["whole"]

    def test_a_policys_state_is_not_anothers(self) -> None:
        jobs = [job("a", rates={"fast": 4.0, "slow": 1.0}), job("b", rates={"fast": 4.0, "slow": 3.9})]
        loop = Loop(policy(), cluster({"fast": [1], "slow": [1]}), jobs)
        loop.plan(0.0)
        loop.policy = MaxSumThroughput(round_s=ROUND_S)
        for state in (loop.snapshot.state, {"kinds": ("another",)}, {"anything": 1}, {}):
            plan = loop.policy.plan(replace(loop.snapshot, state=state))
            assert plan.state["shares"].tolist() == [[1.0, 0.0], [0.0, 1.0]]


class TestShares:
    def test_they_are_solved_for_when_something_changes_but_for_the_work_done(self, monkeypatch: Any) -> None:
        asked: list[int] = []
        solve = MinMakespan.shares
        monkeypatch.setattr(MinMakespan, "shares", lambda self, given: asked.append(len(given)) or solve(self, given))
        loop = Loop(
            MinMakespan(round_s=ROUND_S), cluster({"k": [1]}), [job(n, rates={"k": 1.0}, work=90.0) for n in "ab"]
        )
        loop.plan(0.0)
        done = tuple(replace(one, done=10.0) for one in loop.snapshot.jobs)
        loop.snapshot = replace(loop.snapshot, jobs=done)
        loop.plan(ROUND_S)
        assert asked == [2]
        loop.add(job("c", rates={"k": 1.0}, work=10.0))
        loop.plan(2 * ROUND_S)
        loop.snapshot = replace(loop.snapshot, nodes=cluster({"k": [1, 1]}), leases=())
        loop.plan(3 * ROUND_S)
        assert asked == [2, 3, 3]


class TestRefusals:
    def test_a_gang_that_fits_on_no_kind_is_told_what_is_short(self) -> None:
        nodes = NodeTable.of(["a", "b"], [[4, 0, 100], [4, 0, 400]], kinds=["x", "y"])
        plan = Loop(policy(), nodes, [job("big", bundle=Resources(1.0, 0.0, 300.0), workers=2)]).plan(0.0)
        assert waits(plan)["big"].startswith("big: only 1 of 2 fit")
        assert "node a: memory" in waits(plan)["big"] and "node b: memory" in waits(plan)["big"]

    def test_a_gang_stays_on_one_kind(self) -> None:
        plan = Loop(policy(), cluster({"x": [1], "y": [1]}), [job("two", 2)]).plan(0.0)
        assert waits(plan)["two"].startswith("two: only 1 of 2 fit")

    def test_a_job_without_progress_on_the_only_kind_that_holds_it_says_so(self) -> None:
        nodes, rates = cluster({"x": [2], "y": [1]}), {"x": 0.0, "y": 1.0}
        plan = Loop(policy(), nodes, [job("two", 2, rates=rates)]).plan(0.0)
        assert plan.grants, "no rate over 0 anywhere that it fits is as good as none"
        plan = Loop(policy(), cluster({"x": [1], "y": [1]}), [job("a"), job("one", rates=rates)]).plan(0.0)
        assert {grant.job: grant.node for grant in plan.grants} == {"one": "y-0", "a": "x-0"}

    def test_no_nodes(self) -> None:
        plan = Loop(policy(), NodeTable.of([], []), [job("a")]).plan(0.0)
        assert "the cluster (no nodes): nodes 1 requested, 0 free" in waits(plan)["a"]

    def test_no_room_in_one_piece(self) -> None:
        jobs = [job("a", priority=9.0), job("b", priority=9.0), job("whole", bundle=Resources(gpu=2.0))]
        nodes = NodeTable.of(["n0", "n1"], [[1, 2, 0]] * 2)
        jobs[:2] = [replace(one, bundle=Resources(cpu=1.0, gpu=1.0)) for one in jobs[:2]]
        plan = Loop(policy(), nodes, jobs).plan(0.0)
        assert "node n0: gpu 2 requested, 1 free" in waits(plan)["whole"]


def posed(nodes: NodeTable, jobs: list[Any], **more: Any) -> tuple[Gangs, Problem]:
    snapshot = replace(Loop(policy(), nodes, jobs).snapshot, **more)
    pools = Pools.of(snapshot)
    gangs = Gangs.of(jobs, pools)
    return gangs, Problem.of(jobs, gangs, pools, snapshot)


class TestWhatIsNotKnown:
    def test_unknown_speeds_and_lengths(self) -> None:
        jobs = [
            job("known", rates={"x": 2.0, "y": 1.0}, work=100.0),
            job("nothing"),
            job("no-work", rates={"x": 3.0, "y": 3.0}),
            job("stuck", rates={"x": 0.0, "y": 0.0}, work=7.0),
            job("half", rates={"x": 5.0}, work=10.0),
            job("done", rates={"x": 1.0, "y": 1.0}, work=5.0, done=9.0),
        ]
        _, found = posed(cluster({"x": [1], "y": [1]}), jobs)
        assert found.speeds.tolist() == [[1, 0.5], [1, 1], [1, 1], [1, 1], [1, 1], [1, 1]]
        assert found.left_s.tolist() == [50, 50, 50, 50, 2, 1]

    def test_a_gang_is_as_large_as_it_may_be_and_the_kind_holds(self) -> None:
        elastic = replace(job("e"), min_workers=2, max_workers=5, rates={"": np.array([1.0, 2.0, 2.5])})
        gangs, found = posed(cluster({"x": [4], "y": [1], "z": [8]}), [elastic])
        assert gangs.workers.tolist() == [[4, 0, 5]]
        assert gangs.rates.tolist() == [[2.5, 0.0, 2.5]]
        assert found.use[0, :, 1].tolist() == [1.0, 0.0, 0.625]

    def test_labels_and_the_resources_of_others_are_out_of_reach(self) -> None:
        nodes = cluster({"x": [2, 2]}, labels={"zone": ["a", "b"]})
        there = replace(nodes, free=nodes.free - [[0, 1, 0], [0, 0, 0]], device_free=np.array([[0.0, 1.0], [1.0, 1.0]]))
        gangs, found = posed(there, [replace(job("a"), min_workers=1, max_workers=4, selector={"zone": ("a",)})])
        assert gangs.workers.tolist() == [[1]]
        assert found.use[0, 0, 1] == pytest.approx(1 / 3)

    def test_prices_are_those_of_the_part_that_the_gang_takes(self) -> None:
        nodes = cluster({"x": [4], "y": [2, 2]}, price_per_hour=[8.0, 1.0, 3.0])
        _, found = posed(nodes, [job("a", 2)])
        assert found.price.tolist() == [[4.0, 2.0]]
