"""Hypothesis strategies for snapshots and round views, small to print and odd enough to break things."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from policies.feasibility import Room, devices_for, fits
from policies.interface import (
    GPU,
    ClusterSnapshot,
    Grant,
    JobView,
    NodeTable,
    Resources,
    RoundView,
    ShardTable,
    Tenant,
    WorkerTable,
    frozen,
)

MIB = 1024.0**2

NAMES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen")

KINDS = ("slow", "fast")

RATED = ((), ("",), KINDS)
"""For which kinds of node a job knows its speed."""

MAX_GPUS = 4

TENANTS = (
    Tenant("red", 2.0, Resources(cpu=2.0, gpu=1.0, memory=128 * MIB)),
    Tenant("sea"),
    Tenant("blue", parent="sea"),
    Tenant("navy", 3.0, Resources(cpu=0.5), parent="sea", borrows=False),
)


def _columns(rows: list[Any], width: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)


@st.composite
def node_tables(draw: st.DrawFn, max_nodes: int = 6) -> NodeTable:
    """Draw 0 to ``max_nodes`` (at most 8) nodes, in any order, each partly in use; memory in whole MiB."""
    ids = draw(st.permutations(NAMES))[: draw(st.integers(0, max_nodes))]
    amount = st.tuples(st.integers(0, 8), st.integers(0, MAX_GPUS), st.integers(0, 8))
    capacity = _columns([draw(amount) for _ in ids], 3) * (0.5, 1.0, 64 * MIB)
    used = _columns([draw(st.tuples(*[st.sampled_from((0.0, 0.0, 0.5, 1.0))] * 3)) for _ in ids], 3)
    free = capacity * (1 - used)
    devices = _columns([_devices(draw, int(gpus)) for gpus in capacity[:, GPU]], MAX_GPUS)
    free[:, GPU] = devices.sum(axis=1)
    price = st.sampled_from((0.0, 1.0, 2.5))
    return NodeTable.of(
        ids,
        capacity,
        free,
        kinds=[draw(st.sampled_from(KINDS)) for _ in ids],
        device_free=devices,
        s_per_byte=[draw(st.sampled_from((0.0, 1e-9, 1e-6))) for _ in ids],
        price_per_hour=[draw(price) for _ in ids],
        labels={"zone": [draw(st.sampled_from(("a", "b", ""))) for _ in ids]},
    )


def _devices(draw: st.DrawFn, num: int) -> list[float]:
    free = [draw(st.sampled_from((0.0, 0.25, 0.5, 1.0, 1.0))) for _ in range(num)]
    return free + [0.0] * (MAX_GPUS - num)


@st.composite
def job_views(draw: st.DrawFn, name: str = "job") -> JobView:
    """Draw a job called ``name`` that wants 1 to 8 workers; of some nothing more is known. Memory in whole MiB."""
    cpu = draw(st.sampled_from((0.0, 0.5, 1.0, 2.0)))
    gpu = draw(st.sampled_from((0.0, 0.0, 0.25, 0.5, 1.0, 2.0)))
    memory = draw(st.sampled_from((0.0, 32.0, 64.0, 100.0))) * MIB
    fewest = draw(st.integers(1, 4))
    most = fewest + draw(st.integers(0, 4))
    submitted_s = float(draw(st.integers(0, 3)))
    job = JobView(name, submitted_s, Resources(cpu, gpu, memory), fewest, most)
    if not draw(st.booleans()):
        return job
    speed = st.sampled_from((0.0, 0.5, 1.0, 3.0))
    return replace(
        job,
        selector=draw(st.sampled_from(({}, {}, {"zone": ("a",)}, {"zone": ("a", "b")}, {"nowhere": ("x",)}))),
        tenant=draw(st.sampled_from(("", "red", "blue", "navy"))),
        priority=float(draw(st.integers(-1, 2))),
        deadline_s=draw(st.sampled_from((np.inf, 0.0, 10.0, 50.0))),
        work=draw(st.sampled_from((np.nan, 0.0, 10.0, 100.0))),
        done=draw(st.sampled_from((0.0, 5.0))),
        rates={kind: frozen(np.cumsum([draw(speed) for _ in range(most)])) for kind in draw(st.sampled_from(RATED))},
        attained_s=draw(st.sampled_from((0.0, 7.0, 1e6))),
        data_bytes=draw(st.sampled_from((0.0, 1e6))),
        resident={draw(st.sampled_from(NAMES)): 1e5},
    )


@st.composite
def cluster_snapshots(draw: st.DrawFn, max_nodes: int = 6, max_jobs: int = 5) -> ClusterSnapshot:
    """Draw a cluster of 0 to ``max_nodes`` nodes and 0 to ``max_jobs`` jobs, some of which hold leases."""
    nodes = draw(node_tables(max_nodes))
    names = draw(st.permutations([f"job-{number}" for number in range(draw(st.integers(0, max_jobs)))]))
    room = Room(nodes)
    jobs: list[JobView] = []
    leases: list[Grant] = []
    for name in names:
        job = draw(job_views(name))
        running = _leases(draw, job, room) if draw(st.integers(0, 2)) == 0 else ()
        leases += running
        jobs.append(replace(job, started_s=float(draw(st.integers(3, 9)))) if running else job)
    return ClusterSnapshot(
        version=draw(st.integers(0, 9)),
        now_s=10.0,
        seed=draw(st.integers(0, 99)),
        nodes=room.table(),
        jobs=tuple(jobs),
        leases=tuple(leases),
        tenants=draw(st.sampled_from(((), TENANTS))),
    )


@st.composite
def crowded_snapshots(draw: st.DrawFn) -> ClusterSnapshot:
    """Draw a few GPUs and more jobs than they can run, much alike and of known length: here orders matter."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=2, max_size=3))
    nodes = NodeTable.of(NAMES[: len(sizes)], [[0.0, float(size), 0.0] for size in sizes])
    room = Room(nodes)
    jobs: list[JobView] = []
    leases: list[Grant] = []
    for number in range(draw(st.integers(4, 8))):
        fewest = draw(st.sampled_from((1, 2, sum(sizes), 1)))
        length = draw(st.sampled_from((2.0, 5.0, 9.0) if number < 2 else (2.0, 9.0, 20.0, 50.0)))
        job = JobView(
            f"job-{number}",
            float(draw(st.integers(0, 9))),
            Resources(gpu=draw(st.sampled_from((1.0, 1.0, 1.0, 2.0)))),
            fewest,
            fewest + draw(st.integers(0, 1)),
            tenant=draw(st.sampled_from(("", "red", "blue", "navy"))),
            priority=float(draw(st.integers(0, 2))),
            deadline_s=draw(st.sampled_from((np.inf, 12.0, 15.0, 20.0))),
            work=length,
            rates={"": frozen([1.0])},
            attained_s=draw(st.sampled_from((0.0, 5.0, 5000.0))),
        )
        running = _leases(draw, job, room) if number < 2 else ()
        leases += running
        jobs.append(replace(job, started_s=9.0) if running else job)
    tenants = draw(st.sampled_from(((), TENANTS)))
    return ClusterSnapshot(1, 10.0, draw(st.integers(0, 9)), room.table(), tuple(jobs), tuple(leases), tenants=tenants)


