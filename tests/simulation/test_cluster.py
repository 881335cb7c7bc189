"""The agenda's order, and a cluster whose machines come and go, beside a model in plain numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.feasibility import devices_for, has_room
from policies.interface import ClusterPlan, ClusterSnapshot, Grant, JobView, Resources
from scheduler.simulation.agenda import Agenda, Rank
from scheduler.simulation.cluster import SimulatedCluster
from scheduler.simulation.fleet import Fleet, Machine


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(Rank)), max_size=20))
def test_what_is_due_comes_by_time_then_rank_then_entry(entries: list[tuple[int, Rank]]) -> None:
    agenda = Agenda()
    for number, (at_s, rank) in enumerate(entries):
        agenda.enter(float(at_s), rank, number)
    found = [agenda.pop() for _ in range(len(agenda))]
    assert found == sorted((float(at_s), rank, number) for number, (at_s, rank) in enumerate(entries))
    assert not agenda


def test_what_comes_before_a_moment() -> None:
    agenda = Agenda()
    assert not agenda.has_before(1.0, Rank.DECIDE)
    agenda.enter(1.0, Rank.ARRIVAL, None)
    assert agenda.has_before(1.0, Rank.DECIDE) and agenda.has_before(2.0, Rank.FAULT)
    assert not agenda.has_before(1.0, Rank.ARRIVAL) and not agenda.has_before(0.5, Rank.DECIDE)
    assert agenda.next_s() == 1.0


MACHINES = tuple(Machine(name, Resources(4.0, 2.0, 64.0)) for name in "abc")
BUNDLES = st.builds(Resources, st.sampled_from((0.0, 0.5, 1.0)), st.sampled_from((0.0, 0.25, 1.0, 2.0)), st.just(8.0))
STEPS = st.lists(st.tuples(st.sampled_from(("hold", "release", "lend", "come or go")), st.sampled_from("abc"), BUNDLES))


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_what_is_free_is_what_nobody_has(steps: list[tuple[str, str, Resources]]) -> None:
    cluster = SimulatedCluster(Fleet(MACHINES))
    ours: list[tuple[Grant, Resources]] = []
    others: list[tuple[Resources, str, tuple[int, ...]]] = []
    up = set("abc")
    for number, (what, name, bundle) in enumerate(steps):
        nodes = cluster.observe()
        if what == "come or go":
            for lease, held in [one for one in ours if one[0].node == name]:
                cluster.release(lease, held)
            for lent in [one for one in others if one[1] == name]:
                cluster.take_back(*lent)
            ours, others = [one for one in ours if one[0].node != name], [one for one in others if one[1] != name]
            cluster.set_up(name, up=name not in up)
            up ^= {name}
        elif what == "release" and ours:
            cluster.release(*ours.pop())
        elif what == "lend" and (devices := cluster.lend(bundle, name)) is not None:
            others.append((bundle, name, devices))
        elif what == "hold" and name in up and has_room(bundle, one := nodes.take([nodes.row_of[name]]))[0]:
            lease = Grant(f"job-{number}", 0, name, devices_for(bundle, one.device_free[0]))
            job = JobView(lease.job, 0.0, bundle, 1, 1)
            cluster.apply(ClusterPlan(0, (lease,)), ClusterSnapshot(0, 0.0, 0, nodes, (job,)))
            ours.append((lease, bundle))
        nodes = cluster.observe()
        assert set(nodes.ids) == up
        for row, node in enumerate(nodes.ids):
            had = [held for lease, held in ours if lease.node == node] + [held for held, at, _ in others if at == node]
            taken = sum((held.vector() for held in had), np.zeros(3))
            assert np.allclose(nodes.free[row], nodes.capacity[row] - taken) and (nodes.free[row] >= 0).all()
            assert np.isclose(nodes.device_free[row].sum(), nodes.free[row, 1])
            assert nodes.gpu_leases[row].sum() == sum(lease.node == node for lease, _ in ours)
        assert np.allclose(cluster.used, sum((held.vector() for _, held in ours), np.zeros(3)))
        assert np.allclose(cluster.foreign, sum((held.vector() for held, *_ in others), np.zeros(3)))
        assert (cluster.used + cluster.foreign <= cluster.capacity + 1e-9).all()
