"""What an autoscaler is asked for: what is used, and whole gangs that it can have; and the edge that asks it."""

from __future__ import annotations

from pathlib import Path
from threading import RLock
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from service_cases import BEGAN_S, NoDrivers, Service

from policies.interface import ClusterPlan, Grant, JobView, NodeTable, Resources, Tenant
from scheduler.errors import UserError
from scheduler.ledger import Ledger
from scheduler.service import autoscaling, demand
from scheduler.service.demand import Growth, NodeType, Wanted, bundles, could_fit
from scheduler.service.orders import Desk
from scheduler.service.turns import Turns

ONE = Resources(cpu=1.0)
PLAIN = NodeType("plain", Resources(cpu=2.0), 3)
GROWTH = Growth((PLAIN, NodeType("big", Resources(4.0, 2.0, 8.0), 1, {"size": "big"})), 4)
HEAD = NodeTable.of(["head"], [[2.0, 0.0, 0.0]])


def job(name: str, least: int = 1, bundle: Resources = ONE, **more: Any) -> JobView:
    return JobView(name, 0.0, bundle, least, more.pop("most", least), **more)


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


def test_a_bundle_that_no_type_could_hold_is_not_wanted_and_does_not_keep_others_from_being_so() -> None:
    wide = job("wide", 1, Resources(cpu=5.0))
    assert bundles(ledger_of(wide, job("small")), HEAD, GROWTH) == (Wanted(ONE, 1),)
    assert not could_fit(wide, HEAD, GROWTH)


def test_nodes_that_are_there_count_among_their_type() -> None:
    there = NodeTable.of(
        ["head", "p1", "p2"],
        [[0.0, 0.0, 0.0]] + [[2.0, 0.0, 0.0]] * 2,
        labels={"ray.io/node-group": ["", "plain", "plain"]},
    )
    growth = Growth((PLAIN,), 10)
    assert could_fit(job("six", 6), there, growth)
    assert not could_fit(job("seven", 7), there, growth)


def test_gpus_of_several_nodes_do_not_make_one_bundle() -> None:
    assert could_fit(job("pair", 1, Resources(1.0, 2.0)), HEAD, GROWTH)
    assert not could_fit(job("triple", 1, Resources(1.0, 3.0)), HEAD, GROWTH)
    assert not could_fit(job("pairs", 2, Resources(1.0, 2.0)), HEAD, GROWTH)


def test_without_knowledge_of_types_everybody_may_fit() -> None:
    assert could_fit(job("wide", 10**5, Resources(cpu=10**6)), HEAD, None)
    assert bundles(ledger_of(job("many", 50)), HEAD, None) == (Wanted(ONE, 50),)


def test_nodes_do_not_come_for_who_is_over_a_quota_and_does_not_borrow() -> None:
    tenants = (Tenant("red", quota=Resources(cpu=2.0), borrows=False), Tenant("blue", quota=Resources(cpu=2.0)))
    mine = [job(f"red {number}", 1, tenant="red") for number in range(3)]
    ledger = ledger_of(*mine, job("blue", 4, tenant="blue"), tenants=tenants)
    run(ledger, "red 0", "head")
    nodes = NodeTable.of(["head"], [[2.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]])
    assert bundles(ledger, nodes, GROWTH) == (Wanted(ONE, 1, node="head"), Wanted(ONE, 1 + 4))


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
        assert could_fit(view, nodes, growth) == any(
            one.bundle == view.bundle and one.number >= view.min_workers for one in fresh
        )


def test_the_turns_tell_what_is_held_at_the_end_of_each() -> None:
    service = Service()
    asked: list[tuple[Wanted, ...]] = []
    service.turns = Turns(
        service.registry,
        Desk(0),
        service.journal,
        lambda _: service.cluster,
        NoDrivers(),
        RLock(),
        lambda _: None,
        lambda ledger, nodes: asked.append(bundles(ledger, nodes, Growth())),
    )
    service.turns.begin()
    service.turn()
    service.submit("gang", 2, 2)  # placed in the same turn: nobody must take its nodes to be idle in between
    service.submit("waits", 2, 2, cpu=4.0)
    service.end("gang")
    service.end("waits")
    used = Wanted(ONE, 1, node="ant00000ffff"), Wanted(ONE, 1, node="bee00000ffff")
    assert [tuple(one._replace(bundle=Resources(one.bundle.cpu)) for one in told) for told in asked] == [
        (),
        used,
        used,
        tuple(one._replace(bundle=Resources(4.0)) for one in used),
        (),
    ]


def test_a_job_that_only_an_autoscalers_nodes_could_hold_is_taken_in() -> None:
    service = Service()
    with pytest.raises(UserError, match="it can never have its workers"):
        service.submit("wide", 1, 1, cpu=8.0)
    growth = Growth((NodeType("wide", Resources(cpu=8.0, memory=2.0**40), 1),), 4)
    service.registry.may_fit = lambda view, nodes: could_fit(view, nodes, growth)
    assert service.submit("wide", 1, 1, cpu=8.0).submitted_s >= BEGAN_S
    with pytest.raises(UserError, match="it can never have its workers"):
        service.submit("wider", 2, 2, cpu=8.0)


