"""Jobs of the scheduler service on a real head: submitted, resized, paused, killed, and always the same model."""

from __future__ import annotations

import getpass
import json
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from process_cases import HOME, JOB, Head, apportion, command, environment, free_port, head

from scheduler.job_file import load_job
from scheduler.preparation import prepare
from workers.model import sha256_of
from workers.sequential import train

__all__ = ["head"]
pytestmark = [pytest.mark.cluster, pytest.mark.long]

LONG = {"training.rounds": 5000, "training.tolerance": 0.0, "training.solver": "gradient-descent", "shards": 16}


def alone(**more: Any) -> str:
    """Return the hash of the long job's model, trained here by one process."""
    prepared = prepare(load_job(HOME / JOB, LONG | more))
    return sha256_of(train(prepared.training(), prepared.data.load(range(prepared.data.num_shards))).arrays)


def ask(head: Head, *arguments: str, fails: int = 0) -> Any:
    """Run a command against the head; return its JSON, or what it says where it is to fail."""
    more = () if fails else ("--json",)
    done = apportion(head.home, *arguments, *more, RAY_ADDRESS=head.address, RAY_AUTH_MODE="token")
    assert done.returncode == fails, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if fails else json.loads(done.stdout)


def submit(head: Head, name: str, *options: str) -> Any:
    settings = [part for field, value in LONG.items() for part in ("--set", f"{field}={value}")]
    output = str(head.home / "out" / name)
    return ask(head, "submit", JOB, "--name", name, "--output", output, *settings, *options)


def until(head: Head, name: str, holds: Callable[[Any], bool], within_s: float = 180.0) -> Any:
    """Ask for a job's status until something holds."""
    deadline_s = time.monotonic() + within_s
    while not holds(found := ask(head, "status", name)):
        assert found["state"] not in ("failed", "stopped"), found
        assert time.monotonic() < deadline_s, found
        time.sleep(0.3)
    return found


def finished(found: Any) -> bool:
    return bool(found["state"] == "finished")


def processes(head: Head, words: str) -> list[psutil.Process]:
    """Return the processes of the head's cluster whose command lines have these words."""
    found = [one for one in psutil.process_iter(["cmdline"]) if words in " ".join(one.info["cmdline"] or [])]
    return [one for one in found if one.environ().get("HOME") == str(head.home)]


def test_a_job_grows_shrinks_rests_and_moves_to_the_same_model(head: Head) -> None:
    rounds = ("--set", "training.rounds=15000")  # it must not end before all is done to it
    submit(head, "elastic", "--min-workers", "1", "--max-workers", "4", *rounds)
    until(head, "elastic", lambda found: found["workers"] == 4 and found["rounds"] > 0)
    ask(head, "tenant", "set", "guest", "--weight", "1")
    submit(head, "guest", "--tenant", "guest", "--min-workers", "2", "--max-workers", "4", *rounds)
    until(head, "elastic", lambda found: found["workers"] == 2)
    until(head, "guest", lambda found: found["workers"] == 2 and found["state"] == "running")
    assert ask(head, "pause", "elastic")["state"] == "paused"
    until(head, "elastic", lambda found: found["workers"] == 0)
    until(head, "guest", lambda found: found["workers"] == 4)
    assert ask(head, "resume", "elastic")["state"] == "queued"
    until(head, "elastic", lambda found: found["workers"] >= 1)
    ask(head, "resize", "elastic", "--max-workers", "1")
    until(head, "elastic", lambda found: found["workers"] == 1)
    model = alone(**{"training.rounds": 15000})
    for name in ("elastic", "guest"):
        assert until(head, name, finished, 300.0)["result"]["model_sha256"] == model
    tenants = {one["name"]: one for one in ask(head, "tenant", "list")}
    assert tenants["guest"]["cpu_h"] > 0
    assert tenants["guest"]["share"] == 0


def test_service_and_driver_are_killed_and_nothing_is_lost(head: Head) -> None:
    submit(head, "survivor", "--min-workers", "1", "--max-workers", "2")
    until(head, "survivor", lambda found: found["rounds"] > 0)
    submit(head, "waiting", "--after", "survivor", "--min-workers", "2")
    (service,) = processes(head, "ray::SchedulerService")
    service.send_signal(signal.SIGKILL)
    listed = ask(head, "jobs")
    assert {one["job"]: one["state"] for one in listed} == {"survivor": "running", "waiting": "held"}
    drivers = processes(head, "scheduler drive survivor")
    assert drivers
    for driver in drivers:
        driver.send_signal(signal.SIGKILL)
    found = until(head, "survivor", finished)
    assert found["attempts"] == 2
    model = alone()
    assert found["result"]["model_sha256"] == model
    assert until(head, "waiting", finished)["result"]["model_sha256"] == model


