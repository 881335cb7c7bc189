"""The program as a process: started, told to end, and watched; and a head of our own that asks for a token."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

HOME = Path(__file__).resolve().parents[2]
JOB = "examples/diabetes.yaml"
ENDLESS = ["--set", "training.rounds=1000000", "--set", "training.tolerance=0"]
RAY = str(Path(sys.executable).with_name("ray"))


def environment(home: Path, **extra: str) -> dict[str, str]:
    dropped = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # as where an environment is activated
    return {**kept, "HOME": str(home), "PATH": path, "PYTHONUNBUFFERED": "1", **extra}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "scheduler", *arguments]


@dataclass
class Running:
    process: subprocess.Popen[str]
    family: list[psutil.Process]


STARTED: list[subprocess.Popen[str]] = []


def start_endless(tmp_path: Path, *options: str, env: dict[str, str] | None = None) -> Running:
    """Start a run that does not end (unless ``options`` say so), and wait until its rounds have begun."""
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


@pytest.fixture
def nothing_goes_on() -> Iterator[None]:
    """End what a failed test has started."""
    yield
    for process in STARTED:
        if process.poll() is None:
            for part in [*psutil.Process(process.pid).children(recursive=True), process]:
                part.kill()
    STARTED.clear()


def survivors(family: list[psutil.Process], within_s: float = 20.0) -> list[psutil.Process]:
    gone, alive = psutil.wait_procs(family, timeout=within_s)
    del gone
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


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


@pytest.fixture(scope="session")
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


def answers_of(script: str, home: Path, timeout_s: float, within: Sequence[str] = (), **extra: str) -> dict[str, Any]:
    """Run a script in a process of its own, where it makes a cluster, and return the JSON that it prints last.

    ``within`` is a command that runs another; ``extra`` goes into the environment.
    """
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("c" * 64)
    done = subprocess.run(
        [*within, sys.executable, "-c", script],
        cwd=HOME,
        env={**os.environ, "HOME": str(home), "RAY_AUTH_MODE": "token", **extra},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
