"""The OpenB trace: pods and GPU nodes of a production cluster, published with Weng et al., USENIX ATC 2023."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from policies.interface import Floats, JobView, Resources, frozen
from scheduler import located_csv
from scheduler.errors import Mistakes, shown
from scheduler.simulation.fleet import MOST_GPUS, Fleet, Machine
from scheduler.simulation.workload import SimulatedJob, Workload

MIB = 2.0**20

LABEL = "gpu-model"
"""The label with a node's GPU model, on which a pod may insist."""

POD_COLUMNS = ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec")
TIMES = ("creation_time", "deletion_time", "scheduled_time")
NODE_COLUMNS = ("sn", "cpu_milli", "memory_mib", "gpu", "model")

ONE_A_SECOND = {"": frozen([1.0])}
"""The rates of a job whose work is counted in the seconds that it takes."""


def read_fleet(path: Path) -> Fleet:
    """Return the nodes: CPU, GPU, memory, and the GPU's model as a label and as the kind.

    Raises
    ------
    UserError
        With the first 20 mistakes of the file: line, column, what was got.
    """
    mistakes = Mistakes(path)
    machines: dict[str, Machine] = {}
    for row in located_csv.read(mistakes, NODE_COLUMNS, None):
        name, model = row.text("sn"), row.text("model", "")
        if name in machines:
            mistakes.add(row.line, "sn", f"there is a node {shown(name)} already")
        capacity = Resources(
            row.number("cpu_milli") / 1000, float(row.count("gpu", most=MOST_GPUS)), row.number("memory_mib") * MIB
        )
        machines[name] = Machine(name, capacity, kind=model, labels={LABEL: model})
    mistakes.tell()
    return Fleet(tuple(machines.values()), str(path))


def read_pods(path: Path) -> tuple[JobView, ...]:
    """Return the pods as jobs of one worker, whose times are not read: all come at once, and none ends.

    Raises
    ------
    UserError
        With the first 20 mistakes of the file: line, column, what was got.
    """
    mistakes = Mistakes(path)
    pods = tuple(pod for _, pod in _pods(mistakes, POD_COLUMNS))
    mistakes.tell()
    return pods


def read_workload(path: Path) -> Workload:
    """Return the pods that ran, as fluid jobs: each comes when it was created and takes as long as it ran, anywhere.

    Raises
    ------
    UserError
        With the first 20 mistakes of the file: line, column, what was got.
    """
    jobs, mistakes = [], Mistakes(path)
    for row, pod in _pods(mistakes, (*POD_COLUMNS, *TIMES)):
        if not row.text("scheduled_time", ""):
            continue
        since_s = row.number("scheduled_time")
        work_s = row.number("deletion_time", least=since_s) - since_s
        came_s = row.number("creation_time")
        jobs.append(SimulatedJob(replace(pod, submitted_s=came_s, work=work_s, rates=ONE_A_SECOND)))
    mistakes.tell()
    return Workload(tuple(sorted(jobs, key=lambda job: job.view.submitted_s)), str(path))


def _pods(mistakes: Mistakes, columns: Sequence[str]) -> Iterator[tuple[located_csv.Row, JobView]]:
    """Yield the rows that are pods, and note what is wrong with the others."""
    names: set[str] = set()
    for row in located_csv.read(mistakes, columns, None):
        name = row.text("name")
        if name in names:
            mistakes.add(row.line, "name", f"there is a pod {shown(name)} already")
        num, milli = row.count("num_gpu", most=MOST_GPUS), row.count("gpu_milli")
        if (num > 1 and milli != 1000) or milli > 1000:
            mistakes.add(row.line, "gpu_milli", f"must be at most 1000, and 1000 of several GPUs, got {shown(milli)}")
            continue
        models = tuple(model for model in row.text("gpu_spec", "").split("|") if model)
        bundle = Resources(row.number("cpu_milli") / 1000, num * milli / 1000, row.number("memory_mib") * MIB)
        names.add(name)
        yield row, JobView(name, 0.0, bundle, 1, 1, selector={LABEL: models} if models else {})


def one_by_one(pods: Sequence[JobView], every_s: float = 1.0, source: str = "OpenB") -> Workload:
    """Return pods as a workload: one comes every ``every_s``, in their order, and none ends."""
    jobs = [SimulatedJob(replace(pod, submitted_s=number * every_s)) for number, pod in enumerate(pods)]
    return Workload(tuple(jobs), source)


def arrivals(pods: Sequence[JobView], num_gpus: float, seed: int) -> tuple[JobView, ...]:
    """Return all pods, shuffled, and then pods drawn with replacement until ``num_gpus`` GPUs are asked for.

    Weng et al. inflate the pods to 1.3 times the cluster's GPUs.
    """
    random = np.random.default_rng(seed)
    shuffled = [pods[row] for row in random.permutation(len(pods))]
    more = drawn(pods, num_gpus - sum(pod.bundle.gpu for pod in pods), random, None)
    return (*shuffled, *more)


def drawn(
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
