"""Hypothesis strategies for snapshots and round views, small to print and odd enough to break things."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from policies.interface import (
    ClusterSnapshot,
    Grant,
    JobView,
    NodeTable,
    Resources,
    RoundView,
    ShardTable,
    WorkerTable,
    frozen,
)

MIB = 1024.0**2

NAMES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen")


def _columns(rows: list[Any], width: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)


@st.composite
def node_tables(draw: st.DrawFn, max_nodes: int = 6) -> NodeTable:
    """Draw 0 to ``max_nodes`` (at most 8) nodes, in any order, each partly in use; memory in whole MiB."""
    ids = draw(st.permutations(NAMES))[: draw(st.integers(0, max_nodes))]
    amount = st.tuples(st.integers(0, 8), st.integers(0, 2), st.integers(0, 8))
    capacity = _columns([draw(amount) for _ in ids], 3) * (0.5, 0.5, 64 * MIB)
    used = _columns([draw(st.tuples(*[st.sampled_from((0.0, 0.0, 0.5, 1.0))] * 3)) for _ in ids], 3)
    free = capacity * (1 - used)
    return NodeTable(tuple(ids), frozen(capacity), frozen(free), ("cpu",) * len(ids))


@st.composite
def job_views(draw: st.DrawFn, name: str = "job") -> JobView:
    """Draw a job called ``name`` that wants 1 to 8 workers; memory in whole MiB."""
    cpu = draw(st.sampled_from((0.0, 0.5, 1.0, 2.0)))
    gpu = draw(st.sampled_from((0.0, 0.0, 0.5, 1.0)))
    memory = draw(st.sampled_from((0.0, 32.0, 64.0, 100.0))) * MIB
    fewest = draw(st.integers(1, 4))
    most = fewest + draw(st.integers(0, 4))
    submitted_s = float(draw(st.integers(0, 3)))
    return JobView(name, submitted_s, Resources(cpu, gpu, memory), fewest, most)


@st.composite
def cluster_snapshots(draw: st.DrawFn, max_nodes: int = 6, max_jobs: int = 5) -> ClusterSnapshot:
    """Draw a cluster of 0 to ``max_nodes`` nodes and 0 to ``max_jobs`` jobs, some of which hold leases."""
    nodes = draw(node_tables(max_nodes))
    names = draw(st.permutations([f"job-{number}" for number in range(draw(st.integers(0, max_jobs)))]))
    jobs = tuple(draw(job_views(name)) for name in names)
    running = [job for job in jobs if len(nodes) and draw(st.integers(0, 3)) == 0]
    leases = tuple(
        Grant(job.id, w, draw(st.sampled_from(nodes.ids))) for job in running for w in range(job.min_workers)
    )
    return ClusterSnapshot(draw(st.integers(0, 9)), 10.0, draw(st.integers(0, 99)), nodes, jobs, leases)


@st.composite
def round_views(draw: st.DrawFn, max_workers: int = 6, max_shards: int = 24) -> RoundView:
    """Draw a first hand-out: unequal shards, little memory, speeds that are NaN, zero or infinite."""
    num_workers = draw(st.integers(0, max_workers))
    num_shards = draw(st.integers(0, max_shards))
    size = st.integers(0, 9) if draw(st.booleans()) else st.just(draw(st.integers(0, 9)))
    work = st.integers(0, 9) if draw(st.booleans()) else st.just(draw(st.integers(0, 9)))
    room = st.integers(0, 30) if draw(st.booleans()) else st.just(10_000)
    speed = st.sampled_from((1e-3, 2e-3, 1.0, 5e-324, 1e300, 0.0, np.nan, np.inf))
    cells = st.tuples(st.sampled_from((0.0, 0.5, 1.0, 4.0)), st.sampled_from((0.0, 1.0)), room)
    workers = worker_table([draw(cells) for _ in range(num_workers)], [draw(speed) for _ in range(num_workers)])
    shards = shard_table([draw(work) for _ in range(num_shards)], [draw(size) for _ in range(num_shards)])
    return round_view(workers, shards, seed=draw(st.integers(0, 99)))


def worker_table(bundle: list[Any], s_per_work: list[float], capacity: list[Any] | None = None) -> WorkerTable:
    """Build w workers from bundles and parts of nodes (cpu, gpu, bytes) and speeds (seconds per unit of work)."""
    num = len(bundle)
    ids, nodes = tuple(f"w{w}" for w in range(num)), tuple(f"node-{w}" for w in range(num))
    fixed = frozen(np.zeros(num))
    bundles = frozen(_columns(bundle, 3))
    parts = bundles if capacity is None else frozen(_columns(capacity, 3))
    return WorkerTable(ids, nodes, bundles, parts, frozen(s_per_work), fixed, fixed)


def shard_table(work: Any, num_bytes: Any) -> ShardTable:
    """Build s shards from their work (rows) and bytes."""
    return ShardTable(frozen(work), frozen(num_bytes))


def round_view(workers: WorkerTable, shards: ShardTable, seed: int = 0, job: str = "job") -> RoundView:
    """Build the view of a job on which its shards are divided."""
    return RoundView(job, seed, workers, shards)


def degenerate_views() -> tuple[RoundView, ...]:
    """Return the round views that break policies: nothing there, no memory, speeds of 0, NaN and infinity."""
    roomy, one, ten = (1.0, 0.0, 1e9), shard_table([5.0], [8.0]), shard_table(np.ones(10), np.full(10, 8.0))
    none = shard_table([], [])
    tables = (
        (worker_table([], []), none),
        (worker_table([], []), one),
        (worker_table([roomy] * 3, [1.0] * 3), none),
        (worker_table([roomy] * 3, [1.0] * 3), one),
        (worker_table([roomy] * 3, [0.0] * 3), ten),
        (worker_table([roomy] * 3, [np.nan] * 3), ten),
        (worker_table([roomy] * 3, [np.inf] * 3), ten),
        (worker_table([roomy, (1.0, 0.0, 0.0), roomy], [1.0, 0.001, np.nan]), ten),
        (worker_table([(0.0, 0.0, 0.0)], [1.0]), ten),
        (worker_table([(0.0, 0.0, 0.0)] * 2, [1.0] * 2), shard_table(np.zeros(4), np.zeros(4))),
    )
    return tuple(round_view(workers, shards) for workers, shards in tables)


def degenerate_snapshots() -> tuple[ClusterSnapshot, ...]:
    """Return the snapshots that break policies: no nodes, no jobs, empty nodes, bundles of nothing."""
    no_nodes = NodeTable((), frozen(np.zeros((0, 3))), frozen(np.zeros((0, 3))), ())
    empty = NodeTable(("ant",), frozen(np.zeros((1, 3))), frozen(np.zeros((1, 3))), ("cpu",))
    node = NodeTable(("ant",), frozen([[4.0, 0.0, 1e9]]), frozen([[4.0, 0.0, 1e9]]), ("cpu",))
    nothing = JobView("nothing", 0.0, Resources(), 1, 2)
    small = JobView("small", 0.0, Resources(1.0, 0.0, 1e6), 1, 2)
    huge = JobView("huge", 0.0, Resources(1e6, 0.0, 1e15), 1, 10**6)
    return tuple(
        ClusterSnapshot(3, 0.0, 0, nodes, jobs)
        for nodes in (no_nodes, empty, node)
        for jobs in ((), (small,), (nothing, small), (huge, small))
    )