def _leases(draw: st.DrawFn, job: JobView, room: Room) -> tuple[Grant, ...]:
    """Let a job run on nodes where it fits, if there are any."""
    found: list[Grant] = []
    before = room.table()
    for worker in range(draw(st.integers(job.min_workers, job.max_workers))):
        nodes = room.table()
        able = np.flatnonzero(fits(job, nodes)).tolist()
        if not able:
            break
        row = draw(st.sampled_from(able))
        devices = devices_for(job.bundle, nodes.device_free[row])
        room.hold(job.bundle, row, devices)
        found.append(Grant(job.id, worker, nodes.ids[row], devices))
    if len(found) >= job.min_workers:
        return tuple(found)
    for lease in found:
        room.release(job.bundle, before.ids.index(lease.node), lease.devices)
    return ()


@st.composite
def round_views(draw: st.DrawFn, max_workers: int = 6, max_shards: int = 24) -> RoundView:
    """Draw a first or a later round: unequal shards, little memory, speeds that are NaN, zero or infinite."""
    num_workers = draw(st.integers(0, max_workers))
    num_shards = draw(st.integers(0, max_shards))
    size = st.integers(0, 9) if draw(st.booleans()) else st.just(draw(st.integers(0, 9)))
    work = st.integers(0, 9) if draw(st.booleans()) else st.just(draw(st.integers(0, 9)))
    room = st.integers(0, 30) if draw(st.booleans()) else st.just(10_000)
    speed = st.sampled_from((1e-3, 2e-3, 1.0, 5e-324, 1e300, 0.0, np.nan, np.inf))
    cells = st.tuples(st.sampled_from((0.0, 0.5, 1.0, 4.0)), st.sampled_from((0.0, 1.0)), room)
    workers = worker_table([draw(cells) for _ in range(num_workers)], [draw(speed) for _ in range(num_workers)])
    shards = shard_table([draw(work) for _ in range(num_shards)], [draw(size) for _ in range(num_shards)])
    view = replace(round_view(workers, shards, seed=draw(st.integers(0, 99))), pulls=draw(st.booleans()))
    return _later(draw, view) if draw(st.booleans()) else view


