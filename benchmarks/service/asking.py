"""Jobs that are handed in to the service, and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
from threadpoolctl import threadpool_limits

from scheduler.job import Job
from scheduler.job_file import load_job
from scheduler.preparation import prepare
from scheduler.service.client import ServiceClient
from scheduler.service.submission import API, Estimate, Submission, Wishes
from workers.model import sha256_of
from workers.sequential import train

HOME = Path(__file__).resolve().parents[2]
WITHIN_S = 900.0


def short_rounds(rounds: int, output: Path, shards: int = 16) -> Job:
    """Return a job of so many rounds of gradient descent: each is short, and costs mostly its calls."""
    training = {"training.rounds": rounds, "training.tolerance": 0.0, "training.solver": "gradient-descent"}
    return load_job(HOME / "examples" / "diabetes.yaml", {**training, "shards": shards, "output": str(output)})


def alone(wanted: Job) -> str:
    """Return the hash of a job's model, trained here by one process."""
    prepared = prepare(wanted)
    with threadpool_limits(limits=1):  # as workers do
        outcome = train(prepared.training(), prepared.data.load(range(prepared.data.num_shards)))
    return sha256_of(outcome.arrays)


def submit(
    client: ServiceClient, wanted: Job, name: str, wishes: Wishes | None = None, estimate: Estimate | None = None
) -> str:
    """Submit a job, and return what the cluster calls it."""
    submission = Submission.of(wanted, "bench", wishes or Wishes(), name=name, estimate=estimate)
    found: str = client.ask("submit", submission.model_dump(mode="json"))["job"]
    return found


def until(
    client: ServiceClient,
    name: str,
    holds: Callable[[Mapping[str, Any]], bool],
    step_s: float = 0.05,
    within_s: float = WITHIN_S,
) -> Any:
    """Ask for a job until something holds, and return what is known of it then."""
    deadline_s = time.monotonic() + within_s
    while not holds(found := client.ask("status", name)):
        if found["state"] in ("failed", "stopped") or time.monotonic() > deadline_s:
            raise SystemExit(f"job {name}: {found}")
        time.sleep(step_s)
    return found


def service_process(client: ServiceClient) -> psutil.Process:
    """Return the service's process."""
    return psutil.Process(client.ask("hello", API)["pid"])
