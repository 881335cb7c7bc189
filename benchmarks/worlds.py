"""Thousands of small random worlds, simulated and checked: ``python -m benchmarks.worlds --count 10000``.

Each has a few machines, jobs and faults, others who use the machines, and a policy; the referee judges every plan, the
state machines judge themselves, and what came of it must add up. ``--seed N --count 1`` plays one world again.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from policies.interface import JobView, Policy, Resources, ShardTable, frozen
from policies.presets import BALANCES, JOINTS, ORDERS, PLACES, resolve
from scheduler.results.outcome import Activity, Interval, JobOutcome, RunOutcome, Status
from scheduler.simulation.arrivals import bursts
from scheduler.simulation.faults import Fault, FaultKind, ForeignLoad
from scheduler.simulation.fleet import Fleet, Machine
from scheduler.simulation.simulator import simulate
from scheduler.simulation.workload import Learning, Phase, SimulatedJob, Workload
from scheduler.simulation.world import Costs, World

GIB = 2.0**30
KINDS = ("slow", "fast")


def random_world(seed: int) -> tuple[World, Policy]:
    """Draw a world and a policy; the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311
    machines = tuple(_machine(draw, number) for number in range(draw.randint(1, 5)))
    jobs = tuple(_job(draw, number) for number in range(draw.randint(1, 7)))
    if draw.random() < 0.2:
        jobs = bursts(jobs, draw.randint(1, 4), draw.choice((5.0, 30.0)))
    policy = _policy(draw)
    world = World(
        Fleet(machines),
        Workload(tuple(sorted(jobs, key=lambda job: job.view.submitted_s))),
        tuple(_faults(draw, machines)),
        seed=seed,
        costs=Costs(
            start_s=draw.choice((0.0, 0.5)),
            start_work_s=draw.choice((0.0, 0.5)),
            call_s=draw.choice((0.0, 0.01)),
            round_s=draw.choice((0.0, 0.1)),
            server_s_per_byte=draw.choice((0.0, 1e-6)),
            end_s=draw.choice((0.0, 0.3)),
            release_s=draw.choice((0.0, 0.5)),
            num_servers=draw.randint(1, 3),
        ),
        every_s=draw.choice((0.0, 5.0)) or (5.0 if policy.name in JOINTS else 0.0),
        patience_s=draw.choice((math.inf, math.inf, 0.0, 20.0)),
        until_s=2000.0,
        foreign=tuple(_foreign(draw, machines)),
    )
    return world, policy


def _machine(draw: random.Random, number: int) -> Machine:
    return Machine(
        f"m{number}",
        Resources(float(draw.randint(1, 4)), float(draw.choice((0, 0, 1, 2, 4))), 4 * GIB),
        kind=draw.choice(KINDS),
        speed=draw.choice((0.25, 1.0, 2.0)),
        s_per_byte=draw.choice((0.0, 1e-7)),
        latency_s=draw.choice((0.0, 0.01)),
        price_per_hour=draw.choice((0.0, 3.6)),
        labels={"zone": draw.choice(("a", "b"))},
        joins_s=draw.choice((0.0, 0.0, 0.0, 30.0)),
    )


def _job(draw: random.Random, number: int) -> SimulatedJob:
    fewest = draw.randint(1, 3)
    view = JobView(
        f"job-{number}",
        draw.choice((0.0, 0.0, 5.0, draw.uniform(0, 60))),
        Resources(draw.choice((0.5, 1.0, 2.0)), draw.choice((0.0, 0.0, 0.5, 1.0, 2.0)), 0.5 * GIB),
        fewest,
        fewest + draw.randint(0, 2),
        selector=draw.choice(({}, {}, {}, {"zone": ("a",)})),
        priority=float(draw.randint(0, 2)),
    )
    if draw.random() < 0.5:
        num = draw.randint(1, 12)
        shards = ShardTable(
            frozen([float(draw.randint(1, 9)) for _ in range(num)]), frozen([draw.choice((0.0, 1e6))] * num)
        )
        learning = Learning(draw.randint(1, 6), shards, draw.choice((0.1, 1.0)), 0.01, 1e5, 1e5)
        return SimulatedJob(view, learning, balance_seed=number)
    rates = {
        kind: frozen([speed * workers**0.9 for workers in range(1, 7)])
        for kind, speed in (("slow", 1.0), ("fast", 2.0))
    }
    work = draw.choice((0.0, 10.0, 100.0))
    phases = (Phase(work / 2, rates), Phase(work / 2, {"": frozen([1.0, 1.5])})) if draw.random() < 0.3 else ()
    return SimulatedJob(replace(view, work=work, rates=rates), phases=phases)


def _policy(draw: random.Random) -> Policy:
    if draw.random() < 0.2:
        return resolve(draw.choice(sorted(JOINTS)))
    parts = {"order": sorted(ORDERS), "place": sorted(PLACES), "balance": sorted(BALANCES)}
    return resolve({part: draw.choice(names) for part, names in parts.items()})


def _faults(draw: random.Random, machines: tuple[Machine, ...]) -> Iterator[Fault]:
    for _ in range(draw.randint(0, 5)):
        machine, kind, at_s = draw.choice(machines).id, draw.choice(list(FaultKind)), draw.uniform(0, 60)
        yield Fault(at_s, machine, kind, draw.choice((0.1, 0.5, 2.0)))
        if kind is FaultKind.LEAVE:
            yield Fault(at_s + draw.uniform(1, 40), machine, FaultKind.JOIN)