CONFIG = """
cluster_name: any
max_workers: 5
provider: {type: external, module: none.None}
docker: {}
cluster_synced_files: []
setup_commands: []
head_setup_commands: []
worker_setup_commands: []
head_node_type: head
available_node_types:
  head: {resources: {CPU: 0}, node_config: {}}
  plain: {resources: {CPU: 2}, node_config: {}, labels: {size: small}}
  stated: {resources: {CPU: 2, GPU: 1, memory: 1024}, node_config: {}, max_workers: 2}
"""


class Asked:
    """Ray's part of the edge."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, version: int, *leaving: str) -> None:
        self.requests: list[tuple[Any, Any]] = []
        monkeypatch.setattr(autoscaling, "is_autoscaler_v2", lambda: version == 2)
        monkeypatch.setattr(autoscaling, "leaving_nodes", lambda: set(leaving))
        monkeypatch.setattr(autoscaling, "request_resources", lambda _, *given: self.requests.append(given))


def test_the_file_says_what_may_be_added_with_rays_defaults(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    assert autoscaling.read_growth(tmp_path / "config.yaml") == Growth(
        (
            NodeType("plain", Resources(2, 0.0, float("inf")), 5, {"size": "small"}),
            NodeType("stated", Resources(2, 1, 1024), 2),
        ),
        6,
    )


def test_a_file_that_changes_is_read_again_and_one_that_cannot_be_read_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Asked(monkeypatch, 2)
    config = tmp_path / "config.yaml"
    edge = autoscaling.Autoscaling(config)
    assert edge.growth is None
    assert edge.could_fit(job("any", 99), HEAD)
    for text, most in ((CONFIG, 6), ("{", 6), (CONFIG.replace("max_workers: 5", "max_workers: 7"), 8)):
        config.write_text(text)
        assert edge.growth is not None
        assert edge.growth.most == most
    config.unlink()
    assert edge.growth.most == 8


def test_ray_is_asked_once_for_the_same_and_for_nothing_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = Asked(monkeypatch, 1)
    edge = autoscaling.Autoscaling(None)
    ledger = ledger_of(job("gang", 2, Resources(1.0, memory=64.0), selector={"size": ("a", "b"), "zone": ("z",)}))
    for _ in range(3):
        edge.ask(ledger, HEAD)
    selector = {"size": "in(a,b)", "zone": "z"}
    assert ray.requests == [([{"CPU": 1.0, "memory": 64.0}] * 2, [selector] * 2)]
    ledger.drop("gang")
    edge.ask(ledger, HEAD)
    edge.ask(ledger, HEAD)
    assert ray.requests[1:] == [([], [])]


def test_nothing_is_asked_on_nodes_that_the_autoscaler_does_not_know_or_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = NodeTable.of(
        ["own", "leaves", "stranger"], [[2.0, 0.0, 0.0]] * 3, [[0.0, 0.0, 0.0]] * 3,
        labels={"ray.io/node-group": ["plain", "plain", ""]},
    )  # fmt: skip
    everywhere = [{"ray.io/node-id": node} for node in nodes.ids]
    for version, known in ((2, everywhere[:1]), (1, everywhere)):
        ray = Asked(monkeypatch, version, "leaves")
        autoscaling.Autoscaling(None).ask(ledger_of(job("waits")), nodes)
        assert ray.requests[0][1] == [*known, {}]


def test_memory_is_not_asked_for_where_types_do_not_state_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    ray = Asked(monkeypatch, 2)
    autoscaling.Autoscaling(tmp_path / "config.yaml").ask(ledger_of(job("a", 1, Resources(1.0, memory=64.0))), HEAD)
    assert ray.requests == [([{"CPU": 1.0}], [{}])]


def test_a_cluster_without_an_autoscaler_has_nobody_to_ask() -> None:
    nobody = autoscaling.NoAutoscaling()
    nobody.ask(ledger_of(job("waits")), HEAD)
    assert not nobody.could_fit(job("fits"), HEAD)


MONITOR = ["python", "-u", "/ray/autoscaler/v2/monitor.py", "--gcs-address=1.2.3.4:5"]
OTHERS = [["python", "/ray/log_monitor.py", "--gcs-address=1.2.3.4:5"], [*MONITOR[:3], "--gcs-address=1.2.3.4:6"], None]


@pytest.mark.parametrize(
    ("commands", "is_heard", "found"),
    [
        ([*OTHERS, [*MONITOR, "--autoscaling-config=/etc/ours.yaml"]], True, Path("/etc/ours.yaml")),
        ([*OTHERS, MONITOR], True, "nobody"),  # it only watches
        (OTHERS, True, None),  # as on Kubernetes
        ([[*OTHERS[1], "--autoscaling-config=/etc/theirs.yaml"]], False, "nobody"),
    ],
)
def test_an_autoscaler_is_found_by_its_process_or_by_what_it_has_told(
    commands: list[list[str] | None], is_heard: bool, found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Asked(monkeypatch, 2)
    processes = [SimpleNamespace(info={"cmdline": command}) for command in commands]
    monkeypatch.setattr(autoscaling.psutil, "process_iter", lambda _: processes)
    monkeypatch.setattr(autoscaling.ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="1.2.3.4:5"))
    monkeypatch.setattr(autoscaling, "_is_heard_of", lambda _: is_heard)
    edge = autoscaling.of_cluster()
    assert (edge._config if isinstance(edge, autoscaling.Autoscaling) else "nobody") == found
