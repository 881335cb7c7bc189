"""The world of Shockwave's published table: its 120 jobs on 32 GPUs, as its authors' program simulates them.

What differs from the trace as ``scheduler.simulation.traces.shockwave`` reads it is told one by one in ``Setting``, so
that a benchmark can leave each out. Source: ``scheduler/scheduler.py`` and ``scheduler/utils.py`` of the repository
uw-mad-dash/shockwave at commit e07dd20.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks import public_data
from benchmarks.gavel_mechanism import RESTART_S, ROUND_S
from scheduler.results.outcome import RunOutcome
from scheduler.simulation.traces import shockwave
from scheduler.simulation.traces.gavel import Rates, gang_rate, read_rates
from scheduler.simulation.traces.shockwave import GNS, KIND, LARGEST, SAMPLES, Line, batch_sizes, throughput
from scheduler.simulation.workload import Phase, SimulatedJob
from scheduler.simulation.world import Costs, World

TRACE = "120_0.2_5_100_40_25_0,0.5,0.5_0.6,0.3,0.09,0.01_multigpu_dynamic.trace"
NUM_GPUS = 32

NOISE = 0.01
"""Standard deviation of a job's length in worlds that are not just the trace."""

SMALLEST = {"ResNet-18": 16, "ResNet-50": 16, "LM": 5, "Recommendation": 512}
"""Model -> the batch size to which a job does not come back."""


@dataclass(frozen=True)
class Setting:
    """What a world is like.

    Attributes
    ----------
    round_s
        The policy is asked so often; 0: after every event.
    restart_s
        From a grant until a worker computes.
    in_rounds
        Whether batch sizes change as in the authors' program, at the ends of rounds (``phases_in_rounds``), or at the
        epochs for which they are told.
    gpus_per_node
        1 in the authors' program: GPUs never lie in pieces there.
    """

    round_s: float = ROUND_S
    restart_s: float = RESTART_S
    in_rounds: bool = True
    gpus_per_node: int = 1
    num_gpus: int = NUM_GPUS


def path() -> Path:
    """Return the path of the trace."""
    return public_data.path("shockwave", TRACE)


@cache
def lines() -> tuple[Line, ...]:
    """Return the jobs as the trace has them."""
    return shockwave.read_lines(path())


@cache
def _rates() -> dict[tuple[str, int], Rates]:
    return read_rates(public_data.path("shockwave", shockwave.THROUGHPUTS), (KIND,))


def world(setting: Setting, seed: int = 0) -> World:
    """Return the world of the table, or one that differs from it in some ways.

    Parameters
    ----------
    seed
        0 for the jobs of the trace; others have a length that is off by about ``NOISE``.
    """
    if setting.in_rounds:
        jobs = (shockwave.job_of(line, phases_in_rounds(line)) for line in lines())
        workload = shockwave.workload(jobs, TRACE)
    else:
        workload = shockwave.read_workload(path())
    if seed:
        factors = np.random.default_rng(seed).normal(1.0, NOISE, len(workload))
        workload = replace(workload, jobs=tuple(map(_stretched, workload.jobs, factors.tolist())))
    fleet = shockwave.fleet(setting.num_gpus, setting.gpus_per_node)
    return World(fleet, workload, seed=seed, costs=Costs(start_s=setting.restart_s), every_s=setting.round_s)


def _stretched(job: SimulatedJob, factor: float) -> SimulatedJob:
    phases = tuple(replace(phase, work=phase.work * factor) for phase in job.phases)
    return replace(job, view=replace(job.view, work=job.view.work * factor), phases=phases)


def steps_per_s(setting: Setting) -> dict[tuple[str, float], float]:
    """Return the steps per second of each job at each of its speeds, in epochs per second."""
    found = {}
    for line in lines():
        batches = [line.batch * 2**power for power in range(9)]
        for batch in (one for one in batches if throughput(_rates(), line, one) > 0):
            steps = throughput(_rates(), line, batch)
            samples = SAMPLES[line.model]
            speed = steps / math.ceil(samples / batch) if setting.in_rounds else steps * batch / samples
            found[line.name, speed] = steps
    return found