def _foreign(draw: random.Random, machines: tuple[Machine, ...]) -> Iterator[ForeignLoad]:
    for _ in range(draw.choice((0, 0, 1, 3, 6))):
        from_s = draw.choice((0.0, draw.uniform(0, 80)))
        amount = Resources(draw.choice((0.0, 0.5, 1.0, 3.0)), draw.choice((0.0, 0.0, 0.5, 1.0, 2.0)), 0.5 * GIB)
        yield ForeignLoad(draw.choice(machines).id, amount, from_s, from_s + draw.choice((5.0, 40.0)))


def wrongs(world: World, outcome: RunOutcome) -> list[str]:
    """Return what does not add up: times, shares of machines, workers in two places, lower bounds."""
    found = [wrong for job in outcome.jobs for wrong in _wrongs_of(job, world)]
    if {job.id for job in outcome.jobs} != {job.view.id for job in world.workload.jobs}:
        found.append("jobs were lost or made up")
    if all(job.status is Status.FINISHED for job in outcome.jobs) and outcome.ended_s < outcome.lower_bound_s - 1e-6:
        found.append(f"ended at {outcome.ended_s}, before the bound of {outcome.lower_bound_s}")
    return found + _overlaps(outcome.intervals) + _overfull(world, outcome)


def _wrongs_of(job: JobOutcome, world: World) -> Iterator[str]:
    if job.status is Status.FINISHED:
        if not job.submitted_s <= job.started_s <= job.ended_s:
            yield f"{job.id}: submitted {job.submitted_s}, started {job.started_s}, ended {job.ended_s}"
        learning = next(one.learning for one in world.workload.jobs if one.view.id == job.id)
        if learning is not None and len(job.rounds) != learning.rounds:
            yield f"{job.id}: finished after {len(job.rounds)} of {learning.rounds} rounds"
    elif job.status is Status.UNFINISHED and world.patience_s < math.inf and math.isnan(job.started_s):
        yield f"{job.id} waits for ever, although its patience is {world.patience_s}"


def _overlaps(intervals: tuple[Interval, ...]) -> list[str]:
    last: dict[tuple[str, int, str], Interval] = {}
    found = []
    for one in intervals:
        key = (one.job, one.worker, one.node if not one.job else "")
        before = last.get(key)
        if one.to_s <= one.from_s or (before is not None and one.from_s < before.to_s - 1e-9):
            found.append(f"{one} overlaps {before}")
        last[key] = one
    return found


def visits(world: World, outcome: RunOutcome) -> list[tuple[ForeignLoad, float, float]]:
    """Return which foreign loads had what they wanted, and from when to when."""
    told: dict[str, list[float]] = {}
    for at_s, words in outcome.faults:
        told.setdefault(words, []).append(at_s)
    found = []
    for load in world.foreign:
        if took := told.get(load.words("take")):
            ends = told.get(load.words("give back")) or told.get(load.words("lose")) or [math.inf]
            found.append((load, took.pop(0), ends.pop(0)))
    return found


def _overfull(world: World, outcome: RunOutcome) -> list[str]:
    """Add up at every moment what is held on each machine, by others, too, and by the dead."""
    bundles = {job.view.id: job.view.bundle.vector() for job in world.workload.jobs}
    others = visits(world, outcome)
    found = [
        f"{load} is had from {from_s} to {to_s}" for load, from_s, to_s in others if not _in_time(load, from_s, to_s)
    ]
    for machine in world.fleet.machines:
        mine = [one for one in outcome.intervals if one.node == machine.id]
        away = [one for one in mine if one.activity is Activity.DEAD]
        theirs = [visit for visit in others if visit[0].machine == machine.id]
        for one in mine:
            if one.activity is Activity.DEAD:
                continue
            at_s = (one.from_s + one.to_s) / 2
            held = sum(bundles[other.job] for other in mine if other.job and other.from_s <= at_s < other.to_s)
            held = held + sum(load.amount.vector() for load, from_s, to_s in theirs if from_s <= at_s < to_s)
            if (held > machine.capacity.vector() + 1e-6).any():
                found.append(f"{machine.id} is overfull at {at_s}: {held}")
            if any(other.from_s < at_s < other.to_s for other in away):
                found.append(f"{one.job} runs on {machine.id} at {at_s}, when it is not there")
    return found


def _in_time(load: ForeignLoad, from_s: float, to_s: float) -> bool:
    return load.from_s <= from_s < load.until_s and (to_s <= load.until_s or to_s == math.inf)


def play(seed: int) -> list[str]:
    """Simulate one random world, and return what is wrong, raised errors included."""
    world, policy = random_world(seed)
    try:
        return wrongs(world, simulate(world, policy))
    except Exception as error:  # noqa: BLE001  (whatever it is, the seed is to be named)
        return [f"{type(error).__name__}: {error}"]


def main() -> None:
    """Play worlds; the first ten that go wrong are named with the command that plays them again."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first world")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    began_s, bad = time.perf_counter(), 0
    for seed in range(options.seed, options.seed + options.count):
        if found := play(seed):
            bad += 1
            print(
                f"seed {seed}: {found[0][:600]}\n  python -m benchmarks.worlds --count 1 --seed {seed}", file=sys.stderr
            )
        if bad == 10:
            break
    took_s = time.perf_counter() - began_s
    print(f"{options.count} worlds, {bad} with something wrong, {took_s:.1f} s")
    if options.json:
        options.json.write_text(json.dumps({"worlds": options.count, "wrong": bad, "seconds": took_s}) + "\n")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
