"""The shares that the linear programmes find: by hand, and against what must hold for any problem."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from joint_cases import check_shares, problem, problems, reached
from numpy.testing import assert_allclose

from policies.interface import Floats
from policies.joint.allox import Allox
from policies.joint.finish_time_fair_lp import FinishTimeFairLp
from policies.joint.max_min_throughput import MaxMinThroughput
from policies.joint.max_sum_throughput import MaxSumThroughput
from policies.joint.min_makespan import MinMakespan
from policies.joint.pop import Pop
from policies.joint.problem import Problem
from policies.joint.programs import Program
from policies.joint.rounds import TimeShared

ALL: list[TimeShared] = [
    MinMakespan(),
    MaxMinThroughput(),
    MaxSumThroughput(),
    MaxSumThroughput(cost=True, deadlines=False),
    FinishTimeFairLp(),
    Pop(parts=3),
    Allox(),
]


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: policy.name)
@settings(max_examples=60)
@given(given_problem=problems())
def test_shares_are_possible(policy: TimeShared, given_problem: Problem) -> None:
    check_shares(policy.shares(given_problem), given_problem)


class TestMinMakespan:
    def test_two_jobs_trade_a_fast_node_for_a_slow_one(self) -> None:
        # One node of each kind. With x of its time on the fast one, and the rest of both nodes shared so that both run
        # always, the first reaches x + (1 - x) / 4 and the second (1 - x) + x / 2: equal at x = 0.6, speed 0.7.
        given = problem([[1, 0.25], [1, 0.5]], 1.0)
        shares = MinMakespan().shares(given)
        assert_allclose(shares, [[0.6, 0.4], [0.4, 0.6]], atol=1e-6)
        assert_allclose(reached(shares, given), 0.7, atol=1e-6)

    def test_the_longest_job_runs_all_the_time_where_it_is_fastest(self) -> None:
        given = problem([[1, 0.5]] * 3, 0.5, left_s=[100, 10, 10])
        shares = MinMakespan().shares(given)
        assert_allclose(shares[0], [1, 0], atol=1e-6)
        assert (reached(shares, given)[1:] >= 0.1 - 1e-6).all()

    @settings(max_examples=60)
    @given(given_problem=problems())
    def test_all_end_within_the_makespan_and_none_less_is_possible(self, given_problem: Problem) -> None:
        speed = reached(MinMakespan().shares(given_problem), given_problem)
        makespan = (given_problem.left_s / speed).max()
        tenth_less = Program(given_problem).most(np.zeros(len(speed)), given_problem.left_s / (0.9 * makespan))
        assert tenth_less.value == pytest.approx(0.9, rel=1e-4)


def level(shares: Floats, given: Problem) -> Floats:
    """Return what is made equal: speed over that on 1/n of the cluster, over the weight."""
    return np.asarray(reached(shares, given) / given.alone / given.weight)


class TestMaxMinThroughput:
    def test_gangs_get_equal_parts_of_the_cluster(self) -> None:
        # Four nodes; gangs of 1, 1, 2 and 4: a quarter of the cluster each is 1, 1, 1/2 and 1/4 of the time.
        given = problem([[1.0]] * 4, [[0.25], [0.25], [0.5], [1.0]])
        assert_allclose(MaxMinThroughput().shares(given)[:, 0], [1, 1, 0.5, 0.25], atol=1e-6)

    def test_what_a_job_cannot_use_goes_to_the_others(self) -> None:
        # Two nodes. Weight 3 would mean 6/5 of a node; more than all its time is no use, so the others halve the rest.
        given = problem([[1.0]] * 3, 0.5, weight=[3, 1, 1])
        assert_allclose(MaxMinThroughput().shares(given)[:, 0], [1, 0.5, 0.5], atol=1e-6)

    def test_the_rest_is_filled_where_only_some_can_use_it(self) -> None:
        # The first two share the only node of their kind; the third has one of its own, however low their level is.
        given = problem([[1, 0], [1, 0], [0, 1]], 1.0)
        assert_allclose(reached(MaxMinThroughput().shares(given), given), [0.5, 0.5, 1.0], atol=1e-6)

    def test_each_runs_where_it_gains_most(self) -> None:
        given = problem([[1, 0.2], [1, 1]], 1.0)
        assert_allclose(MaxMinThroughput().shares(given), [[1, 0], [0, 1]], atol=1e-6)

    @settings(max_examples=60)
    @given(given_problem=problems())
    def test_nobody_gets_less_than_with_an_equal_part_of_each_kind(self, given_problem: Problem) -> None:
        shares = MaxMinThroughput().shares(replace(given_problem, weight=np.ones(len(given_problem))))
        assert (reached(shares, given_problem) >= given_problem.alone - 1e-6).all()

    @settings(max_examples=60)
    @given(given_problem=problems())
    def test_nobody_can_rise_but_at_the_cost_of_somebody_who_has_no_more(self, given_problem: Problem) -> None:
        shares = MaxMinThroughput().shares(given_problem)
        speed, have, program = reached(shares, given_problem), level(shares, given_problem), Program(given_problem)
        for j in range(len(given_problem)):
            no_more = have <= have[j] * (1 + 1e-3)
            floor = np.where(no_more, speed * (1 - 1e-6), 0.0)
            up = np.zeros(len(given_problem))
            up[j] = 1.0
            floor[j] = 0.0
            assert program.most(floor, up).value <= speed[j] + 5e-3, (
                "a millionth of a large gang is much to a small one"
            )


class TestMaxSumThroughput:
    def test_the_fast_node_goes_to_who_gains_from_it(self) -> None:
        given = problem([[1, 0.25], [1, 1]], 1.0)
        assert_allclose(MaxSumThroughput().shares(given), [[1, 0], [0, 1]], atol=1e-6)

    def test_money_counts_where_it_shall(self) -> None:
        # One job, twice as fast on nodes that cost four times as much.
        given = problem([[1, 0.5]], 1.0, price=[[4, 1]])
        assert_allclose(MaxSumThroughput().shares(given), [[1, 0]], atol=1e-6)
        assert_allclose(MaxSumThroughput(cost=True).shares(given), [[0, 1]], atol=1e-6)
        free = problem([[1, 0.5]], 1.0, price=[[0, 1]])
        assert_allclose(MaxSumThroughput(cost=True).shares(free), [[1, 0]], atol=1e-6)

    def test_a_deadline_is_met(self) -> None:
        given = problem([[1, 0.2], [1, 0.1]], 1.0, left_s=[60, 60], within_s=[100, np.inf])
        without = reached(MaxSumThroughput(deadlines=False).shares(given), given)
        assert without[0] == pytest.approx(0.2, abs=1e-6)
        assert reached(MaxSumThroughput().shares(given), given)[0] >= 0.6 - 1e-6

    def test_of_deadlines_that_cannot_all_be_met_as_little_as_possible_is_missing(self) -> None:
        # One node: 0.8 + 0.8 of it are asked for. The third cannot be in time even alone, and the fourth is late.
        given = problem([[1.0]] * 4, 1.0, left_s=[80, 80, 80, 80], within_s=[100, 100, 10, -1])
        speed = reached(MaxSumThroughput().shares(given), given)
        assert np.minimum(speed[:2], 0.8).sum() == pytest.approx(1.0, abs=1e-6)

    @settings(max_examples=60)
    @given(given_problem=problems())
    def test_deadlines_are_met_where_they_can_be(self, given_problem: Problem) -> None:
        within = np.maximum(given_problem.within_s, 1e-9)
        floor = np.where(given_problem.within_s > 0, given_problem.left_s / within, np.inf)
        floor = np.where(floor <= 1, floor, 0.0)
        if floor.any() and Program(given_problem).most(np.zeros(len(floor)), floor).value >= 1:
            assert (reached(MaxSumThroughput().shares(given_problem), given_problem) >= floor * (1 - 1e-4)).all()


def worst_rho(speed: Floats, given: Problem) -> float:
    alone_s = given.age_s + given.left_s / given.alone
    return float(((given.age_s + given.left_s / np.maximum(speed, 1e-300)) / alone_s).max())


class TestFinishTimeFairLp:
    def test_equal_jobs_have_equal_parts(self) -> None:
        given = problem([[1.0]] * 3, 1.0, left_s=[10, 10, 10])
        assert_allclose(FinishTimeFairLp().shares(given)[:, 0], 1 / 3, rtol=1e-3)

    def test_who_waited_gets_more(self) -> None:
        # rho = (age + left / speed) / (age + 2 left): with left 10 and age 0 and 30, speeds s and 1 - s, both are equal
        # where 0.5 / s = (30 + 10 / (1 - s)) / 50, that is at s = 1/2; an unequal start shows in what is left.
        given = problem([[1.0]] * 2, 1.0, left_s=[10, 40], age_s=[60, 0])
        speed = reached(FinishTimeFairLp().shares(given), given)
        rho = (given.age_s + given.left_s / speed) / (given.age_s + 2 * given.left_s)
        assert rho[0] == pytest.approx(rho[1], rel=1e-2)
        assert rho.max() <= 1 + 1e-3

    @settings(max_examples=60)
    @given(given_problem=problems())
    def test_nobody_would_end_sooner_alone_and_no_better_worst_is_possible(self, given_problem: Problem) -> None:
        worst = worst_rho(reached(FinishTimeFairLp().shares(given_problem), given_problem), given_problem)
        assert worst <= 1 + 1e-2
        alone_s = given_problem.age_s + given_problem.left_s / given_problem.alone
        time_s = 0.99 * worst * alone_s - given_problem.age_s
        if (time_s >= given_problem.left_s).all():
            needed = given_problem.left_s / time_s
            assert Program(given_problem).most(np.zeros(len(needed)), needed).value < 1


class TestPop:
    def test_one_part_is_the_inner_policy(self) -> None:
        given = problem([[1, 0.25], [1, 0.5], [1, 0.1]], 1.0, left_s=[5, 3, 2])
        assert_allclose(Pop(parts=1, inner="min-makespan").shares(given), MinMakespan().shares(given))

    def test_each_part_has_its_part_of_every_kind(self) -> None:
        given = problem([[1, 0.5]] * 40, 0.1)
        shares = Pop(parts=4).shares(given)
        assert_allclose((shares * 0.1).sum(axis=0), 1.0, atol=1e-6)
        assert_allclose(reached(shares, given), reached(shares, given)[0])

    def test_little_is_lost_with_many_jobs(self) -> None:
        random = np.random.default_rng(0)
        given = problem(random.uniform(0.1, 1, (400, 3)).round(2), 0.02, left_s=random.uniform(1, 100, 400))
        given = replace(given, speeds=given.speeds / given.speeds.max(axis=1, keepdims=True))
        whole, parts = (
            (given.left_s / reached(policy.shares(given), given)).max()
            for policy in (MinMakespan(), Pop(parts=4, inner="min-makespan"))
        )
        assert whole <= parts * (1 + 1e-6) <= 1.15 * whole


class TestAllox:
    def test_the_shortest_go_first(self) -> None:
        given = problem([[1.0]] * 4, 0.5, left_s=[30, 10, 40, 20])
        assert_allclose(Allox().shares(given)[:, 0], [0, 1, 0, 1])

    def test_the_matching_has_the_least_sum_of_ends(self) -> None:
        # Times 10 and 12 on the fast node, 11 and 30 on the slow: 12 + 11 = 23 beats 10 + 30 and queueing on one.
        given = problem([[1, 10 / 11], [1, 12 / 30]], 1.0, left_s=[10, 12])
        assert_allclose(Allox().shares(given), [[0, 1], [1, 0]])

    def test_a_job_rather_waits_for_the_fast_node(self) -> None:
        # 1 then 1 + 2 on the fast node is better than 2 on it and 50 on the slow one.
        given = problem([[1, 0.02], [1, 0.02]], 1.0, left_s=[1, 2])
        assert_allclose(Allox().shares(given), [[1, 0], [0, 0]])

    def test_alpha_leaves_the_say_to_the_oldest(self) -> None:
        given = problem([[1.0]] * 4, 1.0, left_s=[40, 30, 20, 10], age_s=[9, 8, 1, 0])
        assert_allclose(Allox(alpha=0.5).shares(given)[:, 0], [0, 1, 0, 0])


class TestClassesOfAlikeJobs:
    @settings(max_examples=60)
    @given(given_problem=problems())
    def test_one_share_a_class_is_as_good_as_one_a_job(self, given_problem: Problem) -> None:
        none = np.zeros(len(given_problem))
        classes, class_of = given_problem.merged("left_s")
        one = Program(given_problem).most(none, given_problem.left_s)
        two = Program(classes).most(np.zeros(len(classes)), classes.left_s)
        assert two.value == pytest.approx(one.value, rel=1e-6)
        check_shares(two.shares[class_of], given_problem)

    def test_alike_are_those_with_equal_rows_of_what_is_named(self) -> None:
        given = problem([[1.0]] * 4, 0.5, left_s=[1, 2, 1, 1], weight=[1, 1, 1, 5])
        assert len(given.merged("left_s")[0]) == 2
        classes, class_of = given.merged("left_s", "weight")
        assert sorted(classes.count.tolist()) == [1, 1, 2]
        assert class_of[0] == class_of[2]


def test_the_parts_that_hold_a_level_add_up_to_one() -> None:
    found = Program(problem([[1.0], [1.0], [0.5]], 0.5)).most(np.zeros(3), np.array([1.0, 2.0, 1.0]))
    assert found.held_by.sum() == pytest.approx(1.0)


def test_an_impossible_floor_is_an_error() -> None:
    with pytest.raises(ArithmeticError, match="HiGHS found no solution"):
        Program(problem([[1.0]], 1.0)).best(np.ones((1, 1)), np.array([2.0]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MinMakespan(round_s=0), "round_s must be a number greater than 0, but got round_s=0"),
        (lambda: MinMakespan(round_s=True), "got round_s=True"),
        (lambda: MinMakespan(round_s=float("inf")), "got round_s=inf"),
        (lambda: MinMakespan(place="pack"), "place must be a Place, but got place='pack'"),
        (lambda: MaxSumThroughput(cost=1), "cost must be true or false, but got cost=1"),
        (lambda: MaxSumThroughput(deadlines="no"), "deadlines must be true or false"),
        (lambda: Allox(alpha=0), "alpha must be over 0 and up to 1, but got alpha=0"),
        (lambda: Allox(alpha=1.5), "got alpha=1.5"),
        (lambda: Pop(parts=2.0), "parts must be a whole number of at least 1, but got parts=2.0"),
        (lambda: Pop(inner="pop"), "unknown inner policy 'pop'"),
        (lambda: Pop(inner=["min-makespan"]), "inner must be a name or {name: {option: value}}"),
        (lambda: Pop(inner={"max-sum-throughput": {"cost": 3}}), "cost must be true or false"),
    ],
)
def test_bad_options_name_the_bound(make: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)
