"""The processes of a lab: each is marked in its environment, which all that it starts inherit."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from scheduler.errors import RunFailedError

MARK = "APPORTION_LAB"
"""The variable that has the lab's id and the node's name."""

ENDED_WITHIN_S = 10.0

AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent", "/dashboard/agent.py", "/runtime_env/agent/main.py")
"""How a raylet's children that are no workers are called, before and after they have given themselves a title."""


def mark(lab_id: str, role: str) -> dict[str, str]:
    """Return the variable that marks what a node starts."""
    return {MARK: f"{lab_id}/{role}"}


def of_lab(lab_id: str) -> dict[str, list[psutil.Process]]:
    """Return the processes of a lab by the node that started them: those with its mark, and all that come of them.

    Those that give themselves a title, such as Ray's workers, may write over the mark.
    """
    everyone = {process.pid: process for process in psutil.process_iter()}
    parents = {pid: _parent(process) for pid, process in everyone.items()}
    roles = {pid: role for pid, process in everyone.items() if (role := _role(process, lab_id))}
    found: dict[str, list[psutil.Process]] = {}
    for pid, process in everyone.items():
        above: int | None = pid
        while above in parents and above not in roles:
            above = parents[above]
        if above in roles:
            found.setdefault(roles[above], []).append(process)
    return found


def workers_of(raylet: psutil.Process) -> list[psutil.Process]:
    """Return a raylet's workers and what they have started, without its agents."""
    try:
        children = [child for child in raylet.children() if not _is_agent(child)]
        return [one for child in children for one in (child, *child.children(recursive=True))]
    except psutil.Error:
        return []


def is_raylet(process: psutil.Process) -> bool:
    """Say whether a process is a raylet that runs."""
    try:
        return bool(process.name() == "raylet") and _runs(process)
    except psutil.Error:
        return False


def cpu_s(process: psutil.Process) -> float:
    """Return the seconds of processor time that a process has used, 0 if it has ended."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def start_detached(
    command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, which outlives this one; what it prints goes to a file."""
    with log.open("wb") as file:
        return subprocess.Popen(  # noqa: S603  (commands of ours, without a shell)
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end(processes: Callable[[], Iterable[psutil.Process]]) -> None:
    """Kill processes until ``processes`` finds none any more.

    Raises
    ------
    RunFailedError
        If some have not ended after ten seconds.
    """
    until_s = time.monotonic() + ENDED_WITHIN_S
    while found := {process for process in processes() if _runs(process)}:
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=0.2)
        if time.monotonic() > until_s:
            listed = ", ".join(str(process.pid) for process in found)
            raise RunFailedError(f"these processes of the lab do not end: {listed}")


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


def _role(process: psutil.Process, lab_id: str) -> str:
    """Return the mark that a process has of this lab, empty if it has none."""
    try:
        owner, _, role = process.environ().get(MARK, "").partition("/")
    except (psutil.Error, OSError):  # it has ended, or is somebody else's
        return ""
    return role if owner == lab_id else ""


def _is_agent(process: psutil.Process) -> bool:
    words = process.cmdline()
    return any(agent in word for word in words[:4] for agent in AGENTS)
