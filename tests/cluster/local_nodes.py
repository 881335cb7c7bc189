"""A node provider for Ray's autoscaler whose machines are raylets on this one; loaded by the monitor of a test's head.

Its version 2 knows a node by ``RAY_CLOUD_INSTANCE_ID``, and its type by ``RAY_NODE_TYPE_NAME``: the head has them too.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from threading import RLock
from typing import Any

from ray.autoscaler.node_provider import NodeProvider
from ray.autoscaler.tags import (
    NODE_KIND_HEAD,
    STATUS_UP_TO_DATE,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)

HEAD = "head"
RAY = str(Path(sys.executable).with_name("ray"))


class LocalNodes(NodeProvider):  # type: ignore[misc]
    """Starts and ends raylets; ``address`` in its part of the autoscaler's file is that of the head."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        self._lock, self._launching = RLock(), RLock()
        self._numbers = count(1)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._tags: dict[str, dict[str, str]] = {
            HEAD: {
                TAG_RAY_NODE_KIND: NODE_KIND_HEAD,
                TAG_RAY_USER_NODE_TYPE: HEAD,
                TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE,
            }
        }

    def non_terminated_nodes(self, tag_filters: Mapping[str, str]) -> list[str]:
        with self._lock:
            dead = [node for node, process in self._processes.items() if process.poll() is not None]
            for node in dead:
                del self._processes[node], self._tags[node]
            return [node for node, tags in self._tags.items() if tag_filters.items() <= tags.items()]

    def is_running(self, node_id: str) -> bool:
        with self._lock:
            return node_id in self._tags

    def is_terminated(self, node_id: str) -> bool:
        return not self.is_running(node_id)

    def node_tags(self, node_id: str) -> dict[str, str]:
        with self._lock:
            return dict(self._tags.get(node_id, {}))

    def set_node_tags(self, node_id: str, tags: Mapping[str, str]) -> None:
        with self._lock:
            self._tags[node_id].update(tags)

    def internal_ip(self, node_id: str) -> str:
        return node_id

    external_ip = internal_ip

    def create_node_with_resources_and_labels(
        self,
        node_config: Mapping[str, Any],
        tags: Mapping[str, str],
        count: int,
        resources: Mapping[str, float],
        labels: Mapping[str, str],
    ) -> None:
        for _ in range(count):
            with self._launching:  # two that start at a time would give their sockets the same name
                self._start(dict(tags), self._command(resources, labels))

    def _start(self, tags: dict[str, str], command: list[str]) -> None:
        node = f"local-{next(self._numbers)}"
        own = {"RAY_CLOUD_INSTANCE_ID": node, "RAY_NODE_TYPE_NAME": tags[TAG_RAY_USER_NODE_TYPE]}
        log = Path(os.environ["HOME"]) / f"{node}.log"
        with log.open("w") as out:
            process = subprocess.Popen(command, env={**os.environ, **own}, stdout=out, stderr=subprocess.STDOUT)
        with self._lock:
            self._processes[node], self._tags[node] = process, tags
        while process.poll() is None and "Ray runtime started" not in log.read_text():
            time.sleep(0.1)

    def _command(self, resources: Mapping[str, float], labels: Mapping[str, str]) -> list[str]:
        return [
            RAY,
            "start",
            "--block",
            f"--address={self.provider_config['address']}",
            "--node-ip-address=127.0.0.1",
            f"--num-cpus={int(resources.get('CPU', 0))}",
            f"--labels={','.join(f'{name}={value}' for name, value in labels.items())}",
            "--object-store-memory=100000000",
            "--min-worker-port=0",
            "--max-worker-port=0",
            f"--dashboard-agent-listen-port={_free_port()}",
        ]

    def terminate_node(self, node_id: str) -> None:
        with self._lock:
            process = self._processes.pop(node_id, None)
            self._tags.pop(node_id, None)
        if process is not None:
            process.terminate()  # `ray start --block` ends what it has started
            process.wait(timeout=60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
