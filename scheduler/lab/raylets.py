"""How the parts of Ray are started on a lab's nodes: commands and environment. Pure."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from scheduler.lab.plan import LabNode

_RAY = (sys.executable, "-m", "ray.scripts.scripts")
_FOREIGN = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_RUNTIME_ENV_HOOK")
"""Variables that would lead to another cluster."""


def head_command(node: LabNode, ports: tuple[int, int], folder: Path, dashboard: bool) -> list[str]:
    """Return the command that starts the head, and stays while it runs; ``ports`` are its own and Ray Client's."""
    return [
        *_start(node, folder),
        "--head",
        f"--port={ports[0]}",
        f"--include-dashboard={dashboard}",
        f"--dashboard-host={node.address}",  # a network of its own has a localhost of its own
        f"--ray-client-server-port={ports[1]}",
    ]


def node_command(node: LabNode, head_address: str, folder: Path) -> list[str]:
    """Return the command that starts another node, and stays while it runs."""
    return [*_start(node, folder), f"--address={head_address}"]


def client_environment(address: str, token_file: Path) -> dict[str, str]:
    """Return the variables by which a program becomes a client of the lab."""
    return {"RAY_ADDRESS": address, **_token(token_file)}


def node_environment(own: Mapping[str, str], token_file: Path, mark: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a node: this process's ``own``, without what leads to another cluster."""
    kept = {name: value for name, value in own.items() if name not in _FOREIGN}
    return {"RAY_USAGE_STATS_ENABLED": "0", **kept, **_token(token_file), **mark}


def _token(file: Path) -> dict[str, str]:
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(file)}


def _start(node: LabNode, folder: Path) -> list[str]:
    """Return what head and others have in common; ports are free ones, and each node has a ``folder`` of its own."""
    return [
        *_RAY,
        "start",
        "--block",
        f"--node-ip-address={node.address}",
        f"--temp-dir={folder}",
        f"--num-cpus={node.cpus}",
        f"--num-gpus={node.gpus}",
        f"--memory={node.memory_bytes}",
        f"--object-store-memory={node.object_store_bytes}",
        f"--resources={json.dumps(dict(node.resources))}",
        f"--labels={','.join(f'{name}={value}' for name, value in node.labels.items())}",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--dashboard-agent-listen-port=0",
    ]
