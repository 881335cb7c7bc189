"""What an autoscaler is asked for: what is used, and whole gangs that it can have, in the policy's order."""

from __future__ import annotations

from collections.abc import Mapping
from threading import RLock
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from service_cases import NoDrivers, Service

from policies.interface import ClusterPlan, Grant, JobView, NodeTable, Resources, Shortfall, Tenant, Unplaced
from scheduler.ledger import Ledger
from scheduler.service import demand, turns
from scheduler.service.demand import Wanted
from scheduler.service.growth import Growth, NodeType, num_fitting
from scheduler.service.orders import Desk
from scheduler.service.records import State, TenantRecord
from scheduler.service.turns import Turns

ONE = Resources(cpu=1.0)
PLAIN = NodeType("plain", Resources(cpu=2.0), 3)
GROWTH = Growth((PLAIN, NodeType("big", Resources(4.0, 2.0, 8.0), 1, {"size": "big"})), 4)
HEAD = NodeTable.of(["head"], [[2.0, 0.0, 0.0]])


def job(name: str, least: int = 1, bundle: Resources = ONE, **more: Any) -> JobView:
    return JobView(name, 0.0, bundle, least, more.pop("most", least), **more)


def bundles(
    ledger: Ledger, nodes: NodeTable, growth: Growth | None, refusals: Mapping[str, Unplaced] | None = None
) -> tuple[Wanted, ...]:
    return demand.bundles(ledger, nodes, growth, refusals or {})


def ledger_of(*jobs: JobView, tenants: tuple[Tenant, ...] = ()) -> Ledger:
    ledger = Ledger(tenants)
    for one in jobs:
        ledger.submit(one)
    return ledger


def run(ledger: Ledger, name: str, *nodes: str) -> None:
    grants = tuple(Grant(name, worker, node) for worker, node in enumerate(nodes))
    ledger.record(ClusterPlan(ledger.version, grants))


