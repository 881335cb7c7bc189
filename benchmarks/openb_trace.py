"""The OpenB trace (8,152 pods, 1,213 GPU nodes) and its replay through a placement policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks import public_data
from policies.composed import demand_of
from policies.feasibility import Room
from policies.interface import (
    GPU,
    Claim,
    Demand,
    Floats,
    JobView,
    Memo,
    NodeTable,
    Place,
    PlaceView,
    Resources,
    Unplaced,
)

MIB = 2.0**20
LABEL = "gpu-model"
"""The label with a node's GPU model, on which a pod may insist."""

VARIANTS: dict[str, tuple[float, Callable[[JobView], bool]]] = {
    "multi-gpu": (0.40, lambda pod: pod.bundle.gpu > 1),
    "shared-gpu": (0.60, lambda pod: 0 < pod.bundle.gpu < 1),
    "cpu-heavy": (0.60, lambda pod: pod.bundle.cpu >= 12 * pod.bundle.gpu),
}
"""Name -> which part of all GPU requests is made by which pods with GPUs; in the trace 0.07, 0.28 and 0.35."""


def read_nodes() -> NodeTable:
    """Return the nodes, all free: CPU, GPU, memory, and the GPU's model as a label and as the kind."""
    found = public_data.rows("openb", "openb_node_list_gpu_node.csv")
    models = [row["model"] for row in found]
    return NodeTable.of(
        [row["sn"] for row in found],
        [[float(row["cpu_milli"]) / 1000, float(row["gpu"]), float(row["memory_mib"]) * MIB] for row in found],
        kinds=models,
        labels={LABEL: models},
    )


def read_pods(variant: str | None = None) -> tuple[JobView, ...]:
    """Return the pods as jobs of one worker; of a ``variant``, as many GPUs' worth drawn from the trace anew."""
    pods = tuple(_pod(row) for row in public_data.rows("openb", "openb_pod_list_default.csv"))
    return pods if variant is None else resampled(pods, *VARIANTS[variant])


def _pod(row: dict[str, str]) -> JobView:
    gpu = int(row["num_gpu"]) * int(row["gpu_milli"]) / 1000
    models = tuple(model for model in row["gpu_spec"].split("|") if model)
    bundle = Resources(int(row["cpu_milli"]) / 1000, gpu, int(row["memory_mib"]) * MIB)
    return JobView(row["name"], 0.0, bundle, 1, 1, selector={LABEL: models} if models else {})


def resampled(
    pods: Sequence[JobView], share: float, chosen: Callable[[JobView], bool], seed: int = 0
) -> tuple[JobView, ...]:
    """Draw pods with replacement until as many GPUs are asked for, so that the ``chosen`` ask for ``share`` of them.

    Pods without GPUs stay as frequent as they are.
    """
    gpu = np.array([pod.bundle.gpu for pod in pods])
    picked = np.array([pod.bundle.gpu > 0 and chosen(pod) for pod in pods])
    now = gpu[picked].sum() / gpu.sum()
    weights = np.where(gpu == 0, 1.0, np.where(picked, share / now, (1 - share) / (1 - now)))
    return tuple(_drawn(pods, gpu.sum(), np.random.default_rng(seed), weights / weights.sum()))


def arrivals(pods: Sequence[JobView], num_gpus: float, seed: int) -> tuple[JobView, ...]:
    """Return all pods, shuffled, and then pods drawn with replacement until ``num_gpus`` GPUs are asked for."""
    random = np.random.default_rng(seed)
    shuffled = [pods[row] for row in random.permutation(len(pods))]
    more = _drawn(pods, num_gpus - sum(pod.bundle.gpu for pod in pods), random, None)
    return (*shuffled, *more)


def _drawn(
    pods: Sequence[JobView], num_gpus: float, random: np.random.Generator, weights: Floats | None
) -> Iterator[JobView]:
    """Draw pods, each under a name of its own, until they ask for ``num_gpus`` GPUs."""
    number = 0
    while num_gpus > 0:
        for row in random.choice(len(pods), 1000, p=weights).tolist():
            if num_gpus <= 0:
                return
            yield replace(pods[row], id=f"{pods[row].id}-{number}")
            num_gpus -= pods[row].bundle.gpu
            number += 1


@dataclass(frozen=True)
class Replay:
    """What became of arrivals, one after the other.

    Attributes
    ----------
    arrived, allocated
        GPUs asked for and GPUs allocated after each arrival, as parts of the cluster's; length of the arrivals.
    refused
        How many were refused.
    """

    arrived: Floats
    allocated: Floats
    refused: int

    def allocated_at(self, arrived: float) -> float:
        """Return the allocated part once the part ``arrived`` of all GPUs had been asked for."""
        return float(self.allocated[np.searchsorted(self.arrived, arrived - 1e-9)])


def replay(place: Place, nodes: NodeTable, jobs: Sequence[JobView], seed: int, demand: Demand | None = None) -> Replay:
    """Place jobs of one worker on ``nodes`` in their order; nobody leaves, and who is refused does not come back.

    ``seed`` breaks ties; ``demand`` is the mix to expect, without it that of ``jobs``.
    """
    mix = demand_of(tuple(jobs)) if demand is None else demand
    room, memo = Room(nodes), Memo()
    asked, got = np.zeros(len(jobs)), np.zeros(len(jobs))
    refused = 0
    for number, job in enumerate(jobs):
        answer = place.place(Claim(job, 1, 1), PlaceView(room.view(), seed, mix), memo)
        asked[number] = job.bundle.gpu
        if isinstance(answer, Unplaced):
            refused += 1
            continue
        room.hold(job.bundle, answer[0].node, answer[0].devices)
        got[number] = job.bundle.gpu
    all_gpus = nodes.capacity[:, GPU].sum()
    return Replay(asked.cumsum() / all_gpus, got.cumsum() / all_gpus, refused)
