"""A Ray cluster of several nodes on one Linux machine, each held to a part of a processor. Needs root."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from ray.cluster_utils import Cluster

from scheduler import node_labels

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 8_000
"""Short, so that calls of some tens of milliseconds already go at the node's pace; the kernel's least is 1,000."""

SETTLED_S = 8.0
"""How long a new node is left alone: its agents start up at full speed."""

MIB = 1024**2


class Group:
    """A control group that may use a part of a processor, of either version of the kernel's interface."""

    def __init__(self, name: str, part: float) -> None:
        quota_us = int(part * PERIOD_US)
        if (ROOT / "cgroup.controllers").exists():
            self._folder = ROOT / name
            self._folder.mkdir()
            (self._folder / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
            return
        self._folder = ROOT / "cpu" / name
        self._folder.mkdir()
        (self._folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (self._folder / "cpu.cfs_quota_us").write_text(str(quota_us))

    def take(self, pid: int) -> None:
        """Put a process into the group, and all that it has started; what it starts later is in it anyway."""
        with suppress(psutil.Error):
            for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
                with suppress(OSError):
                    (self._folder / "cgroup.procs").write_text(str(process.pid))

    def close(self) -> None:
        """Remove the group, once its processes have ended."""
        until_s = time.monotonic() + 10.0
        while time.monotonic() < until_s:
            try:
                self._folder.rmdir()
            except OSError:
                time.sleep(0.1)
            else:
                return


def cannot() -> str | None:
    """Say why there can be no slow nodes here, None if there can."""
    if os.geteuid() != 0:
        return "it takes root to hold processes to a part of a processor"
    if not (ROOT / "cgroup.controllers").exists() and not (ROOT / "cpu" / "cpu.cfs_quota_us").exists():
        return f"there are no control groups for processors in {ROOT}"
    return None


@contextmanager
def slow_nodes(parts: Sequence[float], cpus: int = 1) -> Iterator[str]:
    """Start a head without processors and a node for each of ``parts``; yield the cluster's address.

    A node has ``cpus`` logical processors and the label of its speed, which is its part.
    """
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "memory": 512 * MIB})
    groups: list[Group] = []
    try:
        nodes = [
            cluster.add_node(num_cpus=cpus, memory=512 * MIB, labels={node_labels.SPEED: f"{part:g}"}) for part in parts
        ]
        cluster.wait_for_nodes()
        time.sleep(SETTLED_S)
        for number, (node, part) in enumerate(zip(nodes, parts, strict=True)):
            groups.append(Group(f"apportion-{os.getpid()}-{number}", part))
            groups[-1].take(node.all_processes["raylet"][0].process.pid)
        yield cluster.address
    finally:
        cluster.shutdown()
        for group in groups:
            group.close()
