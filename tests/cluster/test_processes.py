"""The program as people start it: interrupted, killed, submitted to a running head, with and without its token."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.cluster
HOME = Path(__file__).resolve().parents[2]
JOB = "examples/diabetes.yaml"
ENDLESS = ["--set", "training.rounds=1000000", "--set", "training.tolerance=0"]
RAY = str(Path(sys.executable).with_name("ray"))


def environment(home: Path, **extra: str) -> dict[str, str]:
    dropped = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "HOME": str(home), "PYTHONUNBUFFERED": "1", **extra}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "scheduler", *arguments]


@dataclass
class Running:
    process: subprocess.Popen[str]
    family: list[psutil.Process]


STARTED: list[subprocess.Popen[str]] = []


def start_endless(tmp_path: Path, *options: str, env: dict[str, str] | None = None) -> Running:
    """Start a run that does not end, and wait until its rounds have begun."""
    arguments = command("run", JOB, "--output", str(tmp_path / "out"), *ENDLESS, *(options or ("--cpus", "2")))
    process = subprocess.Popen(
        arguments,
        cwd=HOME,
        env=env or environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (a shell's background ignores it)
    )
    STARTED.append(process)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("[3/5]"):
            break
    time.sleep(0.5)
    return Running(process, psutil.Process(process.pid).children(recursive=True))


@pytest.fixture(autouse=True)
def _nothing_goes_on() -> Iterator[None]:
    """End what a failed test has started."""
    yield
    for process in STARTED:
        if process.poll() is None:
            for part in [*psutil.Process(process.pid).children(recursive=True), process]:
                part.kill()
    STARTED.clear()


def survivors(family: list[psutil.Process]) -> list[psutil.Process]:
    gone, alive = psutil.wait_procs(family, timeout=20)
    del gone
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_and_no_model(tmp_path: Path, sent: signal.Signals) -> None:
    running = start_endless(tmp_path)
    running.process.send_signal(sent)
    output, _ = running.process.communicate(timeout=60)
    assert running.process.returncode == 130, output
    assert "Traceback" not in output
    assert "interrupted" in output
    assert survivors(running.family) == []
    assert not (tmp_path / "out").exists()


def test_a_dead_worker_ends_the_run_with_its_name(tmp_path: Path) -> None:
    running = start_endless(tmp_path)
    worker = next(process for process in running.family if "SgdWorker" in " ".join(process.cmdline()))
    worker.kill()
    output, _ = running.process.communicate(timeout=60)
    assert running.process.returncode == 1, output
    assert "a worker died" in output
    assert "Traceback" not in output
    assert survivors(running.family) == []


@dataclass(frozen=True)
class Head:
    address: str
    dashboard: str
    home: Path
    token: str
    metrics: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """Start a head of our own that asks for a token, as `ray start --head` does."""
    home, temporary = tmp_path_factory.mktemp("head-home"), tmp_path_factory.mktemp("r")
    port, dashboard, metrics = free_port(), free_port(), free_port()
    token = "a" * 64
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text(token)
    arguments = [RAY, "start", "--head", "--block", f"--port={port}", f"--dashboard-port={dashboard}"]
    arguments += [
        f"--metrics-export-port={metrics}",
        f"--dashboard-agent-listen-port={free_port()}",  # others on this machine have the usual one
        "--num-cpus=4",
        f"--temp-dir={temporary}",
        "--include-dashboard=true",
    ]
    log = (home / "log").open("w")
    process = subprocess.Popen(
        arguments, env=environment(home, RAY_AUTH_MODE="token"), stdout=log, stderr=subprocess.STDOUT
    )
    try:
        for wanted in (port, dashboard):
            wait_for(wanted, process)
        host = re.search(r"Local node IP: (\S+)", (home / "log").read_text())
        yield Head(
            f"{host[1] if host else '127.0.0.1'}:{port}",
            f"http://127.0.0.1:{dashboard}",
            home,
            token,
            f"http://127.0.0.1:{metrics}/metrics",
        )
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(timeout=60)
        for orphan in survivors(family):
            orphan.kill()
        log.close()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"nothing listens on port {port}")


def apportion(home: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=HOME,
        env=environment(home, **extra),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


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