def phases_in_rounds(line: Line, round_s: float = ROUND_S) -> tuple[Phase, ...]:
    """Return a job's phases as in the authors' program, for one that runs without a break; work in epochs.

    At the end of a round it is seen whether the batch size is to change, and it does at the end of the next one. Then
    the epoch that was begun counts as done. Accordion's rule is another than in the told batch sizes (``batch_sizes``):
    the first 30 % of the epochs are like the others.
    """
    batch, epochs, done, wanted = line.batch, _num_epochs(line), 0, line.batch
    phases: list[tuple[int, float]] = [(batch, 0.0)]
    steps = line.steps
    while True:
        epoch_steps = math.ceil(SAMPLES[line.model] / batch)
        some = min(int(throughput(_rates(), line, batch) * round_s), steps - done)
        done += some
        phases[-1] = (batch, phases[-1][1] + some / epoch_steps)
        if done >= steps:
            break
        begun = math.ceil(done / epoch_steps)
        if wanted != batch and throughput(_rates(), line, wanted) > 0:
            before, batch = batch, wanted
            epoch_steps = math.ceil(SAMPLES[line.model] / batch)
            scaled = math.ceil(steps * before / batch)
            steps = scaled if math.ceil(scaled / epoch_steps) == epochs else epochs * epoch_steps
            done = begun * epoch_steps
            phases.append((batch, 0.0))
            if done >= steps:
                break
        wanted = _wanted(line, batch, math.ceil(done / epoch_steps))
    return tuple(_phase(line, batch, work) for batch, work in phases if work > 0)


def _phase(line: Line, batch: int, work: float) -> Phase:
    epoch_steps = math.ceil(SAMPLES[line.model] / batch)
    return Phase(work, {KIND: gang_rate(throughput(_rates(), line, batch) / epoch_steps, line.gpus)})


def _wanted(line: Line, batch: int, epoch: int) -> int:
    """Return the batch size that a job asks for, once so many epochs have begun."""
    largest = LARGEST.get(line.model, batch)
    if line.batch == largest:
        return batch
    if line.mode == "gns":
        doublings = GNS.get((line.model, line.batch, line.gpus), ())
        told = line.batch * 2 ** sum(epoch + 1 >= at for at in doublings)
        return batch * 2 if batch < min(told, largest) else batch
    if line.mode != "accordion" or line.model not in SMALLEST:
        return batch
    if batch == line.batch:
        return batch if _is_critical(line, epoch) else largest
    return line.batch if _is_critical(line, epoch) and batch != SMALLEST[line.model] else batch


def _is_critical(line: Line, epoch: int) -> bool:
    if line.model == "ResNet-18":
        return epoch < 10 or 150 <= epoch < 160 or 250 <= epoch < 260
    if line.model == "ResNet-50":
        return epoch % 30 < 10
    if line.model == "LM":
        return epoch < 10
    return epoch < {512: 30, 1024: 30, 2048: 40}.get(line.batch, 10)


def _num_epochs(line: Line) -> int:
    return math.ceil(line.steps / math.ceil(SAMPLES[line.model] / line.batch))


@cache
def whole_epochs_s() -> dict[str, float]:
    """Return how long each job takes by itself as the authors count it: whole epochs, at the told batch sizes.

    In mode ``gns``, where a job grows more than once, the last epoch is counted at the first batch size.
    """
    found = {}
    for line in lines():
        batches = batch_sizes(line.model, line.batch, line.gpus, line.mode, _num_epochs(line))
        doublings = GNS.get((line.model, line.batch, line.gpus), ()) if line.mode == "gns" else ()
        if sum(len(batches) - 1 >= at for at in doublings) > 1:
            batches[-1] = line.batch
        found[line.name] = sum(SAMPLES[line.model] / one / throughput(_rates(), line, one) for one in batches)
    return found


def fairness(run: RunOutcome, num_gpus: int = NUM_GPUS) -> list[float]:
    """Return each job's rho as published: its time to the end over that by itself times jobs of the trace per GPU."""
    contention = max(len(run.jobs) / num_gpus, 1.0)
    return [job.jct_s / (whole_epochs_s()[job.id] * contention) for job in run.jobs]
