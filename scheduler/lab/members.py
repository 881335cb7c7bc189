"""Which of a lab's nodes Ray has as its own, and what it calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray

from scheduler import authentication
from scheduler.lab.plan import LAB_NODE

TIMEOUT_S = 5.0
ALIVE = 0
"""Ray's number for it."""


@dataclass(frozen=True)
class Member:
    """A node as Ray has it."""

    node_id: str
    is_alive: bool


def members(address: str) -> dict[str, Member]:
    """Return Ray's view of a lab's nodes, by their names in the lab, empty if its head does not answer.

    This process must be a client already (``authentication.as_client``).
    """
    host, _, port = address.rpartition(":")
    if authentication.reaches(host, int(port)) is not None:  # Ray itself would try for most of a minute
        return {}
    core: Any = ray._raylet
    try:
        infos = core.GcsClient(address=address).get_all_node_info(timeout=TIMEOUT_S).values()
    except (ray.exceptions.RayError, RuntimeError, TimeoutError, ConnectionError):
        return {}
    found: dict[str, Member] = {}
    for info in sorted(infos, key=lambda info: (info.state == ALIVE, info.start_time_ms)):
        found[dict(info.labels).get(LAB_NODE, "")] = Member(info.node_id.hex(), info.state == ALIVE)
    return found  # of a node that was started again the last one
