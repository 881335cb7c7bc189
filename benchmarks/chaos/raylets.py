"""A Ray cluster of several nodes on this machine, each a raylet that can be killed with all that is on it."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

HOME = Path(__file__).resolve().parents[2]
WORKER, SERVER, SERVICE = "SgdWorker", "ParameterServer", "SchedulerService"
STARTS_WITHIN_S = 90.0
HEAD_ATTEMPTS = 3
_FOREIGN = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_JOB_CONFIG_JSON_ENV_VAR")


def with_tokens() -> None:
    """Begin this program again where Ray was loaded without authentication by tokens: it asks only once."""
    if os.environ.get("RAY_AUTH_MODE") != "token":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "RAY_AUTH_MODE": "token"})  # noqa: S606


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all that it has started, without those that have ended."""
    try:
        first = psutil.Process(pid)
        return [one for one in (first, *first.children(recursive=True)) if runs(one)]
    except psutil.NoSuchProcess:
        return []


def runs(process: psutil.Process) -> bool:
    """Say whether a process has not ended."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end(process: psutil.Process) -> bool:
    """Send a process ``kill -9``, and say whether it was there."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def _is(process: psutil.Process, actor: str) -> bool:
    with suppress(psutil.Error):
        return actor in " ".join(process.cmdline())
    return False


class Raylets:
    """A head, on which drivers and servers are, and nodes for workers.

    Attributes
    ----------
    address, environment
        Of the head, and what a program needs to be let in: token authentication is on.
    nodes
        The processes that keep a node, each with its raylet below it.
    """

    def __init__(self, folder: Path, cpus: int) -> None:
        self._folder, self._cpus, self._num_logs = folder, cpus, 0
        token = folder / "token"
        token.write_text(secrets.token_hex(32), encoding="ascii")
        kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        self.environment = {
            **kept,
            "PYTHONUNBUFFERED": "1",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.head, self.address = self._start_head()
        self.environment["RAY_ADDRESS"] = self.address

    def _start_head(self) -> tuple[subprocess.Popen[bytes], str]:
        """Start the head, once more where the machine was too busy for Ray: it gives itself 30 s."""
        for attempt in range(HEAD_ATTEMPTS):
            options = ["--head", f"--port={_free_port()}", f"--ray-client-server-port={_free_port()}"]
            head = self._start([*options, "--include-dashboard=false", "--num-cpus=0"])
            try:
                return head, _told_address(self._folder / f"node-{self._num_logs}.log", head)
            except RuntimeError:
                if attempt == HEAD_ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _start(self, options: list[str]) -> subprocess.Popen[bytes]:
        self._num_logs += 1
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options]
        command += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
        command += ["--object-store-memory=150000000", f"--temp-dir={self._folder / f'ray-{self._num_logs}'}"]
        with (self._folder / f"node-{self._num_logs}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=self._folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def add_node(self) -> None:
        """Start another node, without waiting for it."""
        self.nodes.append(self._start([f"--address={self.address}", f"--num-cpus={self._cpus}", "--memory=4000000000"]))

    def kill_node(self, node: subprocess.Popen[bytes]) -> list[int]:
        """Kill a node's raylet and all that is on it, and return the processes."""
        self.nodes.remove(node)
        everyone = family(node.pid)
        everyone.sort(key=lambda one: "raylet" not in one.name())  # it must not see the others die
        killed = [one.pid for one in everyone if end(one)]
        node.wait()
        return killed

    def actors(self, name: str) -> list[psutil.Process]:
        """Return the processes of ``WORKER``, ``SERVER`` or ``SERVICE`` actors, on all nodes."""
        return [one for node in (self.head, *self.nodes) for one in family(node.pid) if _is(one, name)]

    def nodes_of_workers(self) -> list[subprocess.Popen[bytes]]:
        """Return the nodes on which there are workers."""
        return [node for node in self.nodes if any(_is(one, WORKER) for one in family(node.pid))]

    def close(self) -> None:
        """Kill everything."""
        for node in list(self.nodes):
            self.kill_node(node)
        for one in family(self.head.pid):
            end(one)
        self.head.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _told_address(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Return the head's address once it has said it."""
    until_s = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until_s and process.poll() is None:
        text = log.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"--address='([^']+)'", text):
            return found[1]
        time.sleep(0.1)
    for one in family(process.pid):
        end(one)
    raise RuntimeError(f"the head did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


@contextmanager
def raylets(num_nodes: int, cpus: int = 2) -> Iterator[Raylets]:
    """Start a cluster of a head and ``num_nodes`` nodes of ``cpus``, connect to it, and end it with the block."""
    import ray

    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    cluster = Raylets(folder, cpus)
    before = dict(os.environ)
    try:
        for _ in range(num_nodes):
            cluster.add_node()
        os.environ.update(cluster.environment)
        ray.init(address=cluster.address, namespace="apportion", log_to_driver=False, logging_level=logging.ERROR)
        until_s = time.monotonic() + STARTS_WITHIN_S
        while sum(node["Alive"] for node in ray.nodes()) < num_nodes + 1:
            if time.monotonic() > until_s:
                raise RuntimeError(f"the nodes did not start; see {folder}")
            time.sleep(0.2)
        yield cluster
    finally:
        ray.shutdown()
        cluster.close()
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)
