"""What drivers are told, and when whoever waits would fit."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from policies.feasibility import slots
from policies.interface import Grant, JobView, NodeTable, Resources
from scheduler.service.orders import Command, Desk, Orders
from scheduler.service.records import Lease
from scheduler.service.waiting import Running, fits_in_s

GRANTS = tuple(
    Grant("job", worker, node, devices) for worker in range(3) for node, devices in (("ant", ()), ("bee", (0,)))
)
LEASES = tuple(Lease(grant, f"group-{number}", float(number)) for number, grant in enumerate(GRANTS))
SOME = st.lists(st.sampled_from(LEASES), unique=True)


@given(leases=SOME, command=st.sampled_from(Command), number=st.integers(0, 10**15))
def test_orders_are_what_they_were(leases: list[Lease], command: Command, number: int) -> None:
    orders = Orders(number, command, tuple(leases))
    assert Orders.of_json(json.loads(json.dumps(orders.as_json()))) == orders


@given(told=st.lists(st.tuples(st.sampled_from("ab"), SOME, st.sampled_from(Command)), max_size=12))
def test_numbers_grow_with_every_change_and_only_with_one(told: list[tuple[str, list[Lease], Command]]) -> None:
    desk = Desk(100)
    assert desk.orders("a") == Orders(100)
    for job, leases, command in told:
        before = desk.orders(job)
        is_new = desk.tell(job, leases, command)
        after = desk.orders(job)
        assert (after.leases, after.command) == (tuple(leases), command)
        assert after.number == before.number + is_new
        assert is_new or before == after


def test_the_first_orders_are_new_even_where_there_is_nothing_in_them() -> None:
    desk = Desk(0)
    assert desk.tell("a", ())
    assert not desk.tell("a", ())


@given(holds=st.sets(st.sampled_from(GRANTS)), leaving=st.sets(st.sampled_from(GRANTS)))
def test_a_driver_has_left_what_it_holds_no_actors_on(holds: set[Grant], leaving: set[Grant]) -> None:
    desk = Desk(0)
    assert desk.has_left("job", leaving)
    desk.hear("job", holds)
    assert desk.has_left("job", leaving) == (not holds & leaving)
    desk.forget("job")
    assert desk.has_left("job", leaving)


def test_a_job_that_has_ended_is_told_to_stop_once_and_for_all() -> None:
    desk = Desk(0)
    desk.tell("job", LEASES)
    desk.hear("job", GRANTS)
    desk.drop("job")
    number = desk.orders("job").number
    desk.drop("job")
    assert desk.orders("job") == Orders(number, Command.STOP)
    assert desk.has_left("job", GRANTS)


def view(least: int = 1, cpu: float = 1.0, gpu: float = 0.0) -> JobView:
    return JobView("job", 0.0, Resources(cpu, gpu), least, least)


def full(*capacity: tuple[float, float]) -> NodeTable:
    amounts = [[cpu, gpu, 1e9] for cpu, gpu in capacity]
    return NodeTable.of([f"n{row}" for row in range(len(amounts))], amounts, [[0.0, 0.0, 1e9] for _ in amounts])


def running(left_s: float, node: str, workers: int, cpu: float = 1.0, gpu: float = 0.0) -> Running:
    devices = (0,) if gpu else ()
    return Running(
        left_s, Resources(cpu, gpu), [Grant(f"on-{node}", number, node, devices) for number in range(workers)]
    )


def test_a_job_that_fits_fits_now() -> None:
    nodes = NodeTable.of(["ant"], [[2.0, 0.0, 1e9]], [[1.0, 0.0, 1e9]])
    assert fits_in_s(view(), nodes, []) == 0.0


def test_a_job_fits_when_enough_have_ended() -> None:
    nodes, both = full((2, 0), (2, 0)), [running(9.0, "n0", 2), running(4.0, "n1", 2)]
    assert fits_in_s(view(2), nodes, both) == 4.0
    assert fits_in_s(view(3), nodes, both) == 9.0
    assert math.isnan(fits_in_s(view(5), nodes, both))


def test_whose_end_is_not_known_ends_last() -> None:
    nodes = full((2, 0), (2, 0))
    assert fits_in_s(view(2), nodes, [running(math.nan, "n0", 2), running(4.0, "n1", 2)]) == 4.0
    assert math.isnan(fits_in_s(view(3), nodes, [running(math.nan, "n0", 2), running(4.0, "n1", 2)]))


def test_gpus_come_free_one_by_one() -> None:
    nodes = full((2, 1), (2, 1))
    both = [running(4.0, "n0", 2, gpu=0.5), running(6.0, "n1", 1, gpu=1.0)]
    assert fits_in_s(view(1, gpu=1.0), nodes, both) == 4.0
    assert fits_in_s(view(2, gpu=1.0), nodes, both) == 6.0


def test_leases_on_nodes_that_are_gone_give_nothing_back() -> None:
    assert math.isnan(fits_in_s(view(), full((2, 0)), [running(1.0, "gone", 2)]))


ENDS = st.floats(0.5, 100.0) | st.just(math.nan)


@given(
    ends=st.lists(st.tuples(ENDS, st.sampled_from(("n0", "n1")), st.integers(1, 2)), max_size=4),
    least=st.integers(1, 5),
    cpu=st.sampled_from((0.5, 1.0, 2.0)),
)
def test_a_job_fits_when_somebody_ends_and_never_later_for_fewer(
    ends: list[tuple[float, str, int]], least: int, cpu: float
) -> None:
    nodes, all_running = full((4, 0), (4, 0)), [running(*one) for one in ends]
    found = fits_in_s(view(least, cpu), nodes, all_running)
    assert math.isnan(found) or found in [one.left_s for one in all_running]
    before = [one for one in all_running if not one.left_s > found and not math.isnan(one.left_s)]
    given_back = {name: sum(len(one.leases) for one in before if one.leases[0].node == name) for name in nodes.ids}
    free = [[min(float(given_back[name]), 4.0), 0.0, 1e9] for name in nodes.ids]
    fits = slots(view(least, cpu), NodeTable.of(nodes.ids, nodes.capacity, free)).sum() >= least
    assert fits == (not math.isnan(found))
    if least > 1 and fits:
        assert fits_in_s(view(least - 1, cpu), nodes, all_running) <= found
