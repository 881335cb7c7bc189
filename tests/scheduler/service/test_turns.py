"""Turns of the service: who gets workers, whose driver is started, and what it takes to go on after any death."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from turning_cases import Killed, World, check_books, check_jobs, untold

from policies.interface import ClusterPlan, ClusterSnapshot, Memo, Resources, Tenant
from scheduler.errors import UserError
from scheduler.service import turns
from scheduler.service.records import State, TenantRecord
from scheduler.service.watching import MOST_ATTEMPTS, SILENT_S, START_S, STOP_S

CPUS = 10  # of the three nodes together: 4, 4 and 2


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "REST_S", 0.0)


@pytest.fixture
def world() -> World:
    return World()


def state(world: World, job: str) -> State:
    return world.registry[job].state


def test_a_job_gets_its_gang_whole_or_nothing() -> None:
    world = World("fifo+spread+equal")
    world.submit("large", 8, 8)
    world.submit("larger", 4, 4)
    assert (world.num_held("large"), world.num_held("larger")) == (8, 0)
    assert "larger" in str(world.turns.refusals["larger"])
    world.finish("large")
    world.turn()
    assert (world.num_held("large"), world.num_held("larger")) == (0, 4)
    assert "larger" not in world.turns.refusals
    check_books(world)


def test_drivers_are_started_once_and_only_for_jobs_with_workers() -> None:
    world = World("fifo+spread+equal")
    world.submit("first", 10, 10)
    world.submit("second", 1, 1)
    world.submit("third", 1, 1, after=("first",))
    world.turn(5)
    assert world.drivers.started == ["apportion-first-1"]
    assert [state(world, job) for job in ("first", "second", "third")] == [State.RUNNING, State.QUEUED, State.HELD]
    world.finish("first")
    world.turn(4)
    assert sorted(world.drivers.started) == ["apportion-first-1", "apportion-second-1", "apportion-third-1"]


def test_a_job_whose_client_drives_it_is_given_no_driver(world: World) -> None:
    submission = world.submission("own").model_copy(update={"is_driven": True})
    world.hand_in(submission)
    world.turn(3)
    assert (world.num_held("own"), world.drivers.started, state(world, "own")) == (1, [], State.STARTING)


def test_jobs_grow_into_free_room_and_shrink_when_another_tenant_comes(world: World) -> None:
    world.registry.set_tenant(TenantRecord(Tenant("red")), world.now_s)
    world.submit("first", 1, CPUS)
    world.turn(3)
    assert world.num_held("first") == CPUS
    world.submit("second", 1, CPUS, tenant="red")
    world.turn(3)
    assert (world.num_held("first"), world.num_held("second")) == (CPUS // 2, CPUS // 2)
    assert len(world.drivers.of("first")[0].holds) == CPUS // 2
    assert world.drivers.started == ["apportion-first-1", "apportion-second-1"]
    world.finish("second")
    world.turn(3)
    assert world.num_held("first") == CPUS
    check_books(world)


def test_a_paused_job_gives_everything_back_and_has_it_again(world: World) -> None:
    world.submit("patient", 2, 2)
    world.control("patient", "pause")
    world.turn()
    assert (state(world, "patient"), world.num_held("patient"), world.cluster.held) == (State.PAUSED, 0, {})
    assert world.drivers.of("patient")[0].holds == ()
    world.control("patient", "resume")
    world.turn(3)
    assert (state(world, "patient"), world.num_held("patient")) == (State.RUNNING, 2)
    assert world.drivers.started == ["apportion-patient-1"]
    assert world.registry["patient"].preemptions == 0


def test_a_driver_that_dies_while_its_job_is_paused_is_started_again_at_the_end(world: World) -> None:
    world.submit("patient", 2, 2)
    world.control("patient", "pause")
    world.turn()
    world.drivers.die("patient")
    world.turn(2, after_s=10.0)
    assert (state(world, "patient"), len(world.drivers.started)) == (State.PAUSED, 1)
    world.control("patient", "resume")
    world.turn(3)
    assert (state(world, "patient"), world.drivers.started[1:]) == (State.RUNNING, ["apportion-patient-2"])


def test_a_job_that_waits_is_stopped_at_once_and_one_that_runs_when_its_driver_has_stopped() -> None:
    world = World("fifo+spread+equal")
    world.submit("first", 10, 10)
    world.submit("second", 1, 1)
    world.control("second", "stop")
    assert state(world, "second") is State.STOPPED
    world.turn()
    assert "second" not in world.ledger
    world.control("first", "stop")
    assert (state(world, "first"), world.num_held("first")) == (State.STOPPING, 10)
    world.turn(3)
    assert (state(world, "first"), world.num_held("first"), world.drivers.alive) == (State.STOPPED, 0, {})
    assert world.drivers.stopped == []
    check_books(world)


def test_a_driver_that_does_not_stop_is_ended(world: World) -> None:
    world.submit("deaf")
    world.drivers.of("deaf")[0].is_deaf = True
    world.control("deaf", "stop")
    world.turn(2)
    assert (state(world, "deaf"), world.drivers.stopped) == (State.STOPPING, [])
    world.turn(2, after_s=STOP_S)
    world.turn(2, after_s=STOP_S)
    assert (state(world, "deaf"), world.drivers.stopped) == (State.STOPPED, ["apportion-deaf-1"])


def test_a_job_that_is_to_stop_gets_no_workers_any_more() -> None:
    world = World("fifo+spread+equal")
    world.submit("first", 10, 10)
    world.control("first", "pause")
    world.submit("second", 10, 10)
    world.control("first", "resume")
    world.turn()
    assert (state(world, "first"), world.registry["first"].num_attempts) == (State.QUEUED, 1)
    world.drivers.of("first")[0].is_deaf = True
    world.control("first", "stop")
    world.finish("second")
    world.turn(3)
    assert (state(world, "first"), world.cluster.held) == (State.STOPPING, {})


def test_a_driver_that_dies_is_started_again(world: World) -> None:
    world.submit("unlucky", 2, 2)
    before = world.cluster.held
    world.drivers.die("unlucky")
    world.turn(3, after_s=6.0)
    record = world.registry["unlucky"]
    assert (record.state, record.num_attempts) == (State.RUNNING, 2)
    assert world.drivers.started == ["apportion-unlucky-1", "apportion-unlucky-2"]
    assert world.cluster.held == before


@pytest.mark.parametrize("rounds", [(0, 0, 0, 0, 0), (3, 0, 3, 0, 3), (7, 7, 7, 7, 7)])
def test_drivers_that_die_without_a_round_between_are_given_up(world: World, rounds: tuple[int, ...]) -> None:
    """Those that have done no round more than any driver before them count."""
    world.submit("hopeless")
    for number, done in enumerate(rounds, 1):
        assert state(world, "hopeless") is State.RUNNING
        assert world.registry["hopeless"].num_attempts == number
        world.drivers.of("hopeless")[0].rounds = done
        world.turn(1)
        world.drivers.die("hopeless")
        world.turn(3, after_s=6.0)
    record = world.registry["hopeless"]
    assert (record.state, record.reason) == (State.FAILED, "its process has died")
    assert (record.num_attempts, world.cluster.held) == (MOST_ATTEMPTS, {})
    check_books(world)


def test_drivers_that_die_with_rounds_between_are_started_as_often_as_it_takes(world: World) -> None:
    world.submit("slow")
    for number in range(1, 3 * MOST_ATTEMPTS):
        world.drivers.of("slow")[0].rounds = number
        world.turn(1)
        world.drivers.die("slow")
        world.turn(3, after_s=6.0)
    assert (state(world, "slow"), world.registry["slow"].num_attempts) == (State.RUNNING, 3 * MOST_ATTEMPTS)


@pytest.mark.parametrize("patience_s", [SILENT_S, START_S])
def test_a_driver_that_is_silent_is_ended_and_another_is_started(world: World, patience_s: float) -> None:
    """One that was never heard is given longer."""
    if patience_s == SILENT_S:
        world.submit("silent")
    else:
        world.hand_in(world.submission("silent"))
        world.turns.turn()
    world.drivers.of("silent")[0].is_deaf = True
    world.turn(1, after_s=patience_s - 5.0)
    assert world.drivers.stopped == []
    world.turn(2, after_s=10.0)
    assert (world.drivers.stopped, world.drivers.started[1:]) == (["apportion-silent-1"], ["apportion-silent-2"])


def test_a_job_that_lost_a_node_is_given_another(world: World) -> None:
    world.submit("first", 8, 8, cpu=1.0)
    node = "bee00000ffff"
    lost = [grant for grant in world.cluster.held if grant.node == node]
    world.cluster.lose(node)
    world.cluster.bad = {node}
    world.turns.turn()
    world.cluster.bad = set()
    assert lost
    world.turn(2)
    assert (world.num_held("first"), state(world, "first")) == (8, State.RUNNING)
    check_books(world)
    check_jobs(world)


def test_what_a_stale_plan_took_back_is_held_by_nobody(world: World) -> None:
    """The plan after it may leave those alone whose leases are gone already."""
    world.registry.set_tenant(TenantRecord(Tenant("red")), world.now_s)
    world.submit("first", 1, CPUS)
    world.hand_in(world.submission("second", 1, CPUS, tenant="red"))
    world.cluster.refusals = 100
    world.turn(1)
    assert world.turns.trouble == "a node did not give a bundle"
    check_books(world)
    world.cluster.refusals = 0
    world.turn(3)
    assert world.turns.trouble == ""
    assert (world.num_held("first"), world.num_held("second")) == (CPUS // 2, CPUS // 2)
    check_books(world)
    check_jobs(world)


class Raising:
    """A policy that raises."""

    name = "raising"
    needs_running = True

    def plan(self, snapshot: ClusterSnapshot, memo: Memo | None = None) -> ClusterPlan:
        raise ZeroDivisionError("nobody has thought of this")


def test_a_policy_that_raises_leaves_everything_as_it_is(world: World) -> None:
    world.submit("first", 2, 2)
    before = world.cluster.held
    policy, world.turns._policy = world.turns._policy, Raising()
    world.submit("second", 2, 2)
    assert "ZeroDivisionError: nobody has thought of this" in world.turns.trouble
    assert (world.cluster.held, state(world, "second")) == (before, State.QUEUED)
    check_books(world)
    world.turns._policy = policy
    world.turns.touch()
    world.turn()
    assert (world.turns.trouble, state(world, "second")) == ("", State.RUNNING)


def test_a_policy_that_is_none_decides_nothing_and_is_told(world: World) -> None:
    """The journal may be of a program that had it; drivers are looked after all the same."""
    world.submit("first", 2, 2)
    world.registry.set_policy("fifi", world.now_s)
    world.submit("second")
    world.turn(3)
    assert "fifi" in world.turns.trouble
    assert state(world, "second") is State.QUEUED
    world.control("first", "stop")
    world.turn(3)
    assert (state(world, "first"), world.cluster.held) == (State.STOPPED, {})
    world.registry.set_policy("fifo+spread+equal", world.now_s)
    world.turn()
    assert (world.turns.trouble, state(world, "second")) == ("", State.RUNNING)


@pytest.mark.parametrize("policy", ["fifo+spread+equal", "fair-share+fgd+adaptive-pull", "las+pack+equal"])
def test_bounds_are_kept_after_a_resize(policy: str) -> None:
    world = World(policy)
    world.submit("first", 4, 4)
    world.resize("first", 1, 2)
    world.turn(3)
    assert world.num_held("first") == 2
    world.resize("first", 6, 8)
    world.turn(3)
    assert 6 <= world.num_held("first") <= 8
    check_books(world)
    check_jobs(world)


def test_a_service_that_begins_again_has_the_same_jobs_leases_and_drivers(world: World) -> None:
    world.submit("first", 2, 4)
    world.submit("second", 2, 4)
    world.submit("third", 10, 10)
    held, started = world.cluster.held, list(world.drivers.started)
    jobs = [(one.id, one.state) for one in world.registry.everyone]
    world.begin()
    world.turn(3)
    assert world.cluster.held == held
    assert world.drivers.started == started
    assert [(one.id, one.state) for one in world.registry.everyone] == jobs


def test_a_job_whose_leases_went_while_there_was_no_service_waits_again() -> None:
    world = World("fifo+spread+equal")
    world.submit("first", 8, 8)
    world.drivers.die("first")
    for node in world.cluster.observe().ids:
        world.cluster.lose(node)
    world.begin()
    assert state(world, "first") is State.QUEUED
    check_books(world)
    world.turn(3, after_s=6.0)
    assert (state(world, "first"), world.num_held("first")) == (State.RUNNING, 8)
    assert world.drivers.started == ["apportion-first-1", "apportion-first-2"]


def test_a_job_that_can_never_fit_is_refused(world: World) -> None:
    with pytest.raises(UserError, match="it can never have its workers on this cluster"):
        world.submit("giant", 1, 1, cpu=5.0)
    assert world.journal.jobs() == []


def test_a_turn_of_300_jobs_that_wait_writes_few_rows() -> None:
    world = World("fifo+spread+equal")
    world.registry.set_tenant(TenantRecord(Tenant("red"), most_jobs=1), world.now_s)
    world.submit("first", 10, 10)
    for number in range(300):
        world.hand_in(world.submission(f"j{number}", tenant="red" if number % 2 else "default"))
    world.turn()
    before = world.journal._db.total_changes
    world.turn(5)
    assert world.journal._db.total_changes == before  # nothing has changed
    world.hand_in(world.submission("another"))
    begun = world.journal._db.total_changes
    world.turn(1)
    assert 0 < world.journal._db.total_changes - begun <= 5
    world.finish("first")
    before = world.journal._db.total_changes
    world.turn(1)
    assert world.ledger.num_running == CPUS
    assert world.journal._db.total_changes - before <= 10 + 4 * CPUS + 10


def test_who_has_ended_is_looked_after_no_longer(world: World) -> None:
    """A job that a client drives is stopped at once where it holds nothing, whoever asks for it."""
    submission = world.submission("own", 1, 1, after=(world.submit("first").id,)).model_copy(
        update={"is_driven": True, "driven_by": "0a"}
    )
    record = world.hand_in(submission)
    world.desk.hear("own", ())
    world.turns.watching.hear(record, record.heard, 0, world.now_s)
    world.control("own", "stop")
    world.turn(3, after_s=10.0)
    assert not world.turns.watching.is_alive("own")
    assert world.turns.watching.is_alive("first")


def test_a_client_that_was_killed_leaves_its_name_at_once(world: World) -> None:
    """Whoever goes on with its run has the same name, and comes before its silence is noticed."""
    own = {"is_driven": True, "driven_by": "0a"}
    world.submit("other")
    record = world.hand_in(world.submission("own", 2, 2).model_copy(update=own))
    world.turn(2)
    world.turns.watching.hear(world.registry["own"], record.heard, 2, world.now_s)
    world.turns.watching.free_name("own", world.now_s)
    with pytest.raises(UserError, match="a job named 'own' is running already"):
        world.submit("own", 1, 1)
    world.drivers.gone.add("connection:0a")
    world.turns.watching.free_name("other", world.now_s)
    assert state(world, "own") is State.RUNNING
    world.turns.watching.free_name("own", world.now_s)
    assert state(world, "own") is State.FAILED
    world.submit("own", CPUS - 1, CPUS - 1)
    assert (world.num_held("own"), world.num_held("own.2")) == (0, CPUS - 1)
    assert state(world, "other") is State.RUNNING
    check_books(world)


def test_quotas_hold_from_turn_to_turn(world: World) -> None:
    quota = TenantRecord(Tenant("red", quota=Resources(cpu=3.0, memory=1e12), borrows=False))
    world.registry.set_tenant(quota, world.now_s)
    for name in "abc":
        world.submit(name, 1, 3, tenant="red")
    world.turn(3)
    assert sum(world.num_held(name) for name in "abc") == 3
    with pytest.raises(UserError, match="tenant red does not borrow"):
        world.submit("d", 4, 4, tenant="red")


def test_a_service_that_begins_again_knows_what_its_jobs_have_had(world: World) -> None:
    """Other leases, lost nodes and pauses count as they were; what is held goes on counting."""
    world.submit("first", 2, 4)
    world.resize("first", 1, 2)
    world.submit("second", 3, 3)
    world.turn(2, after_s=7.0)
    world.control("second", "pause")
    world.turn(2, after_s=5.0)
    world.turns.touch()
    world.turn(1)
    before = {name: world.ledger.job(name).attained_s for name in ("first",)}
    second_s = world.turns.watching._attained["second"][0]
    world.begin()
    world.turns.touch()
    world.turns.turn()
    assert before["first"] > 30.0
    assert world.ledger.job("first").attained_s == pytest.approx(before["first"])
    world.control("second", "resume")
    world.turn(1, after_s=0.0)
    assert world.turns.watching._attained["second"][0] == pytest.approx(second_s)
    assert second_s > 0
    world.turns.touch()
    world.turn(1, after_s=10.0)
    assert world.ledger.job("first").attained_s == pytest.approx(before["first"] + 10.0 * world.num_held("first"))


def test_a_service_that_begins_again_goes_on_counting_drivers_that_died(world: World) -> None:
    world.submit("hopeless")
    for number in range(MOST_ATTEMPTS):
        assert state(world, "hopeless") is State.RUNNING
        if number in (2, 3):
            world.begin()
        world.drivers.of("hopeless")[0].rounds = 3 if number == 0 else 2
        world.turn(1)
        world.drivers.die("hopeless")
        world.turn(3, after_s=6.0)
    record = world.registry["hopeless"]
    assert (record.state, record.num_attempts) == (State.FAILED, MOST_ATTEMPTS)


@pytest.mark.parametrize(
    ("result", "kept"),
    [
        ({"loss": float("nan"), "most": float("inf")}, {"loss": None, "most": None}),
        ({"rounds": np.int64(3), "loss": np.float32(0.5), "by": (np.bool_(True), "x")}, None),
        ({3: np.arange(2), "set": {1}, "path": Path("a/b")}, {"3": [0, 1], "set": [1], "path": "a/b"}),
    ],
)
def test_a_job_ends_whatever_its_driver_tells(
    world: World, result: dict[str, object], kept: dict[str, object] | None
) -> None:
    world.submit("first", 2, 2)
    world.turns.watching.end(world.registry["first"], State.FINISHED, "", world.now_s, result=result)
    world.turn(2)
    assert (state(world, "first"), world.num_held("first")) == (State.FINISHED, 0)
    expected = {"rounds": 3, "loss": 0.5, "by": [True, "x"]} if kept is None else kept
    assert world.registry["first"].result == expected
    assert json.loads(json.dumps(expected, allow_nan=False)) == world.journal.jobs()[0].result
    check_jobs(world)


def test_a_paused_job_makes_room_among_its_tenants_jobs(world: World) -> None:
    world.registry.set_tenant(TenantRecord(Tenant("red"), 1), world.now_s)
    world.submit("first", 2, 2, tenant="red")
    world.submit("second", 2, 2, tenant="red")
    assert state(world, "second") is State.HELD
    world.control("first", "pause")
    world.turn(2)
    assert [state(world, name) for name in ("first", "second")] == [State.PAUSED, State.RUNNING]
    world.control("first", "resume")
    world.turn(2)
    assert state(world, "first") is State.HELD
    assert world.registry["first"].reason == "tenant red may have 1 jobs at a time"
    world.finish("second")
    world.turn(3)
    assert (state(world, "first"), world.drivers.started) == (
        State.RUNNING,
        ["apportion-first-1", "apportion-second-1"],
    )
    check_jobs(world)


ACTS: tuple[Callable[[World], object], ...] = (
    lambda world: world.hand_in(world.submission("third")),
    lambda world: world.control("first", "pause"),
    lambda world: world.control("first", "stop"),
    lambda world: world.control("second", "resume"),
    lambda world: world.resize("first", 1, 3),
    lambda world: world.turns.watching.end(world.registry["first"], State.FINISHED, "", world.now_s),
    lambda world: world.registry.set_tenant(TenantRecord(Tenant("blue", 2.0)), world.now_s),
    lambda world: world.registry.set_policy("fifo+spread+equal", world.now_s),
)


@pytest.mark.parametrize("act", range(len(ACTS)))
def test_what_cannot_be_written_whole_has_not_happened(world: World, act: int) -> None:
    """Neither on the disk nor here, wherever it breaks off: a client that hears an error may ask again."""

    def everything() -> tuple[object, ...]:
        jobs = [untold(one) for one in world.registry.everyone]
        assert jobs == [untold(one) for one in world.journal.jobs()]
        events = len(world.journal.rows("SELECT number FROM events"))
        return (
            jobs,
            [one.id for one in world.registry.live],
            dict(world.registry.tenants),
            world.registry.policy,
            events,
        )

    world.submit("first", 2, 2)
    world.submit("second", 1, 1)
    world.control("second", "pause")
    world.turn(2)
    before, num = everything(), 0
    while True:
        world.fuse.left = num
        try:
            if act == 5:
                with world.registry.together():
                    ACTS[act](world)
            else:
                ACTS[act](world)
            break
        except Killed:
            num += 1
            assert everything() == before
    world.fuse.left = None
    assert num
    assert everything() != before
    world.turn(3)
    check_books(world)
    check_jobs(world)