def test_nobody_wants_nothing_whatever_others_use() -> None:
    assert bundles(Ledger(), NodeTable.of(["a"], [[2.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]), GROWTH) == ()


def test_a_waiting_gang_is_wanted_with_its_labels_and_without_its_growth() -> None:
    big = job("big", 2, most=4, selector={"size": ("big", "huge")})
    found = bundles(ledger_of(job("gang", 3, most=9), big), HEAD, GROWTH)
    assert found == (Wanted(ONE, 3), Wanted(ONE, 2, (("size", ("big", "huge")),)))


def test_equal_bundles_are_counted_together() -> None:
    assert bundles(ledger_of(job("a", 2), job("b", 3)), HEAD, GROWTH) == (Wanted(ONE, 5),)


def test_what_is_used_is_wanted_where_it_is_also_by_others() -> None:
    ledger = ledger_of(job("runs"))
    run(ledger, "runs", "a")
    nodes = NodeTable.of(["a", "b", "c"], [[2.0, 1.0, 8.0]] * 3, [[1.0, 1.0, 8.0], [2.0, 1.0, 8.0], [2.0, 0.5, 6.0]])
    assert bundles(ledger, nodes, GROWTH) == (
        Wanted(Resources(1.0, 0.0, 0.0), 1, node="a"),
        Wanted(Resources(0.0, 0.5, 2.0), 1, node="c"),
    )


def test_a_running_gang_that_has_lost_workers_wants_those_again() -> None:
    ledger = ledger_of(job("runs", 3))
    run(ledger, "runs", "head")
    nodes = NodeTable.of(["head"], [[2.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]])
    assert bundles(ledger, nodes, GROWTH) == (Wanted(ONE, 1, node="head"), Wanted(ONE, 2))


def test_who_cannot_fit_beside_those_before_is_left_out_and_others_are_not() -> None:
    # head 2, three plain nodes 6; or two plain nodes and the big one: 10
    ledger = ledger_of(job("fits", 7), job("too many", 5), job("as many", 5), job("small", 1))
    assert bundles(ledger, HEAD, GROWTH) == (Wanted(ONE, 8),)


def refused(*names: str, turn: str = "") -> dict[str, Unplaced]:
    """Return what a plan says of jobs that it could not place; those after ``turn`` wait for that one."""
    behind = names.index(turn) if turn else len(names)
    reasons = [Shortfall("turn", 1.0, 0.0, f"behind job {turn}") if n > behind else None for n in range(len(names))]
    return {
        name: Unplaced(name, 0, 1, (reason or Shortfall("cpu", 1.0, 0.0, "node head"),))
        for name, reason in zip(names, reasons, strict=True)
    }


def test_who_goes_first_by_the_policy_has_the_last_node_whoever_came_first() -> None:
    growth = Growth(GROWTH.types, 2)
    first, second = job("late", 1, Resources(4.0, 2.0)), job("early", 4)
    ledger = ledger_of(second, first)
    assert bundles(ledger, HEAD, growth) == (Wanted(ONE, 4),)
    assert bundles(ledger, HEAD, growth, refused("late", "early")) == (Wanted(first.bundle, 1),)
    assert bundles(ledger, HEAD, growth, refused("gone", "early")) == (Wanted(ONE, 4),)


def test_nodes_do_not_come_for_who_may_not_overtake_one_that_cannot_have_its_nodes() -> None:
    ledger = ledger_of(job("front", 99), job("next", 1), job("other", 1, Resources(cpu=2.0)))
    assert bundles(ledger, HEAD, GROWTH, refused("front", "next", "other", turn="front")) == ()
    assert bundles(ledger, HEAD, GROWTH, refused("front", "next", "other", turn="next")) == (Wanted(ONE, 1),)
    ledger.drop("front")
    told = refused("front", "next", "other", turn="front")
    assert bundles(ledger, HEAD, GROWTH, told) == (Wanted(ONE, 1), Wanted(Resources(cpu=2.0), 1))


def test_a_bundle_that_no_type_could_hold_is_not_wanted_and_does_not_keep_others_from_being_so() -> None:
    wide = job("wide", 1, Resources(cpu=5.0))
    assert bundles(ledger_of(wide, job("small")), HEAD, GROWTH) == (Wanted(ONE, 1),)


def test_without_knowledge_of_types_everybody_is_taken_to_fit() -> None:
    assert bundles(ledger_of(job("many", 50)), HEAD, None) == (Wanted(ONE, 50),)


def test_nodes_do_not_come_for_who_is_over_a_quota_and_does_not_borrow() -> None:
    tenants = (Tenant("red", quota=Resources(cpu=2.0), borrows=False), Tenant("blue", quota=Resources(cpu=2.0)))
    mine = [job(f"red {number}", 1, tenant="red") for number in range(3)]
    ledger = ledger_of(*mine, job("blue", 4, tenant="blue"), tenants=tenants)
    run(ledger, "red 0", "head")
    nodes = NodeTable.of(["head"], [[2.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]])
    assert bundles(ledger, nodes, GROWTH) == (Wanted(ONE, 1, node="head"), Wanted(ONE, 1 + 4))


def test_of_a_quota_that_was_lowered_below_what_is_held_nothing_is_left() -> None:
    tenants = (Tenant("red", quota=Resources(cpu=2.0), borrows=False),)
    ledger = ledger_of(job("runs", 3, tenant="red"), job("waits", 1, tenant="red"), tenants=tenants)
    run(ledger, "runs", "head", "head", "head")
    nodes = NodeTable.of(["head"], [[4.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]])
    assert bundles(ledger, nodes, GROWTH) == (Wanted(Resources(3.0, 0.0, 0.0), 1, node="head"),)


def test_sums_of_parts_are_asked_for_as_ray_counts_them() -> None:
    ledger = ledger_of(job("runs"))
    run(ledger, "runs", "a")
    nodes = NodeTable.of(["a", "b"], [[1.0, 0.0, 0.0]] * 2, [[1.0 - 0.1 - 0.2, 0.0, 0.0], [1.0 - 1e-13, 0.0, 0.0]])
    assert bundles(ledger, nodes, GROWTH) == (Wanted(Resources(0.3, 0.0, 0.0), 1, node="a"),)


def test_no_more_is_asked_for_than_an_autoscaler_can_reckon_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand, "MOST_BUNDLES", 5)
    assert bundles(ledger_of(job("a", 3), job("b", 3)), HEAD, None) == (Wanted(ONE, 3),)


BUNDLES = st.builds(Resources, st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.0]))
JOBS = st.lists(st.tuples(BUNDLES, st.integers(1, 6)), max_size=8)
TYPES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3)), max_size=3)
NODES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=4)


