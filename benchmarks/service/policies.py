"""The twenty jobs under several policies, by the service on a lab, and what the simulator says of the same."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.fitting import Fit, fitted
from benchmarks.service import judging
from benchmarks.service.asking import alone, submit, until
from benchmarks.service.twenty import DEADLINE_S, Wanted, fitting_jobs, lab_plan, tenants, the_jobs
from policies.presets import resolve
from scheduler.inventory import logical_views
from scheduler.lab.lab import lab_up
from scheduler.live import run_workload
from scheduler.live_fleet import fleet_like
from scheduler.service.client import ServiceClient, the_service
from scheduler.service.records import TenantRecord
from scheduler.service.submission import Wishes
from scheduler.session import connect
from scheduler.simulation.fleet import Fleet
from scheduler.simulation.simulator import simulate
from scheduler.simulation.workload import Workload
from scheduler.simulation.world import World

Spec = str | Mapping[str, Any]

POLICIES: Mapping[str, Spec] = {
    "fair-share": "fair-share+spread+adaptive-pull",
    "fifo": "fifo+spread+adaptive-pull",
    "drf": "drf+spread+adaptive-pull",
    "srtf": "srtf+spread+adaptive-pull",
    "finish-time-fair": "finish-time-fair+spread+adaptive-pull",
    "max-min-lp": {"joint": {"max-min-throughput": {"round_s": 30.0}}, "balance": "adaptive-pull"},
}
"""What the cluster's policy may be; the last is a linear programme."""

FITTED_ON = "round-robin"


@dataclass(frozen=True)
class Model:
    """The cluster as the simulator has it."""

    fleet: Fleet
    fit: Fit
    driver_s: float

    def simulated(self, jobs: Sequence[Wanted], submitted_s: Sequence[float], policy: Spec) -> dict[str, float]:
        """Return makespan and mean completion time of the jobs, submitted then (from the first one's on)."""
        machines = tuple(replace(one, speed=self.fit.speeds[one.id[:8]]) for one in self.fleet.machines)
        costs = replace(self.fit.costs, end_s=self.fit.costs.end_s + self.driver_s)
        found = []
        for one, at_s in zip(jobs, submitted_s, strict=True):
            learning, view = one.simulated.learning, one.simulated.view
            deadline_s = at_s + DEADLINE_S if one.wishes.deadline_s else view.deadline_s
            learning = None if learning is None else replace(learning, s_per_call=self.fit.s_per_call)
            view = replace(view, submitted_s=at_s, deadline_s=deadline_s)
            found.append(replace(one.simulated, view=view, learning=learning))
        world = World(Fleet(machines), Workload(tuple(found)), costs=costs, tenants=tenants())
        ended = simulate(world, resolve(policy)).jobs
        return {
            "makespan_s": max(one.ended_s for one in ended),
            "jct_mean_s": float(np.mean([one.jct_s for one in ended])),
        }


def measure(folder: Path, names: Sequence[str], console: Console) -> dict[str, Any]:
    """Run all jobs under every policy, one after the other, and simulate the same."""
    with lab_up(lab_plan(), isolated=True, dashboard=True) as lab, connect(lab.address):
        jobs = the_jobs(folder)
        hashes = {rounds: alone(one.job) for rounds, one in {one.job.training.rounds: one for one in jobs}.items()}
        client = the_service()
        for tenant in tenants():
            client.ask("set_tenant", TenantRecord(tenant).as_json())
        model = fit(client, folder)
        console.print(f"fitted: {model.fit}, a driver takes {model.driver_s:.1f} s", highlight=False)
        rows = []
        for name in names:
            rows.append(under(client, jobs, name, folder / name, model, hashes))
            console.print(rows[-1], highlight=False)
        return {"driver_s": model.driver_s, "policies": rows}


def fit(client: ServiceClient, folder: Path) -> Model:
    """Fit the simulator's parameters on runs of their own, and measure what a driver of the service's takes."""
    fleet, jobs = fleet_like(logical_views()), fitting_jobs(next(folder.glob("*.npy")))
    run_workload(jobs[:1], resolve(FITTED_ON), 0)  # the first start on a node takes longer
    runs = [run_workload(jobs, resolve(FITTED_ON), 0) for _ in range(2)]
    found = fitted(runs, {job.view.id: job.profile.learning for job in jobs if job.profile.learning})
    pooled_s = float(np.median([job.ended_s - job.started_s for run in runs for job in run.jobs]))
    client.ask("set_policy", "fifo+spread+round-robin")
    queued_s = []
    for number in range(2):
        name = submit(client, jobs[0].prepared.job, f"fit-{number}", Wishes())  # type: ignore[arg-type]
        ended = until(client, name, lambda one: one["state"] == "finished")
        queued_s.append(ended["ended_s"] - ended["started_s"])
    return Model(fleet, found, max(min(queued_s) - pooled_s, 0.0))


def under(
    client: ServiceClient, jobs: Sequence[Wanted], name: str, folder: Path, model: Model, hashes: Mapping[int, str]
) -> dict[str, Any]:
    """Run the jobs under one policy, judge what became of them, and simulate the same."""
    client.ask("set_policy", POLICIES[name])
    began_s, wanted = time.time(), {}
    for one in jobs:
        job = one.job.model_copy(update={"output": str(folder / one.name)})
        wanted[submit(client, job, one.name, one.wishes, one.estimate)] = one
    found = {job: until(client, job, lambda one: one["state"] == "finished", 0.5) for job in wanted}
    told = list(found.values())
    live = {
        "makespan_s": max(one["ended_s"] for one in told) - told[0]["submitted_s"],
        "jct_mean_s": float(np.mean([one["ended_s"] - one["submitted_s"] for one in told])),
    }
    at_s = [one["submitted_s"] - told[0]["submitted_s"] for one in told]
    others = [
        job for job, one in found.items() if one["result"]["model_sha256"] != hashes[wanted[job].job.training.rounds]
    ]
    waited = judging.waited_though_fitting(client, began_s)
    return {
        "policy": name,
        "live": live,
        "simulated": model.simulated(jobs, at_s, POLICIES[name]),
        "other_models": others,
        "late": [job for job, one in found.items() if one["deadline_s"] and one["ended_s"] > one["deadline_s"]],
        "preemptions": sum(one["preemptions"] for one in told),
        "attempts": sum(one["attempts"] for one in told),
        "waited_though_fitting": len(waited),
        "waited_why": waited[:5],
        **judging.shares(client, found),
    }
