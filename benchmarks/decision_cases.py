"""What the benchmark of decisions decides on: clusters in use, rounds and queues of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks import openb_trace, public_data
from policies.feasibility import Room
from policies.interface import (
    Claim,
    ClusterSnapshot,
    JobView,
    Memo,
    NodeTable,
    PlaceView,
    Resources,
    RoundView,
    ShardTable,
    Unplaced,
    WorkerTable,
    frozen,
)
from policies.place.best_fit import BestFit
from scheduler.simulation.traces import openb

GIB = 2.0**30
IN_USE = 0.6
"""Which part of a cluster's GPUs is in use at first."""

NODE_MIX = ((549, 96, 8, 384, "G2"), (387, 104, 2, 512, "T4"), (107, 16, 2, 120, "P100"), (39, 128, 8, 768, "G3"))
POD_MIX = ((0.20, 11, 1), (0.13, 4, 1), (0.13, 8, 0), (0.10, 6, 0.46), (0.10, 12, 1), (0.02, 96, 8))
"""The commonest of the trace, about: number, CPU, GPU, GiB and model of nodes; share, CPU and GPU of pods."""


def trace() -> tuple[NodeTable, tuple[JobView, ...], str]:
    """Return nodes, pods and where they are from: the OpenB trace, or a rough mix of its own where it is absent."""
    try:
        return openb_trace.read_nodes(), openb_trace.read_pods(), "the OpenB trace"
    except public_data.AbsentDataError:
        return (*_rough_mix(), "a rough mix of the OpenB trace, which is absent (set APPORTION_DATA)")


def _rough_mix() -> tuple[NodeTable, tuple[JobView, ...]]:
    kinds = [row for row in NODE_MIX for _ in range(int(row[0]))]
    nodes = NodeTable.of(
        [f"node-{number}" for number in range(len(kinds))],
        [[cpu, gpu, gib * GIB] for _, cpu, gpu, gib, _ in kinds],
        labels={openb.LABEL: [model for *_, model in kinds]},
    )
    shares = np.array([share for share, _, _ in POD_MIX])
    drawn = np.random.default_rng(0).choice(len(POD_MIX), 8000, p=shares / shares.sum())
    bundles = [Resources(cpu, gpu, 2 * cpu * GIB) for _, cpu, gpu in POD_MIX]
    return nodes, tuple(JobView(f"pod-{n}", 0.0, bundles[kind], 1, 1) for n, kind in enumerate(drawn))


def in_use(nodes: NodeTable, pods: Sequence[JobView]) -> NodeTable:
    """Return ``nodes`` with pods on them by best fit, until ``IN_USE`` of their GPUs are."""
    room, memo, place = Room(nodes), Memo(), BestFit()
    for pod in openb.arrivals(pods, 0.0, seed=0):
        if room.free[:, 1].sum() <= (1 - IN_USE) * nodes.capacity[:, 1].sum():
            break
        answer = place.place(Claim(pod, 1, 1), PlaceView(room.view()), memo)
        if not isinstance(answer, Unplaced):
            room.hold(pod.bundle, answer[0].node, answer[0].devices)
    return room.table()


def repeated(nodes: NodeTable, number: int) -> NodeTable:
    """Return ``number`` nodes: evenly spaced ones of ``nodes``, or all of them again and again."""
    rows = np.arange(number) * len(nodes) // number if number < len(nodes) else np.arange(number) % len(nodes)
    return replace(nodes.take(rows), ids=tuple(f"node-{row}" for row in range(number)))


def round_of(num_shards: int, num_workers: int) -> RoundView:
    """Return a first round: shards of 50 to 150 rows, workers up to eight times as fast as others, memory for twice."""
    random = np.random.default_rng(0)
    work = random.integers(50, 150, num_shards).astype(np.float64)
    size = work * 800.0
    bundle = np.tile([1.0, 0.0, 16 * size.sum() / num_workers], (num_workers, 1))
    workers = WorkerTable(
        ids=tuple(f"worker-{row}" for row in range(num_workers)),
        nodes=tuple(f"node-{row}" for row in range(num_workers)),
        bundle=frozen(bundle),
        capacity=frozen(bundle * random.choice([1.0, 2.0, 4.0], (num_workers, 1))),
        s_per_work=frozen(1e-6 * random.uniform(1.0, 8.0, num_workers)),
        s_fixed=frozen(np.full(num_workers, 1e-3)),
        s_per_byte=frozen(np.full(num_workers, 1e-9)),
    )
    return RoundView("job", 0, workers, ShardTable(frozen(work), frozen(size)))


def queue_of(num_jobs: int) -> ClusterSnapshot:
    """Return a queue of jobs of one worker with known speeds on three kinds of node, and a GPU for every fourth."""
    random = np.random.default_rng(0)
    kinds = ("fast", "middle", "slow")
    num_nodes = max(num_jobs // 4 // 8, 1)
    of_node = [kinds[row % len(kinds)] for row in range(num_nodes)]
    nodes = NodeTable.of(
        [f"node-{row}" for row in range(num_nodes)], [[64.0, 8.0, 512 * GIB]] * num_nodes, kinds=of_node
    )
    speeds = random.uniform(0.5, 1.5, (num_jobs, len(kinds))) * (4.0, 2.0, 1.0)
    jobs = tuple(
        JobView(
            f"job-{row}",
            float(row),
            Resources(1.0, 1.0, GIB),
            1,
            1,
            work=float(random.uniform(1e3, 1e5)),
            rates={kind: frozen([speed]) for kind, speed in zip(kinds, speeds[row], strict=True)},
        )
        for row in range(num_jobs)
    )
    return ClusterSnapshot(0, float(num_jobs), 0, nodes, jobs)
