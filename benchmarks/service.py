"""The scheduler service measured: a burst of submissions, resizes of a running job, and many jobs of three tenants.

``make bench-service``, or ``python -m benchmarks.service burst resizes tenants --json service.json``: each on a Ray
cluster of its own on this machine, with more logical processors than there are.

``burst``: a thousand jobs are submitted as fast as one client can, and the service is killed in the middle.
``resizes``: a running job is shrunk, grown, and paused again and again; its model is compared with that of one process.
``tenants``: twenty jobs of tenants that weigh 2, 1 and 1, two with deadlines, one gang as large as the cluster. What
each tenant has while all want more is compared with its weight; models are compared with those of one process; and
every decision is looked through for a job that waited although its gang would have fitted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console

from benchmarks.chaos.raylets import with_tokens
from benchmarks.machine import facts
from policies.feasibility import Room, slots
from scheduler.job import Job
from scheduler.job_file import load_job
from scheduler.preparation import prepare
from scheduler.service.client import ServiceClient, the_service
from scheduler.service.decisions import nodes_of, snapshots
from scheduler.service.submission import Submission, Wishes
from scheduler.session import connect
from workers.model import sha256_of
from workers.sequential import train

HOME = Path(__file__).resolve().parents[1]
JOB = HOME / "examples" / "diabetes.yaml"
CPUS = 16
WITHIN_S = 900.0
WEIGHTS = {"red": 2.0, "green": 1.0, "blue": 1.0}


def job(rounds: int, output: Path, shards: int = 16) -> Job:
    """Return a job of so many rounds of gradient descent: each is short, and costs mostly its calls."""
    training = {"training.rounds": rounds, "training.tolerance": 0.0, "training.solver": "gradient-descent"}
    return load_job(JOB, {**training, "shards": shards, "output": str(output)})


def alone(wanted: Job) -> str:
    """Return the hash of a job's model, trained here by one process."""
    prepared = prepare(wanted)
    return sha256_of(train(prepared.training(), prepared.data.load(range(prepared.data.num_shards))).arrays)


def submit(client: ServiceClient, wanted: Job, name: str, **wishes: Any) -> str:
    """Submit a job, and return what the cluster calls it."""
    submission = Submission.of(wanted, "bench", Wishes(**wishes), name=name)
    found: str = client.ask("submit", submission.model_dump(mode="json"))["job"]
    return found


def until(client: ServiceClient, name: str, holds: Callable[[Mapping[str, Any]], bool], step_s: float = 0.05) -> Any:
    """Ask for a job until something holds, and return what is known of it then."""
    deadline_s = time.monotonic() + WITHIN_S
    while not holds(found := client.ask("status", name)):
        if found["state"] in ("failed", "stopped") or time.monotonic() > deadline_s:
            raise SystemExit(f"job {name}: {found}")
        time.sleep(step_s)
    return found


def service_process(client: ServiceClient) -> psutil.Process:
    """Return the service's process."""
    return psutil.Process(client.ask("hello", 1)["pid"])


def burst(folder: Path, num: int) -> dict[str, Any]:
    """Submit many jobs at once, behind one that has the whole cluster, and kill the service in the middle."""
    client = the_service()
    submit(client, job(1_000_000, folder / "first"), "first", min_workers=CPUS, max_workers=CPUS)
    until(client, "first", lambda found: found["rounds"] > 0)
    before = service_process(client).memory_info().rss
    waiting, took_s = job(60, folder / "waiting"), []
    began_s, names = time.perf_counter(), []
    for number in range(num):
        at_s = time.perf_counter()
        if number == num // 2:
            service_process(client).send_signal(signal.SIGKILL)
        names.append(submit(client, waiting, f"burst-{number}", min_workers=CPUS, max_workers=CPUS))
        took_s.append(time.perf_counter() - at_s)
    lasted_s = time.perf_counter() - began_s
    time.sleep(5.0)
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


def resizes(folder: Path, num: int) -> dict[str, Any]:
    """Resize a running job again and again, and compare its model."""
    client, draw = the_service(), random.Random(0)  # noqa: S311  (no secret)
    wanted = job(200 * num, folder / "resized")
    name = submit(client, wanted, "resized", min_workers=1, max_workers=4)
    until(client, name, lambda found: found["workers"] == 4 and found["rounds"] > 0)
    shrinks, growths, now = [], [], 4
    for _ in range(num):
        target = draw.choice([one for one in range(1, 9) if one != now])
        began_s = time.perf_counter()
        client.ask("resize", name, min(target, now, 1), target, "bench", False)
        until(client, name, lambda found, target=target: found["workers"] == target, 0.005)
        (shrinks if target < now else growths).append(time.perf_counter() - began_s)
        now = target
        if client.ask("status", name)["state"] == "finished":
            raise SystemExit("the job ended before the last resize: its rounds are too few")
        time.sleep(draw.uniform(0.2, 0.8))
    found = until(client, name, lambda found: found["state"] == "finished", 0.5)
    return {
        "resizes": num,
        "shrink_p50_ms": float(np.percentile(shrinks, 50)) * 1e3,
        "shrink_p99_ms": float(np.percentile(shrinks, 99)) * 1e3,
        "growth_p50_ms": float(np.percentile(growths, 50)) * 1e3,
        "growth_p99_ms": float(np.percentile(growths, 99)) * 1e3,
        "same_model": found["result"]["model_sha256"] == alone(wanted),
    }


