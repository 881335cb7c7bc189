"""How much of the OpenB cluster a perfect packer would allocate: ``python -m benchmarks.openb_bound``.

It places each pod, in the order of arrival of ``benchmarks.openb``, for which there is room after any number of moves.
CPU, memory and labels are left out, and how many GPUs the pods need at least is told by the prices of the cutting-stock
problem, so that it is ahead of whatever places all that fits. A policy can only pass it by having less room than it
could for pods that leave slivers, so that more pods of other sizes come in after them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

import numpy as np

from benchmarks.openb import LOADS
from benchmarks.openb_trace import VARIANTS, read_nodes, read_pods
from policies.interface import GPU, Floats, JobView
from policies.place.filling import UNITS, best_use
from scheduler.simulation.traces.openb import arrivals


def prices(pods: Sequence[JobView]) -> Floats:
    """Return which part of a GPU, at least, a pod with so many units of one takes up, or what several GPUs' does."""
    gpus = np.array([pod.bundle.gpu for pod in pods if pod.bundle.gpu > 0])
    sizes, which = np.unique([_units(gpu) for gpu in gpus.tolist()], return_inverse=True)
    return best_use(sizes, np.bincount(which, weights=np.maximum(gpus, 1.0)))


def _units(gpu: float) -> int:
    return max(int(min(gpu, 1.0) * UNITS + 1e-6), 1)


def packed(pods: Sequence[JobView], num_gpus: float, price: Floats) -> list[float]:
    """Return the part of ``num_gpus`` that is allocated once each of ``LOADS`` has been asked for."""
    asked = taken = allocated = 0.0
    at: list[float] = []
    for pod in pods:
        gpu = pod.bundle.gpu
        asked += gpu
        if gpu > 0 and taken + (takes := price[_units(gpu)] * max(gpu, 1.0)) <= num_gpus + 1e-6:
            taken, allocated = taken + takes, allocated + gpu
        if len(at) < len(LOADS) and asked >= LOADS[len(at)] * num_gpus - 1e-6:
            at.append(allocated / num_gpus)
    return at


def main() -> None:
    """Pack, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="how many orders of arrival (default 10)")
    seeds = parser.parse_args().seeds
    num_gpus = float(read_nodes().capacity[:, GPU].sum())
    print("| pods | at 100 % | at 130 % |\n|---|---|---|")
    for variant in (None, *VARIANTS):
        pods = read_pods(variant)
        price = prices(pods)
        found = [packed(arrivals(pods, LOADS[-1] * num_gpus, seed), num_gpus, price) for seed in range(seeds)]
        means = " | ".join(f"{100 * statistics.mean(column):.2f}" for column in zip(*found, strict=True))
        print(f"| {variant or 'default'} | {means} |")


if __name__ == "__main__":
    main()
