"""The processes of a lab: each is marked in its environment, which all that it starts inherit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

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


def marked(lab_id: str) -> dict[str, list[psutil.Process]]:
    """Return the processes of a lab by the node that started them."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            owner, _, role = process.environ().get(MARK, "").partition("/")
        except (psutil.Error, OSError):  # it has ended, or is somebody else's
            continue
        if owner == lab_id:
            found.setdefault(role, []).append(process)
    return found


def workers_of(raylet: psutil.Process) -> list[psutil.Process]:
    """Return a raylet's workers and what they have started, without its agents."""
    try:
        children = [child for child in raylet.children() if not _is_agent(child)]
        return [one for child in children for one in (child, *_descendants(child))]
    except psutil.Error:
        return []


def end(processes: Callable[[], Iterable[psutil.Process]]) -> None:
    """Kill processes, and what they have started, until ``processes`` finds none any more.

    Raises
    ------
    RunFailedError
        If some have not ended after ten seconds.
    """
    left = ENDED_WITHIN_S
    while found := {one for process in processes() if _runs(process) for one in (process, *_descendants(process))}:
        for process in found:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(found, timeout=0.2)
        left -= 0.2
        if left <= 0:
            listed = ", ".join(str(process.pid) for process in found)
            raise RunFailedError(f"these processes of the lab do not end: {listed}")


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _is_agent(process: psutil.Process) -> bool:
    words = process.cmdline()
    return any(agent in word for word in words[:4] for agent in AGENTS)
