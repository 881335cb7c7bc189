"""Worlds small enough to be worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from policies.interface import ClusterPlan, ClusterSnapshot, JobView, Resources, ShardTable, frozen
from policies.presets import resolve
from scheduler.errors import UserError
from scheduler.results.outcome import Activity, RunOutcome, Status
from scheduler.simulation.faults import Fault, FaultKind
from scheduler.simulation.fleet import Fleet, Machine
from scheduler.simulation.learning import LearningRun
from scheduler.simulation.running import Seat
from scheduler.simulation.simulator import simulate
from scheduler.simulation.speeds import Steps
from scheduler.simulation.workload import Learning, Phase, SimulatedJob, Workload
from scheduler.simulation.world import Costs, World


def machine(name: str, cpu: float = 1.0, **fields: object) -> Machine:
    return Machine(name, Resources(cpu, 0.0, 2.0**30), **fields)  # type: ignore[arg-type]


def fluid(name: str = "j", work: float = 10.0, at_s: float = 0.0, fewest: int = 1, most: int = 1) -> SimulatedJob:
    rates = {"": frozen([float(num) for num in range(1, most + 1)])}
    return SimulatedJob(JobView(name, at_s, Resources(1.0), fewest, most, work=work, rates=rates))


def learner(rounds: int = 2, shards: int = 4, workers: int = 2, **fields: float) -> SimulatedJob:
    table = ShardTable(frozen([1.0] * shards), frozen([100.0] * shards))
    view = JobView("j", 0.0, Resources(1.0, 0.0, 2.0**20), 1, workers)
    return SimulatedJob(view, Learning(rounds, table, 1.0, **fields))


def run(jobs: list[SimulatedJob], machines: list[Machine], policy: object = "equal", **world: object) -> RunOutcome:
    made = World(Fleet(tuple(machines)), Workload(tuple(jobs)), **world)  # type: ignore[arg-type]
    return simulate(made, resolve(policy))


def ends(outcome: RunOutcome) -> dict[str, float]:
    return {job.id: job.ended_s for job in outcome.jobs}


class TestFluid:
    def test_two_jobs_on_one_machine_run_one_after_the_other(self) -> None:
        outcome = run([fluid("a"), fluid("b", 5.0)], [machine("m")])
        assert ends(outcome) == {"a": 10.0, "b": 15.0}
        assert [job.started_s for job in outcome.jobs] == [0.0, 10.0]
        assert outcome.lower_bound_s == 15.0
        assert [(use.at_s, use.used.cpu, use.waiting, use.running) for use in outcome.uses] == [
            (0.0, 1.0, 1.0, 1.0),
            (10.0, 1.0, 0.0, 1.0),
            (15.0, 0.0, 0.0, 0.0),
        ]

    @pytest.mark.parametrize("policy", ["las+equal", "srtf+equal"])
    def test_jobs_that_make_no_progress_do_not_go_on_for_ever(self, policy: str) -> None:
        view = JobView("stuck", 0.0, Resources(1.0), 1, 1, work=10.0, rates={"quick": frozen([1.0])})
        stuck = [SimulatedJob(replace(view, id=name)) for name in ("stuck", "too")]
        outcome = run(stuck, [machine("m", kind="slow"), machine("n", 0.5, kind="quick")], policy, every_s=10.0)
        assert {job.status for job in outcome.jobs} == {Status.UNFINISHED}
        assert any("makes no progress" in job.reason for job in outcome.jobs)

    def test_a_gang_flows_at_the_pace_of_its_slowest_machine(self) -> None:
        outcome = run([fluid(work=10.0, fewest=2, most=2)], [machine("m", speed=2.0), machine("n", speed=0.5)])
        assert ends(outcome) == {"j": 10.0}  # 2 x 0.5 a second

    def test_a_machine_that_slows_down_is_felt_at_once(self) -> None:
        slows = Fault(4.0, "m", FaultKind.SPEED, 0.5)
        assert ends(run([fluid()], [machine("m")], faults=(slows,))) == {"j": 16.0}

    def test_workers_start_before_they_work(self) -> None:
        outcome = run([fluid()], [machine("m")], costs=Costs(start_s=3.0))
        assert ends(outcome) == {"j": 13.0}
        assert [(one.activity, one.from_s, one.to_s) for one in outcome.intervals] == [
            (Activity.STARTING, 0.0, 3.0),
            (Activity.BUSY, 3.0, 13.0),
        ]

    def test_phases_have_rates_of_their_own(self) -> None:
        phases = (Phase(4.0, {"": frozen([1.0])}), Phase(6.0, {"": frozen([3.0])}))
        assert ends(run([replace(fluid(), phases=phases)], [machine("m")])) == {"j": 6.0}

    def test_a_machine_that_leaves_takes_its_workers_and_not_their_work(self) -> None:
        leaves, joins = Fault(4.0, "m", FaultKind.LEAVE), Fault(9.0, "m", FaultKind.JOIN)
        outcome = run([fluid()], [machine("m")], faults=(leaves, joins))
        assert ends(outcome) == {"j": 15.0}
        (job,) = outcome.jobs
        assert (job.restarts, job.preemptions, job.worker_s) == (1, 0, 10.0)
        assert outcome.faults == ((4.0, "m: leave"), (9.0, "m: join"))
        assert next(one for one in outcome.intervals if one.activity is Activity.DEAD).to_s == 9.0

    def test_an_elastic_gang_goes_on_with_who_is_left(self) -> None:
        leaves = Fault(4.0, "m", FaultKind.LEAVE)
        outcome = run([fluid(work=10.0, most=2)], [machine("m"), machine("n")], faults=(leaves,))
        assert ends(outcome) == {"j": 6.0}  # 8 are done by 4 s, and one worker does the other 2

    def test_machines_may_join_late(self) -> None:
        outcome = run([fluid()], [machine("m", joins_s=5.0)])
        assert ends(outcome) == {"j": 15.0}

    def test_prices_count_for_the_part_that_is_held(self) -> None:
        outcome = run([fluid()], [machine("m", cpu=2.0, price_per_hour=3600.0)])
        assert outcome.jobs[0].cost == pytest.approx(5.0)


class TestLearning:
    def test_equal_shares_run_at_the_pace_of_the_slowest(self) -> None:
        outcome = run([learner()], [machine("m"), machine("n", speed=0.5)])
        assert ends(outcome) == {"j": 8.0}  # 2 shards of 1 s at half speed, twice
        (job,) = outcome.jobs
        assert [(done.seconds, sorted(done.busy_s)) for done in job.rounds] == [(4.0, [2.0, 4.0])] * 2
        waiting = [one for one in outcome.intervals if one.activity is Activity.WAITING]
        assert [(one.node, one.from_s, one.to_s, one.round) for one in waiting] == [
            ("m", 2.0, 4.0, 0),
            ("m", 6.0, 8.0, 1),
        ]

    def test_shares_by_speed_take_as_long_everywhere(self) -> None:
        machines = [machine("m"), machine("n", speed=0.5)]
        assert ends(run([learner(shards=6)], machines, "speed-proportional")) == {"j": 8.0}

    def test_pulling_needs_no_speeds(self) -> None:
        machines = [machine("m"), machine("n", speed=0.5)]
        outcome = run([learner(rounds=1, shards=12)], machines, {"balance": "pull"})
        assert ends(outcome)["j"] <= 10.0  # by speed: 8; equal: 12

    def test_everything_that_travels_takes_its_time(self) -> None:
        far = [machine("m", s_per_byte=0.001, latency_s=0.5)]
        outcome = run([learner(rounds=2, shards=1, message_bytes=1000.0, update_bytes=2000.0)], far)
        first = 0.5 + 1.0 + 0.1 + 1.0 + 0.5 + 2.0  # message and shard, the work, the update
        assert ends(outcome)["j"] == pytest.approx(first + first - 0.1)  # the shard is there already
        (job,) = outcome.jobs
        assert (job.bytes_moved, job.shards_moved) == (2 * 3000.0 + 100.0, 1)

    def test_the_server_takes_one_update_after_the_other(self) -> None:
        costs = Costs(server_s_per_byte=0.01)
        jobs = [learner(rounds=1, shards=2, update_bytes=100.0)]
        assert ends(run(jobs, [machine("m"), machine("n")], costs=costs)) == {"j": 3.0}
        both = replace(costs, num_servers=2)
        assert ends(run(jobs, [machine("m"), machine("n")], costs=both)) == {"j": 2.0}

    def test_calls_and_rounds_have_a_price(self) -> None:
        outcome = run([learner(rounds=3, shards=1)], [machine("m")], costs=Costs(call_s=0.25, round_s=0.5))
        assert ends(outcome)["j"] == pytest.approx(3 * 1.75)

    def test_a_lost_worker_costs_its_part_of_the_round_and_no_more(self) -> None:
        leaves = Fault(5.0, "n", FaultKind.LEAVE)
        outcome = run([learner(rounds=3)], [machine("m"), machine("n")], faults=(leaves,))
        assert ends(outcome) == {"j": 6.0 + 2.0}  # rounds of 2 s; the other computes both parts of the third
        (job,) = outcome.jobs
        assert (len(job.rounds), job.restarts) == (3, 1)

    def test_all_are_lost_and_what_they_had_sent_is_kept(self) -> None:
        faults = (Fault(3.0, "m", FaultKind.LEAVE), Fault(3.5, "n", FaultKind.LEAVE), Fault(10.0, "m", FaultKind.JOIN))
        machines = [machine("m"), machine("n", speed=0.5)]
        outcome = run([learner(rounds=1)], machines, faults=faults)  # m has sent 2 of 4 shards by 2 s, n nothing
        assert ends(outcome) == {"j": 12.0}

    def test_who_comes_waits_for_the_next_round_and_nothing_is_computed_twice(self) -> None:
        learning = LearningRun(learner(rounds=3), resolve("equal").balance, Costs())
        steady = Steps.of(1.0, ())
        one, two, three = (Seat(number, machine(f"m{number}"), steady, steady, 0.0) for number in range(3))
        learning.seat(0.0, (one,))
        learning.seat(1.0, (one, two))
        while len(learning.rounds) < 2:
            learning.happen(learning.next_s())
        learning.seat(7.0, (two, three))  # in the round from 6 on one has computed 1 of its 2 shards, and sent none
        while not learning.is_done:
            learning.happen(learning.next_s())
        assert [done.ended_s for done in learning.rounds] == [4.0, 6.0, 10.0]

    def test_fluid_and_round_by_round_agree(self) -> None:
        slows = Fault(3.0, "m", FaultKind.SPEED, 0.25)
        machines = [machine("m", speed=2.0), machine("n", speed=2.0)]
        rounds = run([learner(rounds=40, shards=2)], machines, faults=(slows,))
        flow = run([fluid(work=80.0, fewest=2, most=2)], machines, faults=(slows,))
        assert ends(rounds)["j"] == pytest.approx(ends(flow)["j"], rel=0.02)

    def test_shards_that_fit_no_worker_fail_their_job_alone(self) -> None:
        heavy = learner()
        view = replace(heavy.view, id="heavy", bundle=Resources(1.0, 0.0, 10.0))
        outcome = run([replace(heavy, view=view), fluid("b")], [machine("m", cpu=4.0)])
        assert [job.status for job in outcome.jobs] == [Status.FAILED, Status.FINISHED]
        assert "memory" in outcome.jobs[0].reason


class TestScheduling:
    def test_a_job_that_can_never_fit_is_named_and_the_rest_goes_on(self) -> None:
        big = fluid("big", work=1000.0, fewest=3, most=3)
        outcome = run([big, fluid("small")], [machine("m"), machine("n")])
        assert [job.status for job in outcome.jobs] == [Status.NEVER_FITS, Status.FINISHED]
        assert outcome.lower_bound_s == 10.0  # it is no part of the bound
        assert "3 workers are needed at the least, the whole cluster has room for 2" in outcome.jobs[0].reason
        assert outcome.jobs[1].ended_s == 10.0

    def test_who_has_no_patience_goes(self) -> None:
        outcome = run([fluid("a"), fluid("b", at_s=1.0)], [machine("m")], patience_s=0.0)
        assert [job.status for job in outcome.jobs] == [Status.FINISHED, Status.FAILED]
        assert outcome.failed_placements == 1

    def test_a_preemptive_order_takes_workers_back(self) -> None:
        policy = {"order": "srtf"}
        outcome = run([fluid("long", 10.0), fluid("short", 1.0, at_s=2.0)], [machine("m")], policy)
        assert ends(outcome) == {"short": 3.0, "long": 11.0}
        assert outcome.jobs[0].preemptions == 1

    def test_at_ticks_the_policy_is_asked_at_ticks_only(self) -> None:
        outcome = run([fluid("a", 3.0), fluid("b", 3.0, at_s=1.0)], [machine("m")], every_s=10.0)
        assert ends(outcome) == {"a": 3.0, "b": 13.0}

    def test_finish_time_fairness_counts_who_else_was_there(self) -> None:
        outcome = run([fluid("a"), fluid("b")], [machine("m")])
        assert [job.alone_s for job in outcome.jobs] == [10.0, 10.0]
        assert [job.fair_s for job in outcome.jobs] == [20.0, 15.0]  # two ask for one until 10 s

    def test_equal_worlds_come_to_equal_outcomes(self) -> None:
        jobs = [learner(rounds=5, shards=7), fluid("b", at_s=3.0)]
        one, two = (run(jobs, [machine("m"), machine("n")], {"place": "random"}, seed=3) for _ in range(2))
        assert replace(one, decisions_s=()) == replace(two, decisions_s=())

    def test_a_job_without_end_is_unfinished(self) -> None:
        outcome = run([fluid("a", math.inf), fluid("b")], [machine("m")])
        assert [job.status for job in outcome.jobs] == [Status.UNFINISHED] * 2

    def test_a_policy_of_a_users_own_need_not_take_a_memo(self) -> None:
        policy, known = resolve("equal"), resolve("equal")

        def plan(snapshot: ClusterSnapshot) -> ClusterPlan:
            return known.plan(snapshot)

        policy.plan = plan  # type: ignore[method-assign, assignment]
        assert ends(simulate(World(Fleet((machine("m"),)), Workload((fluid(),))), policy)) == {"j": 10.0}

    def test_a_policy_that_breaks_a_rule_ends_the_simulation(self) -> None:
        policy = resolve("equal")
        policy.plan = lambda snapshot, memo=None: None  # type: ignore[method-assign, assignment, return-value]
        with pytest.raises(UserError, match="must return a ClusterPlan"):
            simulate(World(Fleet((machine("m"),)), Workload((fluid(),))), policy)


class TestRelease:
    def test_what_a_job_held_is_granted_again_a_while_after_its_end(self) -> None:
        outcome = run([fluid("a"), fluid("b", 5.0)], [machine("m")], costs=Costs(release_s=2.0))
        assert ends(outcome) == {"a": 10.0, "b": 17.0}
        assert [use.used.cpu for use in outcome.uses if 10.0 <= use.at_s < 12.0] == [1.0]

    def test_a_machine_that_leaves_and_comes_back_meanwhile_has_no_more_than_before(self) -> None:
        faults = (Fault(10.5, "m", FaultKind.LEAVE), Fault(11.0, "m", FaultKind.JOIN))
        jobs = [fluid("a"), *(fluid(f"b{number}", 5.0) for number in range(3))]
        outcome = run(jobs, [machine("m")], costs=Costs(release_s=2.0), faults=faults)
        assert ends(outcome) == {"a": 10.0, "b0": 16.0, "b1": 23.0, "b2": 30.0}
        assert max(use.used.cpu for use in outcome.uses) == 1.0
