"""Twenty jobs of three tenants, two with deadlines, one gang as large as the cluster; and their cluster."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.fidelity import write_data
from policies.interface import Tenant
from scheduler import node_labels
from scheduler.cluster_file import ClusterFile, NodeType
from scheduler.job import Job
from scheduler.lab.plan import LabPlan, plan_lab
from scheduler.live import LiveJob
from scheduler.preparation import prepare
from scheduler.service.submission import Estimate, Submission, Wishes
from scheduler.simulation.profile import profile
from scheduler.simulation.workload import SimulatedJob

WEIGHTS = {"red": 2.0, "green": 1.0, "blue": 1.0}
JOBS = {"red": 9, "green": 5, "blue": 5}
NODES = {"fast": 0.2, "slow": 0.1}
"""Two nodes of each type, of two CPUs: the part of a processor that one CPU is worth."""

SLOTS = 8
ROUNDS = (16, 32, 64)
SIZES = ((1, 2), (1, 4), (1, 8))
"""The least and the most workers of a job. Least numbers above 1 would be the steps in which eight slots are shared."""

GANG_ROUNDS = 32
WITH_DEADLINE = (3, 11)
DEADLINE_S = 600.0
GANG = "gang"


def tenants() -> tuple[Tenant, ...]:
    """Return who shares the cluster."""
    return tuple(Tenant(name, weight) for name, weight in WEIGHTS.items())


def lab_plan() -> LabPlan:
    """Return four nodes of two CPUs, 1.2 processors together; policies see one kind, so that a gang may span types."""
    types = {"head": NodeType(resources={"CPU": 0.0}, max_workers=0)}
    for name, speed in NODES.items():
        labels = {node_labels.SPEED: f"{speed:g}", node_labels.KIND: "any"}
        types[name] = NodeType(resources={"CPU": 2.0}, min_workers=2, labels=labels)
    file = ClusterFile(available_node_types=types, head_node_type="head", max_workers=4)
    return plan_lab(file, {}, processors=sum(2 * 2 * speed for speed in NODES.values()))


@dataclass(frozen=True)
class Wanted:
    """A job to submit, what its client wishes, and as the simulator has it (submitted at 0)."""

    job: Job
    wishes: Wishes
    simulated: SimulatedJob

    @property
    def name(self) -> str:
        """Return its name."""
        return self.job.name

    @property
    def estimate(self) -> Estimate:
        """Return what policies are to know of it."""
        view = self.simulated.view
        return Estimate(work=view.work, rates={kind: tuple(rates.tolist()) for kind, rates in view.rates.items()})


def job_of(data: Path, name: str, rounds: int, least: int = 1, most: int = SLOTS) -> Job:
    """Return a job whose rounds take 0.2 s of a processor or so."""
    spec = {
        "name": name,
        "data": {"npy": str(data)},
        "model": {"objective": "squared", "hidden": [96]},
        "training": {"solver": "gradient-descent", "rounds": rounds, "tolerance": 0.0},
        "shards": 48,
        "workers": {"min": least, "max": most, "bundle": {"cpu": 1, "memory": "250MiB"}},
        "output": str(data.parent / "out" / name),
    }
    return Job.model_validate(spec)


def the_jobs(folder: Path) -> list[Wanted]:
    """Return all twenty in the order of their submission; their data lie in ``folder``."""
    data, draw = write_data(folder, 60_000, 20), random.Random(1)  # noqa: S311  (no secret)
    profiles = {rounds: profile(prepare(job_of(data, "profile", rounds))) for rounds in {*ROUNDS, GANG_ROUNDS}}
    owners = [tenant for tenant, num in JOBS.items() for _ in range(num)]
    draw.shuffle(owners)
    found = [
        _wanted(data, profiles, f"job-{number}", tenant, draw.choice(ROUNDS), draw.choice(SIZES), number)
        for number, tenant in enumerate(owners)
    ]
    found.insert(len(found) // 2, _wanted(data, profiles, GANG, "red", GANG_ROUNDS, (SLOTS, SLOTS), -1))
    return found


def _wanted(
    data: Path,
    profiles: Mapping[int, SimulatedJob],
    name: str,
    tenant: str,
    rounds: int,
    size: tuple[int, int],
    number: int,
) -> Wanted:
    least, most = size
    deadline_s = DEADLINE_S if number in WITH_DEADLINE else None
    wishes = Wishes(tenant=tenant, min_workers=least, max_workers=most, deadline_s=deadline_s)
    job = job_of(data, name, rounds, least, most)
    view = Submission.of(job, "bench", wishes, name=name).view(name, 0.0)
    known = profiles[rounds]
    rates = {kind: rates[:most] for kind, rates in known.view.rates.items()}
    return Wanted(job, wishes, replace(known, view=replace(view, work=known.view.work, rates=rates)))


def fitting_jobs(data: Path) -> list[LiveJob]:
    """Return jobs of which the simulator's parameters are fitted: each has the whole cluster, with equal parts."""
    found = []
    for number in range(2):
        prepared = prepare(job_of(data, f"fit-{number}", 20, SLOTS, SLOTS))
        found.append(LiveJob(prepared, profile(prepared)))
    return found


def seconds_of_work(wanted: list[Wanted]) -> float:
    """Return the seconds that one processor needs for all of them."""
    found = (one.simulated.learning for one in wanted)
    return float(np.sum([one.rounds * one.work * one.s_per_work for one in found if one is not None]))
