"""Small problems and clusters, and a loop that lets a policy plan again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from policies.feasibility import Room
from policies.interface import ClusterSnapshot, Floats, JobView, NodeTable, Policy, Resources, frozen
from policies.joint.problem import Problem
from policies.referee import violations

GPU = Resources(gpu=1.0)


def problem(speeds: Any, use: Any, left_s: Any = None, **columns: Any) -> Problem:
    """Build a problem of one resource: ``use[j][k]`` is the part of kind k that job j's gang holds."""
    speed = np.array(speeds, dtype=np.float64)
    num = len(speed)
    held = np.zeros((*speed.shape, 3))
    held[:, :, 1] = np.broadcast_to(use, speed.shape)
    ones = np.ones(num)
    known = {"weight": ones, "age_s": 0 * ones, "within_s": np.inf * ones, "count": ones, "price": 0 * speed}
    known |= {name: np.array(value, dtype=np.float64) for name, value in columns.items()}
    return Problem(speed, held, ones if left_s is None else np.array(left_s, dtype=np.float64), **known)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Draw 1 to 8 jobs on 1 to 3 kinds, some of which cannot run everywhere; some are alike."""
    num, kinds = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    speed = st.lists(st.sampled_from((0.0, 0.1, 0.5, 0.9, 1.0)), min_size=kinds, max_size=kinds)
    speeds = np.array([draw(speed) for _ in range(num)])
    speeds[speeds.max(axis=1) == 0] = 1.0
    speeds /= speeds.max(axis=1, keepdims=True)
    size = np.array([draw(st.sampled_from((0.01, 0.125, 0.25, 1.0))) for _ in range(num)])
    scale = np.array([draw(st.sampled_from((1.0, 1.0, 0.5))) for _ in range(kinds)])
    column = {
        "left_s": st.sampled_from((1.0, 10.0, 10.0, 5000.0)),
        "weight": st.sampled_from((1.0, 1.0, 2.0, 0.25)),
        "age_s": st.sampled_from((0.0, 0.0, 100.0, 1e5)),
        "within_s": st.sampled_from((np.inf, np.inf, 2.0, 20.0, 1e4, -5.0)),
    }
    drawn = {name: [draw(values) for _ in range(num)] for name, values in column.items()}
    price = np.outer(size, [draw(st.sampled_from((0.0, 1.0, 3.0))) for _ in range(kinds)])
    return problem(speeds, np.minimum(size[:, None] / scale, 1.0), price=price, **drawn)


def check_shares(shares: Floats, given: Problem) -> None:
    """Assert that shares are possible: within each job's time and each kind's capacity, and only where it can run."""
    assert (shares >= 0).all()
    assert (shares[given.speeds == 0] == 0).all()
    assert (shares.sum(axis=1) <= 1 + 1e-6).all()
    assert ((shares[:, :, None] * given.use * given.count[:, None, None]).sum(axis=0) <= 1 + 1e-6).all()


def reached(shares: Floats, given: Problem) -> Floats:
    """Return the speed of each job; length j."""
    return np.asarray((shares * given.speeds).sum(axis=1))


def cluster(gpus: Mapping[str, Sequence[int]], **more: Any) -> NodeTable:
    """Build nodes of GPUs: kind -> the number of each node of it."""
    kinds = [kind for kind, nodes in gpus.items() for _ in nodes]
    ids = [f"{kind}-{number}" for kind, nodes in gpus.items() for number in range(len(nodes))]
    return NodeTable.of(ids, [[0, count, 0] for nodes in gpus.values() for count in nodes], kinds=kinds, **more)


def job(name: str, workers: int = 1, bundle: Resources = GPU, rates: Any = None, **more: Any) -> JobView:
    """Build a job with a fixed number of workers; ``rates`` are those of the whole gang, by kind."""
    known = {kind: frozen([0.0] * (workers - 1) + [rate]) for kind, rate in (rates or {}).items()}
    return JobView(name, more.pop("submitted_s", 0.0), bundle, workers, workers, rates=known, **more)


class Loop:
    """A cluster whose plans are carried out; the referee judges each."""

    def __init__(self, policy: Policy, nodes: NodeTable, jobs: Sequence[JobView], seed: int = 0) -> None:
        self.policy = policy
        self.snapshot = ClusterSnapshot(0, 0.0, seed, nodes, tuple(jobs))

    def plan(self, now_s: float) -> Any:
        """Plan at ``now_s``, carry the plan out, and return it."""
        self.snapshot = replace(self.snapshot, now_s=now_s, version=self.snapshot.version + 1)
        plan = self.policy.plan(self.snapshot)
        assert violations(plan, self.snapshot) == ()
        room, bundles = Room(self.snapshot.nodes), {one.id: one.bundle for one in self.snapshot.jobs}
        leases = [lease for lease in self.snapshot.leases if lease not in plan.revokes]
        for held, move in ((plan.revokes, room.release), (plan.grants, room.hold)):
            for lease in held:
                row = room.row(lease.node)
                assert row is not None
                move(bundles[lease.job], row, lease.devices)
        leases += plan.grants
        self.snapshot = replace(self.snapshot, nodes=room.table(), leases=tuple(leases), state=plan.state)
        return plan

    def end(self, name: str) -> None:
        """Let a job end."""
        room = Room(self.snapshot.nodes)
        (ended,) = (one for one in self.snapshot.jobs if one.id == name)
        for lease in self.snapshot.leases:
            if lease.job == name:
                room.release(ended.bundle, self.snapshot.nodes.ids.index(lease.node), lease.devices)
        self.snapshot = replace(
            self.snapshot,
            nodes=room.table(),
            jobs=tuple(one for one in self.snapshot.jobs if one.id != name),
            leases=tuple(lease for lease in self.snapshot.leases if lease.job != name),
        )

    def add(self, *jobs: JobView) -> None:
        """Let jobs arrive."""
        self.snapshot = replace(self.snapshot, jobs=(*self.snapshot.jobs, *jobs))

    def where(self) -> dict[str, list[str]]:
        """Return the nodes of every job that runs."""
        return {name: sorted(lease.node for lease in leases) for name, leases in self.snapshot.held().items()}
