"""How fast the simulator is: ``python -m benchmarks.simulator``.

Events per second and peak memory for one run of each case, every case in a process of its own. The referee judges
every plan; timelines are not kept. ``openb`` needs the public trace and is left out without it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import openb_trace
from benchmarks.machine import facts
from policies.interface import GPU, JobView, Resources, frozen
from policies.presets import resolve
from scheduler.simulation.fleet import Fleet, Machine
from scheduler.simulation.simulator import simulate
from scheduler.simulation.workload import SimulatedJob, Workload
from scheduler.simulation.world import World

GIB = 2.0**30
MEAN_S = 2400.0
LOAD = 0.6
"""Which part of the GPUs is asked for, once as many jobs end as come."""


def openb() -> World:
    """Return the OpenB trace up to 130 % of the GPUs, in which nobody leaves and who does not fit goes away."""
    nodes, pods = openb_trace.read_nodes(), openb_trace.read_pods()
    arrivals = openb_trace.arrivals(pods, 1.3 * nodes.capacity[:, GPU].sum(), 0)
    machines = tuple(
        Machine(name, Resources(*nodes.capacity[row].tolist()), kind, labels={openb_trace.LABEL: kind})
        for row, (name, kind) in enumerate(zip(nodes.ids, nodes.kinds, strict=True))
    )
    jobs = tuple(SimulatedJob(replace(pod, submitted_s=float(number))) for number, pod in enumerate(arrivals))
    return World(Fleet(machines, "OpenB"), Workload(jobs, "OpenB"), patience_s=0.0)


def synthetic(num_jobs: int, num_nodes: int) -> World:
    """Return nodes with eight GPUs of two kinds, and gangs that come at random for ``LOAD`` of them."""
    draw = random.Random(0)  # noqa: S311
    machines = tuple(
        Machine(f"n{number}", Resources(96.0, 8.0, 512 * GIB), "ab"[number % 2]) for number in range(num_nodes)
    )
    rates = {"a": frozen([1.0, 1.9, 2.7, 3.4]), "b": frozen([2.0, 3.8, 5.4, 6.8])}
    sizes, gangs = (0.5, 1.0, 1.0, 1.0, 2.0, 4.0, 8.0), (1, 1, 2, 4)
    gpus = sum(sizes) / len(sizes) * sum(gangs) / len(gangs)
    every_s = gpus * MEAN_S / (8 * num_nodes * LOAD)
    jobs, now_s = [], 0.0
    for number in range(num_jobs):
        size, gang = draw.choice(sizes), draw.choice(gangs)
        bundle = Resources(4 * size, size, 8 * GIB * size)
        work = draw.expovariate(1 / MEAN_S) * 1.5 * float(rates["a"][gang - 1])
        jobs.append(SimulatedJob(JobView(f"j{number}", now_s, bundle, gang, gang, work=work, rates=rates)))
        now_s += draw.expovariate(1 / every_s)
    return World(Fleet(machines), Workload(tuple(jobs)))


CASES: Mapping[str, tuple[Callable[[], World], str]] = {
    "openb": (openb, "8,152 pods and the inflation to 130 % on 1,213 nodes"),
    "thousand": (lambda: synthetic(10_000, 1_000), "10,000 jobs on 1,000 nodes"),
    "ten-thousand": (lambda: synthetic(100_000, 10_000), "100,000 jobs on 10,000 nodes"),
}


def measured(case: str, place: str, queue: Any) -> None:
    """Run a case, and put its figures into the queue."""
    world = CASES[case][0]()
    began_s = time.perf_counter()
    outcome = simulate(world, resolve({"place": place}), keep_timeline=False)
    took_s = time.perf_counter() - began_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    queue.put(
        {
            "case": case,
            "place": place,
            "events": outcome.num_events,
            "seconds": took_s,
            "events_per_s": outcome.num_events / took_s,
            "peak_gib": peak,
        }
    )


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--places", default="best-fit,fgd")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = []
    print("| case | place | events | seconds | events/s | peak GiB |\n|---|---|---|---|---|---|")
    for case in options.cases.split(","):
        for place in options.places.split(","):
            queue = multiprocessing.get_context("spawn").Queue()
            process = multiprocessing.get_context("spawn").Process(target=measured, args=(case, place, queue))
            process.start()
            process.join()
            if process.exitcode:
                print(f"{case} with {place}: it failed, see above", file=sys.stderr)
                continue
            one = queue.get()
            found.append(one)
            print(
                f"| {CASES[case][1]} | {place} | {one['events']:,} | {one['seconds']:.1f} | {one['events_per_s']:,.0f} "
                f"| {one['peak_gib']:.2f} |",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps({"machine": facts(), "runs": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