def _later(draw: st.DrawFn, view: RoundView) -> RoundView:
    """Let there have been a round before, on workers for which everything has its price."""
    num_workers, num_shards = len(view.workers), len(view.shards)
    busy, price = st.sampled_from((0.0, 1e-3, 1.0, 1.0, 5.0, np.nan)), st.sampled_from((0.0, 1e-9, 0.5, 1e300))
    s_fixed, s_per_byte = ([draw(price) for _ in range(num_workers)] for _ in range(2))
    return replace(
        view,
        workers=replace(view.workers, s_fixed=frozen(s_fixed), s_per_byte=frozen(s_per_byte)),
        round=draw(st.integers(1, 9)),
        resident=frozen([draw(st.integers(-1, num_workers - 1)) for _ in range(num_shards)], np.int64),
        last_s=frozen([draw(busy) for _ in range(num_workers)]),
    )


@st.composite
def calm_views(draw: st.DrawFn, even: bool = True, max_workers: int = 5, max_shards: int = 30) -> RoundView:
    """Draw a first round with memory for all, measured speeds, and no other price; of even shards if ``even``."""
    speeds = draw(st.lists(st.integers(1, 20), min_size=1, max_size=max_workers))
    work = st.integers(1, 9) if not even else st.just(draw(st.integers(1, 9)))
    rows = draw(st.lists(work, max_size=max_shards))
    workers = worker_table([(1.0, 0.0, 1e9)] * len(speeds), [1.0 / speed for speed in speeds])
    return round_view(workers, shard_table(rows, np.full(len(rows), 8.0)))


def huge_view(num_shards: int = 1_000_000, num_workers: int = 10_000) -> RoundView:
    """Return a first round of a million shards that differ, on ten thousand workers that do, with memory to spare."""
    random = np.random.default_rng(0)
    work = random.lognormal(0.0, 1.0, num_shards)
    memory = 8.0 * work.sum() / num_workers * random.uniform(2.0, 6.0, num_workers)
    bundle = np.column_stack([np.ones(num_workers), np.zeros(num_workers), memory])
    workers = worker_table(list(bundle), list(1.0 / random.uniform(1.0, 4.0, num_workers)))
    return round_view(workers, shard_table(work, 8.0 * work))


def worker_table(
    bundle: list[Any],
    s_per_work: list[float],
    capacity: list[Any] | None = None,
    s_fixed: Any = None,
    s_per_byte: Any = None,
) -> WorkerTable:
    """Build w workers from bundles and parts of nodes (cpu, gpu, bytes), and what a call costs (seconds)."""
    num = len(bundle)
    ids, nodes = tuple(f"w{w}" for w in range(num)), tuple(f"node-{w}" for w in range(num))
    nothing = np.zeros(num)
    bundles = frozen(_columns(bundle, 3))
    parts = bundles if capacity is None else frozen(_columns(capacity, 3))
    fixed, per_byte = (frozen(nothing if given is None else given) for given in (s_fixed, s_per_byte))
    return WorkerTable(ids, nodes, bundles, parts, frozen(s_per_work), fixed, per_byte)


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
    no_nodes = NodeTable.of([], [])
    empty = NodeTable.of(["ant"], [[0.0, 0.0, 0.0]])
    node = NodeTable.of(["ant"], [[4.0, 0.0, 1e9]])
    forgetful = NodeTable.of(["ant", "bee"], [[4.0, 1.0, 0.0], [0.0, 8.0, 1e9]])
    nothing = JobView("nothing", 0.0, Resources(), 1, 2)
    small = JobView("small", 0.0, Resources(1.0, 0.0, 1e6), 1, 2)
    huge = JobView("huge", 0.0, Resources(1e6, 0.0, 1e15), 1, 10**6)
    stuck = JobView("stuck", 0.0, Resources(0.0, 1.0), 1, 2, rates={"": frozen([0.0, 0.0])}, work=0.0)
    sharing = JobView("sharing", 0.0, Resources(0.0, 0.5), 1, 3, deadline_s=-1.0, tenant="nobody")
    return tuple(
        ClusterSnapshot(3, 0.0, 0, nodes, jobs)
        for nodes in (no_nodes, empty, node, forgetful)
        for jobs in ((), (small,), (nothing, small), (huge, small), (stuck, sharing))
    )
