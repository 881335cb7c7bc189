"""The program as people start it: interrupted, killed, submitted to a running head, with and without its token."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from process_cases import HOME, JOB, RAY, Head, apportion, environment, start_endless, survivors

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("nothing_goes_on")]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_and_no_model(tmp_path: Path, sent: signal.Signals) -> None:
    running = start_endless(tmp_path)
    running.process.send_signal(sent)
    output, _ = running.process.communicate(timeout=60)
    assert running.process.returncode == 130, output
    assert "Traceback" not in output
    assert "interrupted" in output
    assert survivors(running.family) == []
    assert not (tmp_path / "out" / "model.json").exists()


def test_a_run_on_a_running_head(head: Head, tmp_path: Path) -> None:
    arguments = ("run", JOB, "--address", head.address, "--output", str(tmp_path / "out"), "--json")
    done = apportion(head.home, *arguments, RAY_AUTH_MODE="token")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "summary.json").read_text())
    nodes = apportion(head.home, "nodes", "--json", RAY_AUTH_MODE="token", RAY_ADDRESS=head.address)
    assert json.loads(nodes.stdout)[0]["logical"]["capacity"][0] == 4


def test_policies_are_compared_on_a_running_head_and_simulated_on_one_like_it(head: Head, tmp_path: Path) -> None:
    compared = ("compare", JOB, "examples/breast_cancer.yaml", "--policies", "equal,srtf+adaptive-pull", "--json")
    compared += ("--address", head.address, "--runs", str(tmp_path / "runs"), "--html", str(tmp_path / "report.html"))
    compared += ("--set", "training.rounds=5", "--copies", "2")
    first, again = (apportion(head.home, *compared, RAY_AUTH_MODE="token") for _ in range(2))
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert json.loads(again.stdout) == told, "what was kept is not run again"
    assert len(told["runs"]) == 2 and all(run["live"] for run in told["runs"])
    assert sorted(told["models"]) == ["breast-cancer-1", "breast-cancer-2", "diabetes-1", "diabetes-2"]
    assert all(len(hashes) == 1 for hashes in told["models"].values())
    assert told["models"]["diabetes-1"] == told["models"]["diabetes-2"]
    assert "breast-cancer-1" in (tmp_path / "report.html").read_text()
    trace = str(tmp_path / "run.jsonl")
    ran = ("run", JOB, "--address", head.address, "--output", str(tmp_path / "out"), "--record", trace, "--json")
    done = apportion(head.home, *ran, RAY_AUTH_MODE="token")
    assert done.returncode == 0, done.stderr
    like = ("simulate", "--trace", trace, "--like-live", "--address", head.address, "--json")
    simulated = apportion(head.home, *like, RAY_AUTH_MODE="token")
    assert simulated.returncode == 0, simulated.stderr
    found = json.loads(simulated.stdout)
    assert "1 nodes" in found["title"] and found["runs"][0]["unfinished_jobs"] == 0


METRICS = ("rounds_total", "loss", "round_seconds_count", "worker_rows_per_second", "bytes_moved_total")


def test_metrics_names_and_reprs_while_a_run_goes_on(head: Head, tmp_path: Path) -> None:
    env = environment(head.home, RAY_AUTH_MODE="token")
    running = start_endless(tmp_path, "--address", head.address, env=env)
    try:
        deadline_s = time.monotonic() + 60
        missing: list[str] = list(METRICS)
        while missing and time.monotonic() < deadline_s:
            time.sleep(0.5)
            with urllib.request.urlopen(head.metrics, timeout=5) as answer:  # noqa: S310
                text = answer.read().decode()
            missing = [
                name for name in METRICS if not re.search(rf'^ray_apportion_{name}{{.*job="diabetes"', text, re.M)
            ]
        assert missing == []
        listed = subprocess.run(
            [RAY, "list", "actors", "--detail", "--format=json", "--filter=state=ALIVE", f"--address={head.dashboard}"],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        actors = {re.sub("/.*/", "/", actor["name"]): actor["repr_name"] for actor in json.loads(listed.stdout)}
    finally:
        running.process.send_signal(signal.SIGINT)
        running.process.communicate(timeout=60)
    assert sorted(actors) == ["diabetes/parameter-server", "diabetes/worker-0", "diabetes/worker-1"]
    assert actors["diabetes/parameter-server"] == "ParameterServer(diabetes)"
    assert actors["diabetes/worker-1"].startswith("SgdWorker(diabetes, worker-1 on node ")


@pytest.mark.parametrize(
    ("token", "mode", "message"),
    [
        (None, "", "asks for an authentication token"),
        (None, "token", "asks for an authentication token"),
        ("a" * 64, "", "asks for an authentication token"),
        ("b" * 64, "token", "refuses our authentication token"),
    ],
)
def test_a_missing_or_wrong_token_is_told_at_once(
    head: Head, tmp_path: Path, token: str | None, mode: str, message: str
) -> None:
    extra = ({"RAY_AUTH_TOKEN": token} if token else {}) | ({"RAY_AUTH_MODE": mode} if mode else {})
    started_s = time.monotonic()
    done = apportion(tmp_path, "run", JOB, "--address", head.address, **extra)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "RAY_AUTH_MODE=token" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started_s < 20  # Ray itself takes 20 s to say less


def test_ray_job_submit_with_nothing_installed(head: Head) -> None:
    output = head.home / "submitted"
    submit = [RAY, "job", "submit", "--address", head.dashboard, "--working-dir", ".", "--"]
    run = f"{sys.executable} -m scheduler run {JOB} --output {output}"
    deadline_s = time.monotonic() + 60
    while True:
        done = subprocess.run(
            [*submit, *run.split()],
            cwd=packages_alone(head.home),
            env=environment(head.home, RAY_AUTH_MODE="token"),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if "No available agent to submit job" not in done.stderr or time.monotonic() > deadline_s:
            break
        time.sleep(1)  # the head takes jobs a moment after it answers
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[5/5] Fuse and evaluate" in done.stdout
    assert (output / "model.json").is_file()


def packages_alone(folder: Path) -> Path:
    """Copy what a checkout has, without its environments and caches, to submit it."""
    target = folder / "checkout"
    for name in ("scheduler", "workers", "policies", "examples"):
        for path in (HOME / name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                copy = target / path.relative_to(HOME)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
    return target


def test_a_shadowed_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").write_text("")
    script = "from scheduler.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HOME)!r}); {script}", "nodes"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert str(tmp_path / "workers" / "__init__.py") in done.stderr
