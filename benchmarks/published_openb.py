"""OpenB's published table (GPU allocation of six placements) beside our simulator: see ``benchmarks.published``."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from benchmarks.openb import LOADS, PUBLISHED, place_of
from benchmarks.openb_trace import read_fleet, read_nodes, read_pods, replay
from benchmarks.published_report import Section, Shown
from policies.composed import demand_of
from policies.interface import GPU
from policies.presets import resolve
from scheduler.results.outcome import Status
from scheduler.simulation.simulator import simulate
from scheduler.simulation.traces.openb import arrivals, one_by_one
from scheduler.simulation.world import World

Loads = tuple[float, ...]
"""The allocated part of all GPUs in %, at each of ``LOADS``."""


def simulated(policy: str, seed: int) -> Loads:
    """Simulate an order of arrival: a pod comes each second, and goes away if it is not placed at once."""
    fleet, pods = read_fleet(), read_pods()
    gpus = sum(machine.capacity.gpu for machine in fleet.machines)
    coming = one_by_one(arrivals(pods, LOADS[-1] * gpus, seed))
    world = World(fleet, coming, seed=seed, patience_s=0.0)
    run = simulate(world, resolve({"place": policy}), keep_timeline=False)
    asked = np.cumsum([job.bundle.gpu for job in run.jobs]) / gpus
    placed = np.cumsum([job.bundle.gpu * (job.status is Status.UNFINISHED) for job in run.jobs]) / gpus
    return tuple(100 * float(placed[np.searchsorted(asked, load - 1e-9)]) for load in LOADS)


def replayed(policy: str, seed: int) -> Loads:
    """Return the same of the replay of ``benchmarks.openb``, with the mix of bundles that the simulator tells."""
    nodes, pods = read_nodes(), read_pods()
    coming = arrivals(pods, LOADS[-1] * nodes.capacity[:, GPU].sum(), seed)
    done = replay(place_of(policy), nodes, coming, seed, demand_of(coming))
    return tuple(100 * done.allocated_at(load) for load in LOADS)


def section(seeds: int, mapped: Callable[..., Iterable[Any]]) -> Section:
    """Run everything, ``mapped`` over processes."""
    cases = [(policy, seed) for policy in PUBLISHED for seed in range(seeds)]
    ours = dict(zip(cases, mapped(simulated, *zip(*cases, strict=True)), strict=True))
    theirs = dict(zip(cases, mapped(replayed, *zip(*cases, strict=True)), strict=True))
    rows = []
    for policy, known in PUBLISHED.items():
        cells = []
        for load in range(len(LOADS)):
            values = [ours[policy, seed][load] for seed in range(seeds)]
            spread = statistics.stdev(values) if seeds > 1 else 0.0
            cells += ["{:.2f} ± {:.2f}".format(*known[load]), f"{statistics.fmean(values):.2f} ± {spread:.2f}"]
        apart = max(
            abs(one - two)
            for seed in range(seeds)
            for one, two in zip(ours[policy, seed], theirs[policy, seed], strict=True)
        )
        rows.append([policy, *cells, f"{apart:.2f}"])
    heads = [text for load in LOADS for text in (f"at {100 * load:.0f} %, published", "our simulator")]
    title = f"OpenB: GPUs allocated, % of all, over {seeds} orders of arrival"
    figures = {policy: [[*ours[policy, seed]] for seed in range(seeds)] for policy in PUBLISHED}
    replays = {policy: [[*theirs[policy, seed]] for seed in range(seeds)] for policy in PUBLISHED}
    shown = Shown(title, ["policy", *heads, "most apart from the replay"], rows)
    return Section([shown], {"loads": LOADS, "simulated": figures, "replayed": replays})