@settings(max_examples=100, deadline=None)
@given(JOBS, TYPES, NODES, st.integers(0, 8))
def test_what_is_wanted_are_whole_gangs_for_which_there_is_room(
    jobs: list[tuple[Resources, int]], types: list[tuple[int, int, int]], found: list[tuple[int, int, int]], more: int
) -> None:
    capacity = [[max(cpu, free), gpu, 0.0] for cpu, free, gpu in found]
    nodes = NodeTable.of(
        [str(number) for number in range(len(found))], capacity, [[free, gpu, 0.0] for _, free, gpu in found]
    )
    kinds = tuple(NodeType(f"t{number}", Resources(cpu, gpu), most) for number, (cpu, gpu, most) in enumerate(types))
    growth = Growth(kinds, len(nodes) + more)
    views = [job(str(number), least, bundle) for number, (bundle, least) in enumerate(jobs)]
    wanted = bundles(ledger_of(*views), nodes, growth)
    assert wanted == bundles(ledger_of(*views), nodes, growth)
    assert len({(one.bundle, one.node) for one in wanted}) == len(wanted)
    fresh = [one for one in wanted if not one.node]
    for one in fresh:  # some of the gangs of this bundle, each whole
        sums = {0}
        for bundle, least in jobs:
            sums |= {before + least for before in sums} if bundle == one.bundle else set()
        assert one.number in sums
    asked = sum((one.bundle.vector() * one.number for one in fresh), np.zeros(3))
    best = sorted((kind.resources.vector() for kind in kinds for _ in range(kind.most)), key=lambda one: -one[0])
    room = nodes.free.sum(axis=0) + np.array([sum(one[0] for one in best[:more]), sum(one[1] for one in best), 0.0])
    assert (asked <= room + 1e-9).all()
    for view in views[:1]:  # the first in the queue is left out only if it does not fit at all
        fits = num_fitting(view, nodes, growth) == view.min_workers
        assert fits == any(one.bundle == view.bundle and one.number >= view.min_workers for one in fresh)


class Asking:
    """A service, and what it has asked an autoscaler for, processors only."""

    def __init__(self, policy: str = "fifo+spread+equal", growth: Growth | None = None) -> None:
        self.service = Service(policy)
        self._growth = Growth() if growth is None else growth
        self.asked: list[tuple[Wanted, ...]] = []
        self.begin()

    def begin(self) -> None:
        """Let the turns begin, as after the service's death."""
        service = self.service
        journal, cluster = service.journal, service.cluster
        service.turns = Turns(
            service.registry, Desk(0), journal, lambda _: cluster, NoDrivers(), RLock(), lambda _: None, self._note
        )
        service.turns.begin()
        service.turn()

    def _note(self, ledger: Ledger, nodes: NodeTable, refusals: Mapping[str, Unplaced]) -> None:
        found = bundles(ledger, nodes, self._growth, refusals)
        self.asked.append(tuple(one._replace(bundle=Resources(one.bundle.cpu)) for one in found))

    def now(self) -> tuple[Wanted, ...]:
        """Return what is asked for when all has calmed down."""
        self.service.turn()
        self.service.turn()
        return self.asked[-1]


USED = Wanted(ONE, 1, node="ant00000ffff"), Wanted(ONE, 1, node="bee00000ffff")
WIDE = Growth((NodeType("wide", Resources(cpu=8.0, memory=2.0**40), 2),), 5)


def test_what_runs_stays_asked_for_until_it_ends_also_by_the_next_service() -> None:
    asking = Asking()
    assert asking.now() == ()
    asking.service.submit("gang", 2, 2)
    assert asking.now() == USED
    asking.begin()
    assert asking.asked[-1] == USED
    asking.service.end("gang")
    assert asking.now() == ()


def test_a_job_for_which_there_is_room_asks_for_nothing_more_and_does_not_grow_by_asking() -> None:
    asking = Asking("fair-share+spread+equal", WIDE)
    asking.service.submit("elastic", 1, 99)
    assert sum(one.bundle.cpu for one in asking.now()) == 10.0
    asking.service.submit("small", 4, 4)
    assert sum(one.bundle.cpu * one.number for one in asking.now()) == 10.0
    assert all(one.node for one in asking.asked[-1])


def test_paused_held_and_stopped_jobs_ask_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "REST_S", 0.0)
    asking = Asking(growth=WIDE)
    registry, eight = asking.service.registry, (Wanted(Resources(8.0), 1),)
    registry.growth = lambda: WIDE
    registry.set_tenant(TenantRecord(Tenant("red"), 1), 0.0)
    for name in ("first", "second"):
        asking.service.submit(name, cpu=8.0, tenant="red")
        assert asking.now() == eight
    for name, act, expected, other in (
        ("first", "pause", eight, State.QUEUED),
        ("second", "pause", (), State.PAUSED),
        ("first", "resume", eight, State.PAUSED),
        ("second", "resume", eight, State.HELD),
        ("first", "stop", eight, State.QUEUED),
        ("second", "stop", (), State.STOPPED),
    ):
        registry.control(name, act, "ada", False, 0.0)
        assert asking.now() == expected
        assert registry["second"].state is other


def test_what_a_job_is_resized_to_is_asked_for() -> None:
    asking = Asking(growth=WIDE)
    service = asking.service
    service.registry.growth = lambda: WIDE
    service.submit("waits", cpu=8.0)
    assert asking.now() == (Wanted(Resources(8.0), 1),)
    service.registry.resize("waits", 2, 2, "ada", False, 0.0, service.cluster.observe())
    assert asking.now() == (Wanted(Resources(8.0), 2),)
