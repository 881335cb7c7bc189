"""A thousand submissions as fast as one client can, and the service is killed in the middle."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.service.asking import service_process, short_rounds, submit, until
from scheduler.job import WorkersSpec
from scheduler.service.client import the_service
from scheduler.service.submission import Wishes
from scheduler.session import connect

CPUS = 16
SETTLES_S = 5.0


def measure(folder: Path, num: int) -> dict[str, Any]:
    """Submit many jobs behind one that has the whole cluster, and look whether all are there."""
    with connect("local", cpus=CPUS):
        return _burst(folder, num)


def _burst(folder: Path, num: int) -> dict[str, Any]:
    client, whole = the_service(), Wishes(min_workers=CPUS, max_workers=CPUS)
    one = WorkersSpec.model_validate({"count": 1, "bundle": {"cpu": CPUS}})  # one actor, or they would be all the load
    first = short_rounds(1_000_000, folder / "first").model_copy(update={"workers": one})
    submit(client, first, "first")
    until(client, "first", lambda found: found["rounds"] > 0)
    before = service_process(client).memory_info().rss
    waiting, took_s = short_rounds(60, folder / "waiting"), []
    began_s, names = time.perf_counter(), []
    for number in range(num):
        at_s = time.perf_counter()
        if number == num // 2:
            service_process(client).send_signal(signal.SIGKILL)
        names.append(submit(client, waiting, f"burst-{number}", whole))
        took_s.append(time.perf_counter() - at_s)
    lasted_s = time.perf_counter() - began_s
    time.sleep(SETTLES_S)
    listed = [one["job"] for one in client.ask("jobs", True)]
    rows = client.ask("rows", "SELECT took_s, num_jobs FROM decisions WHERE num_jobs > ?", [num // 10])
    decisions = [row["took_s"] for row in rows]
    return {
        "submissions": num,
        "seconds": lasted_s,
        "submit_p50_ms": float(np.percentile(took_s, 50)) * 1e3,
        "lost": len(set(names) - set(listed)),
        "twice": len(listed) - len(set(listed)),
        "decisions": len(decisions),
        "decision_p50_ms": float(np.percentile(decisions, 50)) * 1e3,
        "decision_p99_ms": float(np.percentile(decisions, 99)) * 1e3,
        "memory_before_mb": before / 1e6,
        "memory_after_mb": service_process(client).memory_info().rss / 1e6,
    }
