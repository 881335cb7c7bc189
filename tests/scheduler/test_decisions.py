"""Decisions as the journal keeps them: what is rebuilt from rows is what was decided on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from service_cases import Service

from policies.conformance import same
from policies.interface import ClusterPlan, ClusterSnapshot, JobView, NodeTable, Resources, Tenant
from policies.presets import resolve
from policies.strategies import cluster_snapshots, job_views, node_tables
from scheduler.errors import UserError
from scheduler.service.decisions import DecisionLog, nodes_json, nodes_of, snapshots, view_json, view_of
from scheduler.service.records import Heard, TenantRecord
from scheduler.service.replays import replay

COLUMNS = tuple(one.name for one in fields(NodeTable) if one.init)


def travelled(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


def same_nodes(one: NodeTable, other: NodeTable) -> bool:
    names = COLUMNS if len(one) else ("ids", "capacity", "free", "gpu_leases")  # how many GPUs none has is not kept
    return all(same(getattr(one, name), getattr(other, name)) for name in names)


def same_snapshot(one: ClusterSnapshot, other: ClusterSnapshot) -> bool:
    names = [found.name for found in fields(one) if found.name not in ("nodes", "state", "demand")]
    return same_nodes(one.nodes, other.nodes) and all(same(getattr(one, name), getattr(other, name)) for name in names)


@given(view=job_views())
def test_a_job_is_what_it_was(view: JobView) -> None:
    assert same(view_of(travelled(view_json(view))), view)


@given(nodes=node_tables())
def test_nodes_are_what_they_were(nodes: NodeTable) -> None:
    digest, found = nodes_json(nodes)
    again = nodes_of(travelled(found))
    assert same_nodes(again, nodes)
    assert nodes_json(again)[0] == digest or not len(nodes)


@given(nodes=node_tables().filter(len), column=st.sampled_from(("free", "s_per_byte", "price_per_hour")))
def test_other_nodes_have_another_digest(nodes: NodeTable, column: str) -> None:
    other = replace(nodes, **{column: getattr(nodes, column) + 1.0})
    assert nodes_json(other)[0] != nodes_json(nodes)[0]


@st.composite
def histories(draw: st.DrawFn) -> list[ClusterSnapshot]:
    """Draw snapshots that follow each other; jobs come, go, change and stand in any order."""
    found = [draw(cluster_snapshots())]
    for _ in range(draw(st.integers(0, 5))):
        before, other = found[-1], draw(cluster_snapshots())
        by_name = {job.id: job for job in (*before.jobs, *other.jobs)}  # a job of both is the other one
        jobs = draw(st.permutations(list(by_name.values())))[: draw(st.integers(0, len(by_name)))]
        kept = draw(st.sampled_from((before.jobs, tuple(jobs), other.jobs)))
        names = {job.id for job in kept}
        either = draw(st.sampled_from((before, other)))
        leases = tuple(draw(st.permutations([one for one in either.leases if one.job in names])))
        found.append(replace(other, jobs=kept, leases=leases))
    return found


@settings(max_examples=150)
@given(history=histories(), begins_at=st.integers(0, 5))
def test_snapshots_are_rebuilt_to_the_last_bit_and_in_their_order(
    history: list[ClusterSnapshot], begins_at: int
) -> None:
    log, rows, policy = DecisionLog(), [], resolve("fifo+spread+equal")
    nodes: dict[int, NodeTable] = {}
    for number, snapshot in enumerate(history):
        log = DecisionLog() if number == begins_at else log
        since, nodes[number] = travelled(log.since(snapshot)), nodes_of(travelled(nodes_json(snapshot.nodes)[1]))
        told = {name: json.dumps(one) for name, one in log.enter(policy.plan(snapshot)).items()}
        of = {"version": snapshot.version, "at_s": snapshot.now_s, "seed": snapshot.seed, "nodes": number}
        rows.append({**of, "since": json.dumps(since), **told})
    rebuilt = list(snapshots(rows, nodes))
    assert [row for row, _ in rebuilt] == rows
    for (_, again), snapshot in zip(rebuilt, history, strict=True):
        assert same_snapshot(again, snapshot)


def test_rows_tell_only_what_has_changed() -> None:
    nodes = NodeTable.of(["ant"], [[4.0, 0.0, 1e9]], [[4.0, 0.0, 1e9]])
    jobs = tuple(JobView(name, 0.0, Resources(cpu=1.0), 1, 1) for name in "abc")
    snapshot = ClusterSnapshot(1, 0.0, 0, nodes, jobs)
    log = DecisionLog()
    first = log.since(snapshot)
    assert (first["begins"], [view["id"] for view in first["jobs"]]) == (True, ["a", "b", "c"])
    plan = resolve("fifo+spread+equal").plan(replace(snapshot, jobs=jobs[1:2]))
    log.enter(plan)
    older = replace(jobs[1], attained_s=2.0)
    later = log.since(replace(snapshot, jobs=(older, jobs[0]), leases=plan.grants))
    assert [view["id"] for view in later["jobs"]] == ["b"]
    assert later == {**later, "begins": False, "gone": ["c"], "granted": [], "lost": []}
    assert later.keys().isdisjoint({"order", "held", "tenants"})
    assert log.since(replace(snapshot, jobs=(jobs[0], older), leases=()))["order"] == ["a", "b"]


def test_reasons_are_written_down_for_the_first_twenty() -> None:
    nodes = NodeTable.of(["ant"], [[1.0, 0.0, 1e9]], [[1.0, 0.0, 1e9]])
    jobs = tuple(JobView(f"j{number:02}", 0.0, Resources(cpu=2.0), 1, 1) for number in range(30))
    plan: ClusterPlan = resolve("fifo+spread+equal").plan(ClusterSnapshot(1, 0.0, 0, nodes, jobs))
    found = DecisionLog().enter(plan)["unplaced"]
    assert [name for name, _ in found] == [f"j{number:02}" for number in range(20)]
    assert "cpu 2 requested, 1 free" in found[0][1]


def submit(service: Service, draw: Callable[..., Any]) -> None:
    least = draw(st.integers(1, 4))
    try:
        service.submit(
            draw(st.sampled_from("abcdef")),
            least,
            least + draw(st.integers(0, 4)),
            draw(st.sampled_from((0.5, 1.0, 2.0))),
            draw(st.sampled_from((0.0, 0.0, 0.5, 1.0))),
            tenant=draw(st.sampled_from(("default", "red"))),
            priority=float(draw(st.integers(0, 2))),
        )
    except UserError:  # its name is taken, or it can never have its workers
        service.touch()


def change(service: Service, draw: Callable[..., Any]) -> None:
    """Let something happen to one of the jobs, or to the cluster."""
    live, now_s = list(service.registry.live), service.cluster.time_s
    what = draw(st.sampled_from(("end", "pause", "resume", "resize", "progress", "nodes", "tenant", "begin")))
    record = draw(st.sampled_from(live)) if live else None
    try:
        if what == "begin":
            service.begin()
        elif what == "nodes":
            service.cluster.bad = draw(st.sampled_from((set(), {"bee00000ffff"})))
        elif what == "tenant":
            weight = draw(st.sampled_from((1.0, 3.0)))
            service.registry.set_tenant(TenantRecord(Tenant("red", weight)), now_s)
        elif record is None:
            pass
        elif what == "end":
            service.end(record.id)
        elif what in ("pause", "resume"):
            service.registry.control(record.id, what, "ada", False, now_s)
        elif what == "resize":
            bounds = sorted(draw(st.tuples(st.integers(1, 5), st.integers(1, 5))))
            service.registry.resize(record.id, *bounds, "ada", False, now_s, service.cluster.observe())
        else:
            service.registry.hear(record, Heard(draw(st.integers(0, 40)), 50))
    except UserError:  # there is nothing to pause, or to resume
        pass
    service.turn(draw(st.sampled_from((1.0, 7.0))))


POLICIES = ("fifo+spread+equal", "fair-share+fgd+adaptive-pull", "las+pack+equal", "optimus+tetris+equal", "relocate")


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_a_service_decided_on_is_in_its_journal(policy: str, data: st.DataObject) -> None:
    """Whatever happens: snapshots are rebuilt as they were, and on them the policy decides again as it did."""
    service = Service(policy)
    service.registry.set_tenant(TenantRecord(Tenant("red")), service.cluster.time_s)
    for _ in range(data.draw(st.integers(1, 12))):
        data.draw(st.sampled_from((submit, change)))(service, data.draw)
    rows = service.journal.rows("SELECT * FROM decisions ORDER BY number")
    tables = service.journal.rows("SELECT * FROM nodes")
    nodes = {table["id"]: nodes_of(json.loads(table["nodes"])) for table in tables}
    decided_on = {(seen.version, seen.now_s): seen for seen in service.cluster.snapshots}  # repairs are no decisions
    for row, again in snapshots(rows, nodes):
        assert same_snapshot(again, decided_on[row["version"], row["at_s"]])
    found = replay(service.journal.rows)
    assert (found.agree, found.differ, dict(found.skipped)) == (len(rows), 0, {})