def tenants(folder: Path, policy: str) -> dict[str, Any]:
    """Run twenty jobs of three tenants under a policy."""
    client, draw = the_service(), random.Random(1)  # noqa: S311  (no secret)
    client.ask("set_policy", policy)
    for name, weight in WEIGHTS.items():
        client.ask(
            "set_tenant",
            {"name": name, "weight": weight, "quota": None, "parent": "", "borrows": True, "most_jobs": None},
        )
    began_s, wanted = time.time(), {}
    owners = [*itertools.chain.from_iterable([tenant] * num for tenant, num in (("red", 9), ("green", 5), ("blue", 5)))]
    draw.shuffle(owners)
    for number, tenant in enumerate(owners):
        least = draw.choice((1, 1, 2))
        made = job(draw.choice((400, 800, 1200)), folder / f"job-{number}")
        deadline = 600.0 if number in (3, 11) else None
        name = submit(
            client, made, f"job-{number}", tenant=tenant, min_workers=least, max_workers=8, deadline_s=deadline
        )
        wanted[name] = made
    made = job(200, folder / "gang")
    wanted[submit(client, made, "gang", tenant="red", min_workers=CPUS, max_workers=CPUS)] = made
    found = {name: until(client, name, lambda one: one["state"] == "finished", 1.0) for name in wanted}
    hashes = {
        made.training.rounds: alone(made) for made in {one.training.rounds: one for one in wanted.values()}.values()
    }
    return {
        "policy": policy,
        "jobs": len(found),
        "makespan_s": max(one["ended_s"] for one in found.values()) - began_s,
        "mean_jct_s": float(np.mean([one["ended_s"] - one["submitted_s"] for one in found.values()])),
        "late": sum(1 for one in found.values() if one["deadline_s"] and one["ended_s"] > one["deadline_s"]),
        "other_models": sum(
            one["result"]["model_sha256"] != hashes[wanted[n].training.rounds] for n, one in found.items()
        ),
        **shares(client, found),
        "waited_though_fitting": waited_though_fitting(client),
        "preemptions": sum(one["preemptions"] for one in found.values()),
    }


def shares(client: ServiceClient, found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what each tenant had, over what its weight gives it, while all tenants wanted more than that."""
    leases = client.ask("rows", "SELECT tenant, since_s, until_s FROM leases WHERE until_s IS NOT NULL")
    total, had, lasted_s = sum(WEIGHTS.values()), dict.fromkeys(WEIGHTS, 0.0), 0.0
    edges = sorted({row[edge] for row in leases for edge in ("since_s", "until_s")})
    for since_s, until_s in itertools.pairwise(edges):
        at_s = (since_s + until_s) / 2
        wants = dict.fromkeys(WEIGHTS, 0.0)
        for name, one in found.items():
            if name != "gang" and one["submitted_s"] <= at_s < one["ended_s"]:
                wants[one["tenant"]] += one["max_workers"]
        held = {t: sum(r["since_s"] <= at_s < r["until_s"] for r in leases if r["tenant"] == t) for t in WEIGHTS}
        full = sum(held.values()) >= CPUS - 1
        if full and all(wants[tenant] >= CPUS * weight / total for tenant, weight in WEIGHTS.items()):
            lasted_s += until_s - since_s
            for tenant in WEIGHTS:
                had[tenant] += held[tenant] * (until_s - since_s)
    sums = sum(had.values()) or 1.0
    return {
        "contended_s": lasted_s,
        "share_over_weight": {t: had[t] / sums / (weight / total) for t, weight in WEIGHTS.items()},
    }


def waited_though_fitting(client: ServiceClient) -> int:
    """Count the jobs that a decision left waiting although their gangs fitted into what it left free."""
    rows = client.ask("rows", "SELECT * FROM decisions ORDER BY number")
    tables = {r["id"]: nodes_of(json.loads(r["nodes"])) for r in client.ask("rows", "SELECT id, nodes FROM nodes")}
    num = 0
    for row, snapshot in snapshots(rows, tables):
        views, room = {view.id: view for view in snapshot.jobs}, Room(snapshot.nodes)
        for sign, grants in ((-1, json.loads(row["revokes"])), (1, json.loads(row["grants"]))):
            for name, _, node, devices in grants:
                move = room.hold if sign > 0 else room.release
                move(views[name].bundle, snapshot.nodes.row_of[node], devices)
        for name, reason in json.loads(row["unplaced"]):
            fitting = slots(views[name], room.table()).sum() >= views[name].min_workers
            num += bool(fitting and "quota" not in reason)
    return num


PARTS: Mapping[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "burst": lambda folder, options: burst(folder, options.submissions),
    "resizes": lambda folder, options: resizes(folder, options.resizes),
    "tenants": lambda folder, options: tenants(folder, options.policy),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[*PARTS])
    parser.add_argument("--submissions", type=int, default=1000)
    parser.add_argument("--resizes", type=int, default=50)
    parser.add_argument("--policy", default="fair-share+spread+adaptive-pull")
    parser.add_argument("--json", type=Path)
    options, console, results = parser.parse_args(arguments), Console(), {}
    with_tokens()
    for part in options.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="apportion-bench-") as folder, connect("local", cpus=CPUS):
            results[part] = PARTS[part](Path(folder), options)
        console.print(part, results[part])
    if options.json:
        options.json.write_text(json.dumps({"machine": facts(), **results}, indent=2), encoding="utf-8")
    bad = results.get("burst", {}).get("lost", 0) + results.get("burst", {}).get("twice", 0)
    bad += results.get("tenants", {}).get("other_models", 0) + (not results.get("resizes", {}).get("same_model", True))
    return int(bool(bad))


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    sys.exit(main())
