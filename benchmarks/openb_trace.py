"""The OpenB trace (8,152 pods, 1,213 GPU nodes) and its replay through a placement policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    Unplaced,
)
from scheduler.simulation.fleet import Fleet
from scheduler.simulation.traces import openb

VARIANTS: dict[str, tuple[float, Callable[[JobView], bool]]] = {
    "multi-gpu": (0.40, lambda pod: pod.bundle.gpu > 1),
    "shared-gpu": (0.60, lambda pod: 0 < pod.bundle.gpu < 1),
    "cpu-heavy": (0.60, lambda pod: pod.bundle.cpu >= 12 * pod.bundle.gpu),
}
"""Name -> which part of all GPU requests is made by which pods with GPUs; in the trace 0.07, 0.28 and 0.35."""


def read_fleet() -> Fleet:
    """Return the machines."""
    return openb.read_fleet(public_data.path("openb", "openb_node_list_gpu_node.csv"))


def read_nodes() -> NodeTable:
    """Return the nodes, all free."""
    return read_fleet().table()


def read_pods(variant: str | None = None) -> tuple[JobView, ...]:
    """Return the pods as jobs of one worker; of a ``variant``, as many GPUs' worth drawn from the trace anew."""
    pods = openb.read_pods(public_data.path("openb", "openb_pod_list_default.csv"))
    return pods if variant is None else resampled(pods, *VARIANTS[variant])


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
    return tuple(openb.drawn(pods, gpu.sum(), np.random.default_rng(seed), weights / weights.sum()))


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
