"""The same jobs through Ray's plain Jobs API, as users queue today; and two gangs that block each other there."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.job_submission import JobStatus, JobSubmissionClient
from rich.console import Console

from benchmarks.service.asking import HOME, submit, until
from benchmarks.service.twenty import GANG_ROUNDS, SLOTS, job_of, lab_plan, the_jobs
from scheduler.lab.lab import lab_up
from scheduler.service.client import the_service
from scheduler.service.submission import Wishes
from scheduler.session import connect, dashboard_url

CPUS_EACH = 2
"""What an entry point asks for: all that a node has."""

GANG_OF = 6
WITHIN_S = 900.0
BLOCKED_S = 60.0
"""Two gangs that hold every CPU, and have not moved for so long, block each other."""


def measure(folder: Path, console: Console) -> dict[str, Any]:
    """Queue all twenty as entry points of one process each, then two gangs there, then the same two with Apportion."""
    with lab_up(lab_plan(), isolated=True, dashboard=True) as lab, connect(lab.address):
        jobs = the_jobs(folder)
        url = dashboard_url()
        if url is None:
            raise SystemExit("this lab's head has no dashboard, hence no Jobs API")
        api = JobSubmissionClient(url)
        found = queued(api, folder, [one.job.model_dump(mode="json") for one in jobs])
        console.print("plain Jobs API", found, highlight=False)
        found["whole_cluster"] = whole_cluster(api)
        found["two_gangs"] = two_gangs(api)
        console.print("two gangs, plain", found["two_gangs"], highlight=False)
        found["two_gangs_here"] = two_gangs_here(folder)
        console.print("two gangs, here", found["two_gangs_here"], highlight=False)
        return found


def _submit(api: JobSubmissionClient, module: str, *arguments: str, cpus: float = 0.0) -> str:
    kept = {"PYTHONPATH": str(HOME), "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "")}
    entrypoint = " ".join([sys.executable, "-m", f"benchmarks.service.{module}", *arguments])
    return str(api.submit_job(entrypoint=entrypoint, entrypoint_num_cpus=cpus, runtime_env={"env_vars": kept}))


def queued(api: JobSubmissionClient, folder: Path, jobs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Submit all at once, each with the CPUs of a node, and wait for the last; the gang is one of a node, too."""
    began_s, names = time.time(), []
    for number, fields in enumerate(jobs):
        path = folder / f"plain-{number}.json"
        path.write_text(json.dumps(fields), encoding="utf-8")
        names.append(_submit(api, "one_process", str(path), str(CPUS_EACH), cpus=CPUS_EACH))
    ended = [_ended_s(api, name) for name in names]
    return {
        "makespan_s": max(ended) - began_s,
        "jct_mean_s": float(np.mean(ended)) - began_s,
    }


def _ended_s(api: JobSubmissionClient, name: str) -> float:
    until_s = time.monotonic() + WITHIN_S
    while time.monotonic() < until_s:
        info = api.get_job_info(name)
        if info.status is JobStatus.SUCCEEDED and info.end_time:
            return float(info.end_time) / 1e3
        if info.status in (JobStatus.FAILED, JobStatus.STOPPED):
            raise SystemExit(f"plain job {name}: {info.message}\n{api.get_job_logs(name)[-2000:]}")
        time.sleep(0.5)
    raise SystemExit(f"plain job {name} did not end within {WITHIN_S:g} s")


def whole_cluster(api: JobSubmissionClient) -> str:
    """Return what becomes, within a minute, of an entry point that asks for as many CPUs as the cluster has."""
    name = _submit(api, "one_by_one", "0", cpus=SLOTS)
    time.sleep(BLOCKED_S)
    status = api.get_job_info(name).status.value
    api.stop_job(name)
    return str(status)


def two_gangs(api: JobSubmissionClient) -> dict[str, Any]:
    """Let two jobs gather a gang each, which fit one after the other, and look whether they ever have them."""
    names = [_submit(api, "one_by_one", str(GANG_OF)) for _ in range(2)]
    full_s: float | None = None
    began_s = time.monotonic()
    while time.monotonic() - began_s < WITHIN_S:
        states = [api.get_job_info(name).status for name in names]
        if all(one.is_terminal() for one in states):
            return {"dead_lock": False, "states": [one.value for one in states]}
        free = ray.available_resources().get("CPU", 0.0)
        full_s = (full_s or time.monotonic()) if free < 1 else None
        if full_s is not None and time.monotonic() - full_s > BLOCKED_S:
            for name in names:
                api.stop_job(name)
            return {"dead_lock": True, "states": [one.value for one in states], "blocked_s": BLOCKED_S, "free": free}
        time.sleep(0.5)
    raise SystemExit("two gangs neither ended nor blocked each other")


def two_gangs_here(folder: Path) -> dict[str, Any]:
    """Submit two jobs that need as many workers each, and wait for both."""
    client, began_s = the_service(), time.time()
    data = next(folder.glob("*.npy"))
    names = [
        submit(client, job_of(data, name, GANG_ROUNDS, GANG_OF, GANG_OF), name, Wishes()) for name in ("left", "right")
    ]
    ended = [until(client, name, lambda one: one["state"] == "finished", 0.5) for name in names]
    overlap = min(one["ended_s"] for one in ended) > max(one["started_s"] for one in ended)
    return {
        "finished": [one["job"] for one in ended],
        "seconds": max(one["ended_s"] for one in ended) - began_s,
        "at_the_same_time": overlap,
    }