def test_stop_ends_a_job_and_its_log_is_there(head: Head) -> None:
    submit(head, "endless", "--set", "training.rounds=1000000")
    until(head, "endless", lambda found: found["rounds"] > 0)
    ask(head, "stop", "endless")
    deadline_s = time.monotonic() + 60
    while (found := ask(head, "status", "endless"))["state"] != "stopped":
        assert time.monotonic() < deadline_s, found
        time.sleep(0.3)
    log = apportion(head.home, "logs", "endless", RAY_ADDRESS=head.address, RAY_AUTH_MODE="token")
    assert "[3/5]" in log.stdout
    assert not processes(head, "scheduler drive endless") or found["workers"] == 0


def test_an_unfinished_run_of_another_job_is_neither_forgotten_nor_gone_on_with(head: Head) -> None:
    folder = head.home / "out" / "second-hand" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("run.json", "000000001.checkpoint"):
        (folder / name).write_text("{}")
    submit(head, "second-hand")
    deadline_s = time.monotonic() + 120
    while (found := ask(head, "status", "second-hand"))["state"] != "failed":
        assert time.monotonic() < deadline_s, found
        time.sleep(0.3)
    assert "holds 1 checkpoint(s) of an unfinished run" in found["reason"]
    assert found["attempts"] == 1


def test_from_outside_only_the_dashboard_is_needed(head: Head) -> None:
    told = apportion(
        head.home, "submit", JOB, "--name", "far", "--address", head.dashboard, "--json", "--working-dir",
        str(HOME / "examples"), RAY_AUTH_MODE="token",
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["job"] == "far"
    found = until(head, "far", finished)
    assert found["output"] == "runs/diabetes"
    assert (head.home / "apportion" / "runs" / "diabetes" / "model.json").is_file()


def test_a_run_of_ones_own_waits_in_the_same_queue(head: Head) -> None:
    submit(head, "first", "--min-workers", "4", "--max-workers", "4", "--set", "training.rounds=400")
    until(head, "first", lambda found: found["workers"] == 4)
    run = subprocess.Popen(
        command("run", JOB, "--workers", "2", "--output", str(head.home / "out" / "second")),
        cwd=HOME,
        env=environment(head.home, RAY_ADDRESS=head.address, RAY_AUTH_MODE="token"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    told, _ = run.communicate(timeout=120)
    assert run.returncode == 0, told
    assert "waiting for workers" in told
    assert "model sha256" in told
    assert until(head, "diabetes", finished)["driver"] == ""


def test_bad_input_is_refused_in_words(head: Head) -> None:
    ask(head, "tenant", "set", "red", "--quota", "cpu=1", "--no-borrow")
    submit(head, "there", "--set", "training.rounds=1000000")
    cases = {
        ("submit", JOB, "--tenant", "rde"): "unknown tenant 'rde'. Did you mean 'red'",
        ("submit", JOB, "--tenant", "red"): "the quota of tenant red: cpu 2 requested, 1 free",
        ("submit", JOB, "--workers", "50"): "it can never have its workers",
        ("submit", JOB, "--set", "workers.bundle.memory=1000000000000000"): "memory 953,674,316.4 MiB requested",
        ("submit", JOB, "--name", "there"): "a job named 'there' is",
        ("submit", JOB, "--name", "no such/name"): "name",
        ("submit", JOB, "--after", "nobody"): "unknown job 'nobody'",
        ("submit", JOB, "--min-workers", "3", "--max-workers", "2"): "min_workers is 3, but max_workers is 2",
        ("status", "thre"): "Did you mean 'there'",
        ("policy", "set", "drff+fgd"): "did you mean 'drf'",
        ("policy", "set", "mine:Policy"): "one of those that are built in",
        ("tenant", "set", "blue", "--weight", "0"): "weight must be greater than 0",
        ("tenant", "set", "blue", "--quota", "cpus=1"): "Did you mean 'cpu'",
        ("resize", "there"): "to what?",
    }  # fmt: skip
    for arguments, words in cases.items():
        assert words in ask(head, *arguments, fails=2), arguments
    as_other = apportion(
        head.home, "stop", "there", RAY_ADDRESS=head.address, RAY_AUTH_MODE="token", LOGNAME="somebody"
    )
    assert as_other.returncode == 2
    assert f"job there is {getpass.getuser()}'s, and you are somebody" in as_other.stderr
    nowhere = apportion(head.home, "jobs")
    assert nowhere.returncode == 2
    assert "which cluster?" in nowhere.stderr
    closed = apportion(head.home, "jobs", "--address", f"http://127.0.0.1:{free_port()}")
    assert closed.returncode == 2
    assert "no Ray dashboard answers" in closed.stderr
    ask(head, "stop", "there")
